"""The order of a list: stored score descending, then item row ascending."""

import numpy as np
import numpy.typing as npt
import torch

from recsys_polars.errors import ArtefactError
from recsys_polars.ranking.protocol import IntArray, Scorer


def stored_scores(scorer: Scorer, users: IntArray, items: IntArray) -> npt.NDArray[np.float32]:
    """Canonical scores of `(m,)` pairs, rounded to the float32 that is stored and that orders; zero has no sign.

    Raises:
        ArtefactError: a score that isn't a finite float32.
    """
    with np.errstate(over="ignore"):
        scores = scorer.exact(users, items).astype(np.float32) + np.float32(0.0)
    broken = np.flatnonzero(~np.isfinite(scores))
    if len(broken):
        raise broken_score(scorer.name, int(users[broken[0]]), int(items[broken[0]]), float(scores[broken[0]]))
    return scores


def broken_score(name: str, user: int, item: int, score: float) -> ArtefactError:
    """The error for a score that no order has a place for."""
    return ArtefactError(f"{name}: score of user row {user}, item row {item}: expected a finite float32, found {score}")


def top_of_each(
    places: IntArray, positions: IntArray, scores: npt.NDArray[np.float32], k: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Indices of the k first pairs of each place, by place and then in the list's order; and their ranks, from 1."""
    order = np.lexsort((positions, -scores, places))
    sorted_places = places[order]
    ranks = np.arange(len(order)) - np.searchsorted(sorted_places, sorted_places) + 1
    return order[ranks <= k], ranks[ranks <= k]


def kth_of_each(places: torch.Tensor, values: torch.Tensor, k: int, n_places: int) -> torch.Tensor:
    """The k-th largest value of each place `(n_places,)`, -inf where it has fewer; on the device, without a wait.

    Args:
        places: int64 `(m,)`, below `n_places`.
        values: float32 `(m,)`.
        k: from 1.
        n_places: how many places there are.
    """
    by_value = torch.argsort(values, descending=True)
    sorted_places, order = torch.sort(places[by_value], stable=True)
    every_place = torch.arange(n_places, device=places.device)
    kth = torch.searchsorted(sorted_places, every_place) + (k - 1)
    enough = kth < torch.searchsorted(sorted_places, every_place, right=True)
    if not len(values):
        return values.new_full((n_places,), -torch.inf)
    return torch.where(enough, values[by_value[order[kth.clamp_max(len(values) - 1)]]], -torch.inf)
