"""What users had liked strictly before a moment, for training rows that may know nothing later."""

import numpy as np
from scipy.sparse import csr_matrix

from recsys_polars.knowledge import Knowledge, Rows
from recsys_polars.tables import Vectors

MOST_ENTRIES = 1 << 21
"""Likes that are summed at once: 32 MB of a sparse matrix."""


class Past:
    """The positives of each user in the order of time.

    Memory: two numbers a positive, one float64 copy of the item vectors, and MOST_ENTRIES likes at work.
    """

    def __init__(self, known: Knowledge) -> None:
        liked = known.labels == 1
        users, items, times = known.user_rows[liked], known.item_rows[liked], known.times[liked]
        self._n_times = int(known.times.max(initial=-1)) + 2
        in_time = np.lexsort((items, times, users))
        self._items = items[in_time]
        # One ascending number for user and time, so that one search finds where a user's past ends.
        self._moments = users[in_time] * self._n_times + times[in_time]
        self._starts = np.searchsorted(self._moments, np.arange(known.n_users) * self._n_times)
        self._vectors = known.item_vectors.astype(np.float64)

    def vectors(self, users: Rows, times: Rows) -> tuple[Vectors, Rows]:
        """Average what users had liked strictly before a time: what they liked at the same time is not earlier.

        Args:
            users: user rows, shape (n,).
            times: as in `Knowledge.times`, shape (n,).

        Returns:
            Means (n, d), summed in float64 and rounded once, and numbers of positives (n,). A user without an earlier
            positive has zeros and count 0.
        """
        starts = self._starts[users]
        times = np.minimum(times, self._n_times - 1)  # later than all: the next user begins there
        counts = np.searchsorted(self._moments, users * self._n_times + times) - starts
        # A positive and its sampled negatives have one past: it is summed once.
        _, first, place = np.unique(starts * (len(self._items) + 1) + counts, return_index=True, return_inverse=True)
        return self._means(starts[first], counts[first])[place], counts

    def _means(self, starts: Rows, counts: Rows) -> Vectors:
        means = np.empty((len(starts), self._vectors.shape[1]), dtype=np.float32)
        ends = counts.cumsum()
        begin = 0
        while begin < len(starts):
            done = ends[begin] - counts[begin]
            end = max(begin + 1, int(np.searchsorted(ends, done + MOST_ENTRIES, side="right")))
            rows = slice(begin, end)
            means[rows] = self._sums(starts[rows], counts[rows]) / np.maximum(counts[rows], 1)[:, None]
            begin = end
        return means

    def _sums(self, starts: Rows, counts: Rows) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        indptr = np.concatenate([[0], counts.cumsum()])
        likes = np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], counts)
        shape = (len(starts), len(self._vectors))
        ones = csr_matrix((np.ones(len(likes)), self._items[likes], indptr), shape=shape)
        sums: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = ones @ self._vectors
        return sums
