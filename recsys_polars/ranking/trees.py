"""Ensembles of oblivious trees (CatBoost's default) whose splits each look at the user or at the item, not at both."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from recsys_polars.errors import ArtefactError
from recsys_polars.ranking.canonical import in_chunks, sum_in_order
from recsys_polars.ranking.layers import Scratch
from recsys_polars.ranking.protocol import FloatArray, IntArray, ItemRows, UserBlock
from recsys_polars.ranking.rounding import ROUNDOFF, UNDERFLOW, as_bound

_TABLE_BYTES = 4 << 20  # a block's table of leaf values that the CPU's cache can hold


class TreeScorer:
    """score(u, i) = scale * sum_t leaf_values[t][user_bits[u, t] | item_bits[i, t]] + bias.

    A leaf's number is the bits of its tree's splits: those on user features are the same for every item, those on item
    features the same for every user. Per tree, only the distinct item patterns matter: a block of users gets a table
    [pattern, user] of leaf values, and the scores of all items are one `embedding_bag(sum)` over it.
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
    """

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
        self._scaled_values = (self._leaf_values * scale).float()
        self._leaf_start = self._tensor(np.cumsum(self._n_leaves) - self._n_leaves)
        self._index_patterns(item_bits)
        self._scratch = Scratch(self.device)
        self.user_bytes = 16 * len(self._pattern_bits)
        self.block_users = int(np.clip(_TABLE_BYTES // (4 * max(1, len(self._pattern_bits))), 32, 128))
        largest = sum(float(np.abs(values).max()) for values in leaf_values) * abs(scale) + abs(bias)
        # n_trees + 3 roundings: of each leaf value, of the scaling, of the bias, and one for each sum.
        steps = (len(leaf_values) + 3) * ROUNDOFF
        self._error = largest * steps / (1 - steps) + UNDERFLOW

    def block(self, users: IntArray) -> UserBlock:
        """See `Scorer.block`. The table is float32 `(distinct item patterns of all trees, block)`."""
        bits = self._bits_of(users).t().contiguous()
        leaves = bits[self._pattern_tree].bitwise_or_(self._pattern_bits[:, None])
        leaves += self._leaf_start[self._pattern_tree][:, None]
        table = self._scaled_values.index_select(0, leaves.view(-1)).view(leaves.shape)
        bound = as_bound(torch.full((len(users),), self._error, dtype=torch.float64, device=self.device))
        return UserBlock(lambda items: self._score(table, items), bound)

    def exact(self, users: IntArray, items: IntArray) -> npt.NDArray[np.float64]:
        """See `Scorer.exact`. Items with the same bits are scored once a user: catalogues have thousands of those."""
        distinct, at = np.unique(users * len(self._kind_item) + self._kind[items], return_inverse=True)
        user_rows, kinds = np.divmod(distinct, len(self._kind_item))
        return in_chunks(self._exact_pairs, user_rows, self._kind_item[kinds])[at]

    def _score(self, table: torch.Tensor, items: ItemRows) -> torch.Tensor:
        sums = torch.nn.functional.embedding_bag(self._patterns[items], table, mode="sum")
        return self._scratch.take(sums.shape[1], sums.shape[0]).copy_(sums.t()).add_(self._bias)

    def _exact_pairs(self, users: IntArray, items: IntArray) -> torch.Tensor:
        user_rows, user_at = np.unique(users, return_inverse=True)
        user_bits = self._bits_of(user_rows)[self._tensor(user_at)]
        item_bits = self._pattern_bits[self._patterns[self._tensor(items)]]
        leaves = (user_bits | item_bits) + self._leaf_start
        return sum_in_order(self._leaf_values[leaves.t()]).mul_(self._scale).add_(self._bias)

    def _index_patterns(self, item_bits: IntArray) -> None:
        """Number the distinct item patterns of all trees: `_patterns`, int32 `(n_items, n_trees)`.

        And the items of one kind, alike in all trees: `_kind` `(n_items,)`; `_kind_item`, the first item of each kind.
        """
        kind = np.zeros(self.n_items, dtype=np.int64)
        n_trees = item_bits.shape[1]
        patterns = np.empty((self.n_items, n_trees), dtype=np.int32)
        distinct, n_before = [], 0
        for tree in range(n_trees):
            bits, at = np.unique(item_bits[:, tree], return_inverse=True)
            patterns[:, tree] = at + n_before
            distinct.append(bits.astype(np.int64))
            n_before += len(bits)
            _, kind = np.unique(kind * len(bits) + at, return_inverse=True)
        _, self._kind_item, self._kind = np.unique(kind, return_index=True, return_inverse=True)
        self._patterns = self._tensor(patterns)
        self._pattern_bits = self._tensor(np.concatenate(distinct))
        self._pattern_tree = self._tensor(np.repeat(np.arange(n_trees), [len(bits) for bits in distinct]))

    def _bits_of(self, users: IntArray) -> torch.Tensor:
        """The users' bits, int64 `(m, n_trees)`."""
        if self._user_bits is None:
            return torch.zeros(len(users), len(self._n_leaves), dtype=torch.int64, device=self.device)
        bits = self._user_bits(users) if callable(self._user_bits) else self._user_bits[users]
        self._check_bits(bits, "user")
        return self._tensor(bits.astype(np.int64))

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
