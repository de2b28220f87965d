"""The order of a list: stored score descending, then item row ascending."""

import numpy as np
import numpy.typing as npt

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
