"""Which items a ranking may choose from, and which of them a user has already seen."""

from typing import NamedTuple

import numpy as np
import torch

from recsys_polars.ranking.protocol import IntArray, ItemRows, SparseRows


class ItemAxis:
    """The items to rank, in ascending row order; a position on this axis orders as the item row does.

    Args:
        n_items: rows of the scorer's item tensor.
        candidates: ascending item rows to choose from; all items without it.
        device: where item rows are indexed.
    """

    def __init__(self, n_items: int, candidates: IntArray | None, device: torch.device) -> None:
        self.device = device
        self.n_positions = n_items if candidates is None else len(candidates)
        self._candidates = None if candidates is None else np.array(candidates, dtype=np.int64)
        self._rows = None if self._candidates is None else torch.from_numpy(self._candidates).to(device)

    def rows(self, start: int, stop: int) -> ItemRows:
        """What a scorer takes for positions `start` up to `stop`."""
        return slice(start, stop) if self._rows is None else self._rows[start:stop]

    def rows_of(self, positions: torch.Tensor) -> torch.Tensor:
        """Item rows of `positions`, both int64 on the device."""
        return positions if self._rows is None else self._rows[positions]

    def items(self, positions: IntArray) -> IntArray:
        """Item rows of `positions`."""
        return positions if self._candidates is None else self._candidates[positions]

    def positions(self, items: IntArray) -> IntArray:
        """Positions of item rows `items`, -1 for those off the axis."""
        if self._candidates is None:
            return items
        if self.n_positions == 0:
            return np.full(len(items), -1, dtype=np.int64)
        at = np.minimum(np.searchsorted(self._candidates, items), self.n_positions - 1)
        return np.where(self._candidates[at] == items, at, -1)


def seen_pairs(seen: SparseRows | None, users: IntArray) -> tuple[IntArray, IntArray]:
    """(place in `users`, item row) of everything that `users` have seen, ascending by place."""
    if seen is None:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    starts = np.asarray(seen.indptr)[users].astype(np.int64)
    counts = np.asarray(seen.indptr)[users + 1].astype(np.int64) - starts
    places = np.repeat(np.arange(len(users)), counts)
    offsets = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
    return places, np.asarray(seen.indices)[np.repeat(starts, counts) + offsets].astype(np.int64)


class SeenMask(NamedTuple):
    """What a block of users has seen: (place in the block, position on the axis), ascending by position."""

    positions: IntArray
    places_on_device: torch.Tensor
    positions_on_device: torch.Tensor

    def hide(self, scores: torch.Tensor, start: int) -> None:
        """Set the seen pairs of a tile of scores `(block, n)`, whose first item is at position `start`, to -inf."""
        first, last = np.searchsorted(self.positions, (start, start + scores.shape[1]))
        if first < last:
            scores[self.places_on_device[first:last], self.positions_on_device[first:last] - start] = -torch.inf


def seen_mask(seen: SparseRows | None, users: IntArray, axis: ItemAxis) -> SeenMask:
    """The seen pairs of `users` that lie on `axis`: sparse, 16 bytes each."""
    places, items = seen_pairs(seen, users)
    positions = axis.positions(items)
    order = np.argsort(positions, kind="stable")
    order = order[np.searchsorted(positions[order], 0) :]
    positions = positions[order]
    on_device = (torch.from_numpy(values).to(axis.device) for values in (places[order], positions))
    return SeenMask(positions, *on_device)
