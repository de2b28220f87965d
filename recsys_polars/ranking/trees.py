"""Ensembles of oblivious trees (CatBoost's default) whose splits each look at the user or at the item, not at both."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import embedding_bag

from recsys_polars.errors import ArtefactError
from recsys_polars.ranking.canonical import in_chunks, sum_in_order
from recsys_polars.ranking.devices import exact_pairs
from recsys_polars.ranking.layers import Scratch
from recsys_polars.ranking.patterns import first_of_each_kind, joint_patterns
from recsys_polars.ranking.protocol import FloatArray, IntArray, UserBlock
from recsys_polars.ranking.rounding import ROUNDOFF, UNDERFLOW, as_bound

_FLUSH = 2.0**-14  # float16: below it, precision ends, or begins the zero of some hardware


class TreeScorer:
    """score(u, i) = scale * sum_t leaf_values[t][user_bits[u, t] | item_bits[i, t]] + bias.

    A leaf's number is the bits of its tree's splits: those on user features are the same for every item, those on item
    features the same for every user. Per tree, only the distinct item patterns matter, and trees with few of them share
    a table of their joint ones (300 trees make 150 tables): a block of users gets the tables [joint pattern, user] of
    sums of leaf values, and the scores of all items are one `embedding_bag(sum)` over them. The tables are float16:
    half as much to read, and few more items in the shortlist. Where most items are alike, each kind is scored once.
    Canonical order: float64, from tree 0 on, then scale, then bias.

    Args:
        user_bits: unsigned `(n_users, n_trees)`; or a function from user rows `(m,)` to their `(m, n_trees)`, so that
            no table of all users is held; or None for a model that looks at no user feature: it is ranked once.
        item_bits: unsigned `(n_items, n_trees)`.
        leaf_values: per tree, float64, one for each leaf.
        n_users: users that may be asked for.
        scale: factor on the sum.
        bias: added last.
        name: how errors call the model.
        device: where the scores are computed.

    Raises:
        ArtefactError: tables that don't fit together, or a bit that leads to no leaf (on a user's side: when it is
        met).

    Example:
        >>> user_bits, item_bits = np.array([[0], [1]], dtype=np.uint8), np.array([[0], [2]], dtype=np.uint8)
        >>> scorer = rp.TreeScorer(user_bits, item_bits, [np.array([0.0, 1.0, 2.0, 3.5])], n_users=2)
        >>> scorer.exact(np.array([0, 1]), np.array([1, 1])).tolist()  # leaves 0 | 2 and 1 | 2
        [2.0, 3.5]
    """

    block_users = 128
    threads_share_blocks = True  # their table of a block is large, and one stays in the cache

    def __init__(
        self,
        user_bits: IntArray | Callable[[IntArray], IntArray] | None,
        item_bits: IntArray,
        leaf_values: Sequence[FloatArray],
        *,
        n_users: int,
        scale: float = 1.0,
        bias: float = 0.0,
        name: str = "catboost",
        device: torch.device | str = "cpu",
    ) -> None:
        self.name, self.device = name, torch.device(device)
        self.n_users, self.n_items = n_users, len(item_bits)
        self.user_invariant = user_bits is None
        self._user_bits, self._scale, self._bias = user_bits, scale, bias
        self._n_leaves = np.array([len(values) for values in leaf_values], dtype=np.int64)
        self._check_bits(item_bits, "item")
        self._leaf_values = self._tensor(np.concatenate(leaf_values).astype(np.float64))
        self._leaf_start = self._tensor((np.cumsum(self._n_leaves) - self._n_leaves).astype(np.int32))
        self._item_bits = self._compact(item_bits)
        self._kind_item, self._kind = first_of_each_kind(self._item_bits)
        self._index_patterns()
        self._centre(leaf_values)
        self._scratch = Scratch(self.device)

    def block(self, users: IntArray) -> UserBlock:
        """See `Scorer.block`. The table is float16 `(joint item patterns, block)`."""
        bits = self._tensor(self._bits_of(users)).t().int().contiguous()
        leaves = bits[self._pattern_tree].bitwise_or_(self._pattern_bits[:, None])
        leaves += self._pattern_start[:, None]
        rows = self._centred_values.index_select(0, leaves.view(-1)).view(leaves.shape)
        table = embedding_bag(self._members, rows, self._offsets, mode="sum").half()
        bound = as_bound(torch.full((len(users),), self._error, dtype=torch.float64, device=self.device))
        if self._kind_rows is None:
            return UserBlock(lambda items: self._as_scores(embedding_bag(self._codes[items], table, mode="sum")), bound)
        sums, kind_rows = embedding_bag(self._codes, table, mode="sum"), self._kind_rows
        return UserBlock(lambda items: self._as_scores(sums.index_select(0, kind_rows[items])), bound)

    def exact(self, users: IntArray, items: IntArray) -> npt.NDArray[np.float64]:
        """See `Scorer.exact`. Items with the same bits are scored once a user: catalogues have thousands of those."""
        distinct, at = np.unique(users * len(self._kind_item) + self._kind[items], return_inverse=True)
        user_rows, kinds = np.divmod(distinct, len(self._kind_item))
        n_at_once = exact_pairs(self.device, len(self._n_leaves))
        return in_chunks(self._exact_pairs, user_rows, self._kind_item[kinds], n_at_once=n_at_once)[at]

    def _as_scores(self, sums: torch.Tensor) -> torch.Tensor:
        """Sums `(n, block)`, float16, as scores `(block, n)`: transposed only in name."""
        scores = self._scratch.take(*sums.shape).copy_(sums)
        return scores.mul_(self._unit).add_(self._middle).t()

    def _exact_pairs(self, users: IntArray, items: IntArray) -> torch.Tensor:
        user_rows, user_at = np.unique(users, return_inverse=True)
        bits = self._bits_of(user_rows)[user_at] | self._item_bits[items]
        leaves = self._tensor(bits).t().int().add_(self._leaf_start[:, None])
        values = self._leaf_values.index_select(0, leaves.reshape(-1))
        return sum_in_order(values.view(leaves.shape)).mul_(self._scale).add_(self._bias)

    def _index_patterns(self) -> None:
        few_kinds = 2 * len(self._kind_item) <= self.n_items
        patterns = joint_patterns(self._item_bits[self._kind_item] if few_kinds else self._item_bits)
        self._codes, self._kind_rows = self._tensor(patterns.codes), self._tensor(self._kind) if few_kinds else None
        self._pattern_tree, self._pattern_bits = self._tensor(patterns.tree), self._tensor(patterns.bits)
        self._pattern_start = self._leaf_start[self._pattern_tree]
        self._members, self._offsets = self._tensor(patterns.members), self._tensor(patterns.offsets)
        self.user_bytes = 16 * (len(patterns.tree) + len(patterns.offsets)) + (8 * len(self._kind_item))

    def _centre(self, leaf_values: Sequence[FloatArray]) -> None:
        """Keep the leaf values less the middle of their tree's range, times the power of two that float16 likes.

        And the bound. Of float16: 2^-11 for the tables and again for the sums, or all that is below the normal range.
        Of float32: n_trees + 5 roundings, of each leaf value, of the middle, of its sum, and one for each other sum.
        Of float64, here and in the canonical sum: as many, of values that aren't centred.
        """
        lows = np.array([values.min() for values in leaf_values], dtype=np.float64) * self._scale
        highs = np.array([values.max() for values in leaf_values], dtype=np.float64) * self._scale
        middles, spread = (lows + highs) / 2, float(np.abs(highs - lows).sum() / 2)
        self._middle = float(middles.sum()) + self._bias
        exponent = 14 - int(np.frexp(spread)[1]) if 0 < spread < np.inf else 0
        scaled_up = 2.0 ** max(-120, min(exponent, 100))
        self._unit = 1 / scaled_up
        values = self._leaf_values * self._scale - self._tensor(middles.repeat(self._n_leaves))
        self._centred_values = (values * scaled_up).float()
        steps = (len(leaf_values) + 5) * ROUNDOFF
        single = (spread + abs(self._middle)) * steps / (1 - steps) * (1 + 2.0**-9)
        half = 2.0**-11 * (2 + 2.0**-11) * spread + (self._codes.shape[1] + 1) * _FLUSH * self._unit
        largest = float(np.maximum(np.abs(lows), np.abs(highs)).sum()) + abs(self._bias)
        double = 2 * largest * (len(leaf_values) + 5) * 2.0**-53
        self._error = single + half + double + UNDERFLOW

    def _bits_of(self, users: IntArray) -> IntArray:
        """The users' bits, `(m, n_trees)`, in as few bytes as the leaves' numbers need."""
        if self._user_bits is None:
            return self._compact(np.zeros((len(users), len(self._n_leaves)), dtype=np.uint8))
        bits = self._user_bits(users) if callable(self._user_bits) else self._user_bits[users]
        self._check_bits(bits, "user")
        return self._compact(bits)

    def _compact(self, bits: IntArray) -> IntArray:
        return np.ascontiguousarray(bits, dtype=np.uint8 if int(self._n_leaves.max()) <= 256 else np.int32)

    def _check_bits(self, bits: IntArray, side: str) -> None:
        n_trees = len(self._n_leaves)
        if n_trees == 0 or bits.ndim != 2 or bits.shape[1] != n_trees:
            raise ArtefactError(f"{self.name}: {side} bits: expected {n_trees} trees (1 or more), found {bits.shape}")
        lost = np.flatnonzero(bits.max(axis=0, initial=0) >= self._n_leaves)
        if len(lost):
            tree, leaf = int(lost[0]), int(bits[:, lost[0]].max())
            raise ArtefactError(
                f"{self.name}: {side} bits: tree {tree} has {self._n_leaves[tree]} leaves, found leaf number {leaf}"
            )

    def _tensor(self, values: npt.NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(values).to(self.device)
