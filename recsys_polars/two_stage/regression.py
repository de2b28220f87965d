"""EASE: each item's likes regressed on those of all others (Steck 2019), by items where those are few, else by users.

Of ridge regression with P = (X'X + r I)^-1, the score of item j is the sum over the history of -P_ij / P_jj, i not j.
By users: P = (I - X' A X) / r with A = (XX' + r I)^-1. With h_j = (X' A X)_jj the same score is, for a history w,
((w X' A X)_j - w_j h_j) / (1 - h_j): two sparse products, and never a matrix of items by items.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from threadpoolctl import threadpool_limits

from recsys_polars.two_stage.past import Csr, Floats

MOST_ROWS = 4000
"""Of the inverse, which takes their square in memory and their cube in time."""
_ITEMS_AT_ONCE = 4096


class Regression:
    """EASE's scores of histories with any weights.

    Learnt from every user where at most MOST_ROWS items are liked; else from the MOST_ROWS users who liked most, of
    equals the first.
    """

    def __init__(self, likes: Csr, penalty: float) -> None:
        self._n_items = likes.shape[1]
        n_likes = np.diff(likes.indptr)
        users = np.flatnonzero(n_likes)
        self._items = np.flatnonzero(likes.sum(axis=0))
        self._by_items = len(self._items) <= min(len(users), MOST_ROWS)
        if not self._by_items:
            users = np.sort(users[np.argsort(-n_likes[users], kind="stable")[:MOST_ROWS]])
        own = sparse.csr_array(likes[users][:, self._items].astype(np.float64))
        inverse = _inverse((own.T @ own if self._by_items else own @ own.T).toarray(), penalty)
        if self._by_items:
            weights = -inverse / np.diag(inverse)
            np.fill_diagonal(weights, 0)
            self._weights = weights.astype(np.float32)
        else:
            by_item = sparse.csr_array(own.T)
            self._leverage = _leverage(by_item, inverse).astype(np.float32)
            self._by_item, self._inverse = by_item.astype(np.float32), inverse.astype(np.float32)

    def scores(self, histories: Csr) -> Floats:
        """Return the scores of every item, 0 for one that nobody liked; both of shape (block, n_items)."""
        known = sparse.csr_array(histories[:, self._items])
        scores = np.zeros(histories.shape, dtype=np.float32)
        if self._by_items:
            scores[:, self._items] = known @ self._weights
            return scores
        profiles = sparse.csr_array(known @ self._by_item) @ self._inverse
        found = (self._by_item @ np.ascontiguousarray(profiles.T)).T
        scores[:, self._items] = (found - known.toarray() * self._leverage) / (1 - self._leverage)
        return scores


def _inverse(gram: NDArray[np.float64], penalty: float) -> NDArray[np.float64]:
    gram[np.diag_indices_from(gram)] += penalty
    with threadpool_limits(limits=1):  # its last bits depend on the number of threads
        inverse: NDArray[np.float64] = linalg.inv(gram, overwrite_a=True, check_finite=False)
    return inverse


def _leverage(by_item: Csr, inverse: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return x_j' A x_j of each item."""
    parts = [by_item[start : start + _ITEMS_AT_ONCE] for start in range(0, by_item.shape[0], _ITEMS_AT_ONCE)]
    return np.concatenate([np.zeros(0), *((part * (part @ inverse)).sum(axis=1) for part in parts)])
