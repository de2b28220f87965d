"""What a scorer gives the ranking loop, and what the loop yields."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

IntArray: TypeAlias = npt.NDArray[np.integer[Any]]
FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]
ItemRows: TypeAlias = slice | torch.Tensor
"""Rows of the item tensor: a slice of consecutive rows, or int64 row numbers on the scorer's device."""


class Closer(NamedTuple):
    """A second look at few pairs, dearer than a tile's fast scores and closer to the canonical ones."""

    score: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    """(places in the block, item rows), both int64 `(m,)` on the scorer's device -> float32 `(m,)`."""
    bound: torch.Tensor
    """float32 `(block,)`: as `UserBlock.bound`, of these scores."""


class UserBlock(NamedTuple):
    """A block of users, ready to be scored against any items; `score` and `bound` live on the scorer's device.

    Example:
        >>> block = rp.PerItemScorer(np.array([3.0, 1.0]), n_users=5).block(np.array([0, 4]))
        >>> block.score(slice(0, 2)).tolist(), block.bound.shape
        ([[3.0, 1.0], [3.0, 1.0]], torch.Size([2]))
    """

    score: Callable[[ItemRows], torch.Tensor]
    """Items -> fast scores `(block, n)`, float32 or bfloat16, user by user or item by item in memory.

    The caller may overwrite them; they last until the thread's next call.
    """
    bound: torch.Tensor
    """float32 `(block,)`: no fast score of the user is further than this from its canonical score.

    Where it is finite, so are the scores.
    """
    closer: Closer | None = None
    """Where `bound` is wide: what is asked before `exact`, about the pairs that the fast scores leave over."""
    shifted: bool = False
    """Fast scores are to be compared with each other alone: they may be off by more, and all of a user's alike."""


class Scorer(Protocol):
    """A model that can score any user row against any item row.

    Rows are dense numbers: positions in the sorted unique ids, so that ascending row = ascending id.
    The canonical score of a pair is `exact`; `block` is the fast way to something close to it, with a proven bound.
    Threads may score blocks side by side: scratch buffers are a thread's own.

    Example:
        >>> scorer = rp.PerItemScorer(np.array([3.0, 1.0]), n_users=5)
        >>> scorer.exact(np.array([0, 4]), np.array([1, 0])).tolist()
        [1.0, 3.0]
    """

    name: str
    n_users: int
    n_items: int
    user_invariant: bool
    """Every user gets the same scores, so the items are ranked once."""
    device: torch.device
    user_bytes: int
    """Memory that one user of a block takes, apart from its scores."""
    block_users: int
    """The block size that is fastest where memory allows it."""
    threads_share_blocks: bool
    """Whether a CPU's threads are fastest on one block together, or each on a block of its own."""

    def block(self, users: IntArray) -> UserBlock:
        """Do the users' share of the work, once a block. `users`: user rows `(block,)`, repeats allowed."""
        ...

    def exact(self, users: IntArray, items: IntArray) -> npt.NDArray[np.float64]:
        """Canonical float64 scores `(m,)` of the pairs `(users[j], items[j])`.

        One fixed order of operations: the same bits for a pair whatever the batch, the thread count and the device.
        Takes a few numbers of memory per pair; wider work goes chunk by chunk.
        """
        ...


class SparseRows(NamedTuple):
    """One list of item rows per user row: those of user `u` are `indices[indptr[u]:indptr[u + 1]]`, in any order.

    Example:
        >>> seen = rp.SparseRows(np.array([0, 2, 2]), np.array([1, 0]))  # user 0 has seen items 1 and 0, user 1 nothing
        >>> scorer = rp.PerItemScorer(np.array([3.0, 1.0, 2.0]), n_users=2)
        >>> next(rp.rank_blocks(scorer, np.array([0, 1]), k=1, seen=seen)).items.tolist()
        [2, 0]
    """

    indptr: IntArray
    indices: IntArray


class TopK(NamedTuple):
    """The lists of one block of users, flat, in the order in which the users were given, then by rank.

    A user with fewer than k items left has a shorter list, or none.

    Example:
        >>> top = next(rp.rank_blocks(rp.PerItemScorer(np.array([3.0, 1.0]), n_users=1), np.array([0])))
        >>> top.items.tolist(), top.ranks.tolist(), top.scores.tolist()
        ([0, 1], [1, 2], [3.0, 1.0])
    """

    start: int
    """The block ranks `users[start:stop]`: what a progress bar or a resumed run counts by."""
    stop: int
    users: IntArray
    """User rows `(m,)`."""
    items: IntArray
    """Item rows `(m,)`."""
    scores: npt.NDArray[np.float32]
    """Canonical scores, rounded to float32 `(m,)`."""
    ranks: npt.NDArray[np.uint32]
    """From 1 `(m,)`."""
