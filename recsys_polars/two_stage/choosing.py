"""Which order of candidates does best after a cut, learnt on the cuts before it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_polars import metrics
from recsys_polars.ranking.protocol import SparseRows
from recsys_polars.two_stage.candidates import Candidates, Pairs
from recsys_polars.two_stage.past import Floats, Rows
from recsys_polars.two_stage.ranker import TREES, Order, Scope, best_pairs
from recsys_polars.two_stage.trees import N_TREES, learn, lesson

VALIDATION_K = 10
ENOUGH_USERS = 1000
"""To validate with; where the latest cut has fewer, cuts before it are asked too."""
MOST_VALIDATIONS = 4
MOST_USERS = 5000
"""Of a cut, at random."""
FOLDS = 3
"""Cuts to learn from."""
WITHOUT_VALIDATION = "popularity"


Told = Callable[[str, int, int, str], None]


def _silent(step: str, done: int, total: int, unit: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Term:
    """What was known before a cut, and users with a history then who liked something in the time after it.

    Attributes:
        candidates: as of the cut.
        known_items: shape (n_items,): whether anybody had the item before the cut.
        users: user rows, ascending.
        liked, seen: by place in `users`: what they liked next, and what they had.
    """

    candidates: Candidates
    known_items: NDArray[np.bool_]
    users: Rows
    liked: SparseRows
    seen: SparseRows

    def pairs(self, scope: Scope) -> Iterator[Pairs]:
        """Yield the candidates of the users."""
        allowed = self.known_items if scope == "known" else np.ones_like(self.known_items)
        return self.candidates.blocks(self.users, seen=self.seen, allowed=allowed, n_least=VALIDATION_K)


def n_validations(user_counts: Iterable[int]) -> int:
    """Return how many of the latest cuts are asked, given the number of users of each, the latest first."""
    counts = list(islice(user_counts, MOST_VALIDATIONS))
    return 1 + sum(sum(counts[: place + 1]) < ENOUGH_USERS for place in range(len(counts) - 1)) if counts else 0


def choose_order(
    terms: Sequence[Term], scope: Scope, *, seed: int, task_type: str = "CPU", told: Told = _silent
) -> tuple[Order, dict[str, float]]:
    """Choose between trees and each signal that proposes, by MAP@10 on the latest terms; learn what was chosen.

    A term is judged with trees learnt on the FOLDS terms before it; what is returned is learnt on the latest ones.

    Args:
        terms: the latest first; the first one's time ends at the test cut.
        scope: the items to choose from.
        seed: of samples and trees.
        task_type: CatBoost's.
        told: of each step, how much is done, of how much, and what is counted.

    Returns:
        The order, and the MAP@10 of each that was tried. Without any term the order is popularity.
    """
    n_judged = min(n_validations(len(term.users) for term in terms), max(1, len(terms) - 1))
    items = "all items" if scope == "catalogue" else "known items"

    def proposed(place: int) -> Iterator[Pairs]:
        n_users = [len(term.users) for term in terms]
        tell = partial(told, f"propose candidates among {items}")
        tell(sum(n_users[:place]), sum(n_users), "users")
        for block in terms[place].pairs(scope):
            yield block
            tell(sum(n_users[:place]) + block.stop, sum(n_users), "users")

    judged = [(term, list(proposed(place))) for place, term in enumerate(terms[:n_judged])]
    lessons = [lesson(blocks, term.liked, seed=seed) for term, blocks in judged]
    lessons += [lesson(proposed(place), terms[place].liked, seed=seed) for place in range(n_judged, len(terms))]

    def learnt(before: int) -> Order:
        n_done = (before - 1 if before else n_judged) * N_TREES  # what is returned is learnt last
        tell = partial(told, f"learn to order {items}")
        tell(n_done, (n_judged + 1) * N_TREES, "trees")
        trees = learn(
            lessons[before : before + FOLDS],
            terms[0].candidates.names,
            seed=seed,
            task_type=task_type,
            told=lambda n: tell(n_done + n, (n_judged + 1) * N_TREES, "trees"),
        )
        return Order(TREES if trees else WITHOUT_VALIDATION, trees)

    # Of equals the first is chosen: popularity where nothing helps.
    signals = sorted(terms[0].candidates.proposers, key=WITHOUT_VALIDATION.__ne__) if terms else []
    tried = {name: [_aps(*one, Order(name)) for one in judged] for name in signals}
    of_trees = [learnt(place + 1) for place in range(n_judged)]
    if all(order.trees for order in of_trees):
        tried[TREES] = [_aps(*one, order) for one, order in zip(judged, of_trees, strict=True)]
    figures = {name: float(np.concatenate(aps).mean()) for name, aps in tried.items() if aps}
    best = max(figures, key=figures.__getitem__, default=WITHOUT_VALIDATION)
    return learnt(0) if best == TREES else Order(best), figures


def _aps(term: Term, blocks: Sequence[Pairs], order: Order) -> Floats:
    """The average precision of each user."""
    tops = [best_pairs(pairs, order, term.candidates.names, k=VALIDATION_K) for pairs in blocks]
    lists = {"user_id": [top.users for top in tops], "item_id": [top.items for top in tops]}
    lists["rank"] = [top.ranks for top in tops]
    predictions = pl.DataFrame({name: np.concatenate(parts) for name, parts in lists.items()})
    places = np.repeat(np.arange(len(term.users)), np.diff(term.liked.indptr))
    truth = pl.DataFrame({"user_id": places, "item_id": term.liked.indices})
    return metrics.per_user(predictions, truth, k=VALIDATION_K)["ap"].to_numpy()
