"""Scores that are the same for every user: popularity, recent popularity, an average rating."""

import numpy as np
import numpy.typing as npt
import torch

from recsys_polars.ranking.protocol import FloatArray, IntArray, UserBlock
from recsys_polars.ranking.rounding import ROUNDOFF, UNDERFLOW, as_bound


class PerItemScorer:
    """score(u, i) = item_scores_i.

    Args:
        item_scores: float64 `(n_items,)`.
        n_users: users that may be asked for.
        name: how errors call the model.

    Example:
        >>> scorer = rp.PerItemScorer(np.array([3.0, 7.0]), n_users=2)
        >>> next(rp.rank_blocks(scorer, np.array([1]))).items.tolist()
        [1, 0]
    """

    user_invariant = True
    user_bytes = 8
    block_users = 4096
    threads_share_blocks = True
    device = torch.device("cpu")

    def __init__(self, item_scores: FloatArray, *, n_users: int, name: str = "popularity") -> None:
        self.name, self.n_users, self.n_items = name, n_users, len(item_scores)
        self._scores = np.array(item_scores, dtype=np.float64)

    def block(self, users: IntArray) -> UserBlock:
        """See `Scorer.block`."""
        scores = torch.from_numpy(self._scores)
        largest = scores.abs().amax() if self.n_items else scores.new_zeros(())
        bound = as_bound((2 * ROUNDOFF * largest + UNDERFLOW).expand(len(users)))
        return UserBlock(lambda items: scores[items].float().repeat(len(users), 1), bound)

    def exact(self, users: IntArray, items: IntArray) -> npt.NDArray[np.float64]:  # noqa: ARG002 - the protocol
        """See `Scorer.exact`; `users` change nothing."""
        return self._scores[items]
