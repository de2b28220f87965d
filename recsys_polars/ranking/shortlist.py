"""The running shortlist of a block of users: every item that could still be among their k best."""

import numpy as np
import numpy.typing as npt
import torch

from recsys_polars.ranking.items import ItemAxis
from recsys_polars.ranking.order import kth_of_each, stored_scores, top_of_each
from recsys_polars.ranking.protocol import Closer, IntArray, Scorer, UserBlock
from recsys_polars.ranking.rounding import floor_below

_SCORES = 32  # that are looked at through their maximum
_MAXIMA = 4  # of those, that are looked at through theirs


class Shortlist:
    """Fed with tiles of fast scores, gives the exact top k.

    Each user has a floor: the fast score below which an item can't be among the k best. It follows from the k-th best
    fast score so far, less twice the error bound. To find both cheaply, items are taken in groups of groups: the k-th
    best maximum is a lower bound of the k-th best score, and only groups whose maximum reaches the floor are opened.
    When more than `capacity` pairs are pending (thousands of equal scores, say), they are settled: looked at closer, if
    the scorer can; what is left is scored exactly, all but the k best of each user dropped, and the floor raised to the
    k-th. So memory stays bounded, and the result exact.

    Args:
        scorer: gives the canonical scores.
        users: the block's user rows.
        block: how far the users' fast scores may be from the canonical ones, and how to look closer.
        axis: what the columns of the tiles stand for.
        k: length of a list.
        capacity: pairs that may be pending.
    """

    def __init__(
        self, scorer: Scorer, users: IntArray, block: UserBlock, axis: ItemAxis, *, k: int, capacity: int
    ) -> None:
        self._scorer, self._users, self._axis, self._k, self._capacity = scorer, users, axis, k, capacity
        self._bound, self._closer, self._shifted = block.bound, block.closer, block.shifted
        self._best = self._bound.new_full((len(users), k), -torch.inf)
        self._floor = self._bound.new_full((len(users),), -torch.inf)
        self._pending: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        self._n_pending = 0
        self._places = self._positions = self._ranks = np.empty(0, dtype=np.int64)
        self._scores = np.empty(0, dtype=np.float32)

    def offer(self, scores: torch.Tensor, start: int) -> None:
        """Take in a tile: fast scores `(block, n)` of the positions from `start` on; -inf is no item."""
        n_scores = _fitting(_SCORES, scores.shape[1], self._k)
        n_groups = _fitting(_MAXIMA, scores.shape[1] // n_scores, self._k)
        peaks = _group_maxima(scores, n_scores)
        tops = _group_maxima(peaks, n_groups)
        self._best = torch.topk(torch.cat([self._best, tops], dim=1), self._k, sorted=True).values
        self._floor = torch.maximum(self._floor, floor_below(self._best[:, -1], 2 * self._bound))
        hits = ((tops >= self._floor[:, None]) & (tops > -torch.inf)).nonzero()
        for part in torch.split(hits, max(1, self._capacity // (n_groups * n_scores))):
            places, groups, _ = self._opened(part[:, 0], part[:, 1], peaks, n_groups)
            places, columns, values = self._opened(places, groups, scores, n_scores)
            self._pending.append((places, columns + start, values))
            self._n_pending += len(places)
            if self._n_pending > self._capacity:
                self._settle()

    def top(self) -> tuple[IntArray, IntArray, npt.NDArray[np.float32], IntArray]:
        """(place in the block, position, stored score, rank) of the lists so far, by place and rank."""
        self._settle()
        return self._places, self._positions, self._scores, self._ranks

    def _opened(
        self, places: torch.Tensor, groups: torch.Tensor, values: torch.Tensor, group: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(place, column, value) of what reaches the floor in these groups of columns of `values` `(block, n)`."""
        columns = groups[:, None] * group + torch.arange(group, device=groups.device)
        rows = places[:, None]
        inside = columns < values.shape[1]
        columns = columns.clamp_max(values.shape[1] - 1)
        found = (
            values.view(-1)[rows * values.shape[1] + columns]
            if values.is_contiguous()
            else (values.t().reshape(-1)[columns * len(values) + rows])
        )
        keep = inside & (found >= self._floor[rows]) & (found > -torch.inf)
        at = keep.view(-1).nonzero()[:, 0]  # one wait for the device; a mask would take one each
        return places[at // group], columns.view(-1)[at], found.view(-1)[at]

    def _settle(self) -> None:
        """Score what is pending exactly, and keep the k best of each user."""
        if not self._n_pending:
            return
        places, positions, values = (torch.cat(parts) for parts in zip(*self._pending, strict=True))
        alive = (values >= self._floor[places]).nonzero()[:, 0]
        places, positions = places[alive], positions[alive]
        if self._closer is not None:
            alive = self._still_alive(self._closer, places, positions).nonzero()[:, 0]
            places, positions = places[alive], positions[alive]
        new_places, new_positions = places.cpu().numpy(), positions.cpu().numpy()
        self._pending, self._n_pending = [], 0
        order = np.argsort(new_places, kind="stable")
        new_places, new_positions = new_places[order], new_positions[order]
        new_scores = stored_scores(self._scorer, self._users[new_places], self._axis.items(new_positions))
        self._places = np.concatenate([self._places, new_places])
        self._positions = np.concatenate([self._positions, new_positions])
        self._scores = np.concatenate([self._scores, new_scores])
        self._drop_all_but_the_best()

    def _still_alive(self, closer: Closer, places: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Which pairs could still be among the k best, by their closer scores alone: `(m,)` of bool."""
        values = closer.score(places, self._axis.rows_of(positions))
        reached = kth_of_each(places, values, self._k, len(self._floor))
        return values >= floor_below(reached, 2 * closer.bound)[places]

    def _drop_all_but_the_best(self) -> None:
        chosen, self._ranks = top_of_each(self._places, self._positions, self._scores, self._k)
        self._places, self._positions = self._places[chosen], self._positions[chosen]
        self._scores = self._scores[chosen]
        if self._shifted:
            return
        last = self._ranks == self._k
        reached = torch.full_like(self._floor, -torch.inf)
        full = torch.from_numpy(self._places[last]).to(reached.device)
        reached[full] = torch.from_numpy(self._scores[last]).to(reached.device)
        self._floor = torch.maximum(self._floor, floor_below(reached, self._bound))


def _fitting(group: int, n: int, k: int) -> int:
    """The power of two, `group` at most, that leaves 4 k groups or more of `n`; 1 for few."""
    while group > 1 and n < 4 * k * group:
        group //= 2
    return group


def _group_maxima(scores: torch.Tensor, group: int) -> torch.Tensor:
    """Maxima of every `group` columns, float32 `(block, ceil(n / group))`; the last group may be smaller."""
    whole = scores.shape[1] // group * group
    if scores.stride(0) == 1:  # item by item: the same maxima, read in the order of memory
        maxima = _maxima(scores[:, :whole].t().view(-1, group, len(scores)), 1).t()
    else:
        maxima = _maxima(scores[:, :whole].view(len(scores), -1, group), 2)
    if whole == scores.shape[1]:
        return maxima
    return torch.cat([maxima, scores[:, whole:].float().amax(1, keepdim=True)], dim=1)


def _maxima(scores: torch.Tensor, dim: int) -> torch.Tensor:
    """Maxima along `dim`, float32. Bfloat16 numbers order as their bits do where the maximum isn't negative: faster."""
    if scores.dtype == torch.bfloat16:
        bits = scores.view(torch.int16).amax(dim)
        if bits.numel() and int(bits.amin()) >= 0:
            return bits.view(torch.bfloat16).float()
    return scores.amax(dim).float()
