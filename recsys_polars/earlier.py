"""What users had liked strictly before a moment, for training rows that may know nothing later."""

from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from recsys_polars.knowledge import Knowledge, Rows
from recsys_polars.tables import Vectors

STRIDE = 128
"""Likes between two sums that are kept: of one user's 30,000 likes, all rows together would add up half a billion."""
_SUMS_AT_ONCE = 8192
Sums = np.ndarray[Any, np.dtype[np.float64]]


class EarlierLikes:
    """The positives of each user in the order of time.

    Memory: two numbers a positive, a float64 copy of the item vectors, and a float64 sum (d,) for every `stride`
    positives of a user.
    """

    def __init__(self, known: Knowledge, *, stride: int = STRIDE) -> None:
        liked = known.labels == 1
        users, items, times = known.user_rows[liked], known.item_rows[liked], known.times[liked]
        self._n_times = int(known.times.max(initial=-1)) + 2
        in_time = np.lexsort((items, times, users))
        self._items = items[in_time]
        # One ascending number for user and time, so that one search finds where a user's past ends.
        self._moments = users[in_time] * self._n_times + times[in_time]
        self._starts = np.searchsorted(self._moments, np.arange(known.n_users + 1) * self._n_times)
        self._vectors = known.item_vectors.astype(np.float64)
        self._stride = stride
        self._kept_from, self._kept = self._keep_sums()

    def vectors(self, users: Rows, times: Rows) -> tuple[Vectors, Rows]:
        """Average what users had liked strictly before a time: what they liked at the same time is not earlier.

        Args:
            users: user rows, shape (n,).
            times: as in `Knowledge.times`, shape (n,).

        Returns:
            Means (n, d), summed in float64 and rounded once, and numbers of positives (n,). A user without an earlier
            positive has zeros and count 0.
        """
        times = np.minimum(times, self._n_times - 1)  # later than all: the next user begins there
        counts = np.searchsorted(self._moments, users * self._n_times + times) - self._starts[users]
        # A positive and its sampled negatives have one past: it is summed once.
        _, first, place = np.unique(users * (len(self._items) + 1) + counts, return_index=True, return_inverse=True)
        return self._means(users[first], counts[first])[place], counts

    def _means(self, users: Rows, counts: Rows) -> Vectors:
        """Means of the first counts[j] positives of users[j]: a kept sum, and what came after it."""
        n_kept = counts // self._stride
        sums = self._sums(self._starts[users] + n_kept * self._stride, counts - n_kept * self._stride)
        long = np.flatnonzero(n_kept)
        sums[long] += self._kept[self._kept_from[users[long]] + n_kept[long] - 1]
        means: Vectors = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
        return means

    def _keep_sums(self) -> tuple[Rows, Sums]:
        """Sum the first `stride`, 2 * `stride`, ... positives of each user; user u's are kept from row [u] on."""
        n_kept = np.diff(self._starts) // self._stride
        kept_from = np.concatenate([[0], n_kept.cumsum()])
        number = np.arange(kept_from[-1]) - np.repeat(kept_from[:-1], n_kept)
        starts = np.repeat(self._starts[:-1], n_kept) + number * self._stride
        sums = np.empty((len(starts), self._vectors.shape[1]))
        for begin in range(0, len(starts), _SUMS_AT_ONCE):
            rows = slice(begin, begin + _SUMS_AT_ONCE)
            sums[rows] = self._sums(starts[rows], np.full(len(starts[rows]), self._stride))
        for user in np.flatnonzero(n_kept):
            rows = slice(kept_from[user], kept_from[user + 1])
            sums[rows] = sums[rows].cumsum(axis=0)
        return kept_from, sums

    def _sums(self, starts: Rows, counts: Rows) -> Sums:
        """Sum the vectors of counts[j] positives from place starts[j] on, shape (n, d)."""
        indptr = np.concatenate([[0], counts.cumsum()])
        likes = np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], counts)
        shape = (len(starts), len(self._vectors))
        sums: Sums = csr_matrix((np.ones(len(likes)), self._items[likes], indptr), shape=shape) @ self._vectors
        return sums
