"""`auto`: candidates of many signals, and the order of them that does best on the valid part."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_polars.attribution import Parts
from recsys_polars.errors import InputError
from recsys_polars.knowledge import Knowledge, Rows, user_ids_of
from recsys_polars.models import AUTO
from recsys_polars.models.devices import torch_device
from recsys_polars.models.protocol import FitSettings
from recsys_polars.ranking.protocol import SparseRows, TopK
from recsys_polars.recipes import Progress, history_before, silent
from recsys_polars.recipes.folds import Fold, interactions_before_test, rolling_folds
from recsys_polars.recipes.raw import settings_of
from recsys_polars.recipes.trained import find_model, publish_model
from recsys_polars.store import Store
from recsys_polars.two_stage.candidates import Candidates, Pairs
from recsys_polars.two_stage.choosing import FOLDS, MOST_USERS, Term, choose_order, n_validations
from recsys_polars.two_stage.past import Catalogue, catalogue_of, past_of, rows_of
from recsys_polars.two_stage.ranker import Order, Scope, best_pairs, load_orders, rank_candidates, save_orders
from recsys_polars.two_stage.trees import PARAMETERS

SCOPES: tuple[Scope, ...] = ("known", "catalogue")


def train_auto(store: Store, settings: FitSettings, *, progress: Progress = silent) -> Mapping[str, Any]:
    """Choose on the valid part how candidates are ordered, learn it again up to the test cut, and save it.

    Returns:
        The model's manifest.

    Raises:
        InputError: the notebook's recipe, which has no such model.
    """
    if settings.recipe == "notebook":
        raise InputError("--recipe notebook: expected popularity, catboost or mlp, found auto")
    began = time.perf_counter()
    terms = _terms(store, settings.seed, progress)
    task_type = "GPU" if torch_device(settings.device).type == "cuda" else "CPU"
    orders: dict[Scope, Order] = {}
    tried: dict[Scope, dict[str, float]] = {}
    for scope in SCOPES:
        orders[scope], tried[scope] = choose_order(terms, scope, seed=settings.seed, task_type=task_type, told=progress)
    facts = {
        "settings": asdict(settings),
        "rounds": PARAMETERS["iterations"] if any(order.trees for order in orders.values()) else 0,
        "tuned": {},
        "folds": {},
        "choice": {scope: {"by": order.by, "validation": tried[scope]} for scope, order in orders.items()},
        "training": {},
        "seconds": time.perf_counter() - began,
    }
    return publish_model(store, AUTO, lambda folder: save_orders(orders, folder), facts)


@dataclass(frozen=True)
class AutoRanker:
    """What ranks users by an `auto` model, and tells why. A place is one in `users`; see `auto_ranker`."""

    known: Knowledge
    users: Rows
    proposed: Candidates
    order: Order
    allowed: NDArray[np.bool_]
    k: int
    exclude_seen: bool

    def ranked(self, places: Rows) -> Iterator[TopK]:
        """Yield the lists of users, block by block."""
        users = self.users[places]
        blocks = rank_candidates(
            self.proposed, self.order, users, k=self.k, seen=self._seen(users), allowed=self.allowed
        )
        for top in blocks:
            yield top._replace(users=places[top.users])

    def whole(self, place: int) -> TopK:
        """Return all candidates of a user in their order, of which the list is the head."""
        pairs = self._pairs(place)
        top = best_pairs(pairs, self.order, self.proposed.names, k=len(pairs.items))
        return top._replace(users=top.users + place)

    def parts(self, place: int, items: Rows) -> Parts:
        """Return what the scores of some of a user's candidates are the sum of."""
        pairs = self._pairs(place)
        parts = self.order.parts(pairs, self.proposed)
        rows = np.searchsorted(pairs.items, items)
        return {name: part[rows] for name, part in parts.items()}

    def proposals(self, place: int) -> Mapping[str, Rows]:
        """Return the items that each signal proposes to a user, best first; by signal."""
        users = self.users[[place]]
        seen = self._seen(users)
        return self.proposed.proposals(int(users[0]), seen=seen, allowed=self.allowed, n_least=self.k)

    def _pairs(self, place: int) -> Pairs:
        users = self.users[[place]]
        (pairs,) = self.proposed.blocks(users, seen=self._seen(users), allowed=self.allowed, n_least=self.k)
        return pairs

    def _seen(self, users: Rows) -> SparseRows | None:
        return SparseRows(*self.known.seen(users)) if self.exclude_seen else None


def auto_ranker(
    store: Store, known: Knowledge, users: Rows, candidates: Rows | None, *, k: int, exclude_seen: bool
) -> AutoRanker:
    """Return what ranks `users` by the `auto` model of a store.

    Args:
        store: the store, with its model.
        known: what was known before the test cut.
        users: user rows, each with a history.
        candidates: the item rows to choose from; None: all.
        k: length of a list.
        exclude_seen: leave out what a user had before the test cut.

    Raises:
        ArtefactError: the model is missing, damaged, of another generation, or of other features.
    """
    folder, _ = find_model(store, AUTO)
    allowed = np.zeros(known.n_items, dtype=bool)
    allowed[slice(None) if candidates is None else candidates] = True
    catalogue = _catalogue(store)
    past = past_of(catalogue, history_before(store, "test").collect(), _events_before_test(store))
    had = np.isin(np.flatnonzero(allowed), known.item_rows)
    order = load_orders(folder)["known" if had.all() else "catalogue"]
    proposed = Candidates(past)
    order.check(proposed.names)
    return AutoRanker(known, users, proposed, order, allowed, k, exclude_seen)


def _catalogue(store: Store) -> Catalogue:
    items = store.scan("items").collect().sort("item_id")
    return catalogue_of(items, user_ids_of(store), item_features=settings_of(store).item_features)


def _events_before_test(store: Store) -> pl.DataFrame:
    filtered = store.scan("filtered").collect()
    return interactions_before_test(store).join(filtered, on=["user_id", "item_id"], how="anti", maintain_order="left")


def _terms(store: Store, seed: int, progress: Progress) -> list[Term]:
    """As many terms as choosing and learning ask for, the latest first."""
    catalogue = _catalogue(store)
    terms: list[Term] = []
    for fold in rolling_folds(store):
        wanted = FOLDS + n_validations(len(term.users) for term in terms)
        if terms and len(terms) >= wanted:
            break
        wanted = max(wanted, FOLDS + 1)
        progress("go back in time", len(terms), wanted)
        terms.append(_term(fold, catalogue, seed))
        progress("go back in time", len(terms), wanted)
    return terms


def _term(fold: Fold, catalogue: Catalogue, seed: int) -> Term:
    past = past_of(catalogue, fold.history, fold.events)
    has_history = np.diff(past.likes.indptr) > 0
    users = rows_of(catalogue.user_ids, fold.truth["user_id"])
    warm = np.unique(users[has_history[users]])
    if len(warm) > MOST_USERS:
        warm = np.sort(np.random.default_rng(seed).permutation(warm)[:MOST_USERS])
    had = pl.concat([pairs.select("user_id", "item_id") for pairs in (fold.history, fold.filtered)])
    had_items = rows_of(catalogue.item_ids, had["item_id"])
    return Term(
        candidates=Candidates(past),
        known_items=np.bincount(had_items, minlength=len(catalogue.item_ids)) > 0,
        users=warm,
        liked=_lists(warm, users, rows_of(catalogue.item_ids, fold.truth["item_id"])),
        seen=_lists(warm, rows_of(catalogue.user_ids, had["user_id"]), had_items),
    )


def _lists(users: Rows, user_rows: Rows, item_rows: Rows) -> SparseRows:
    """The items of each of `users`, ascending: by place."""
    wanted = np.isin(user_rows, users)
    order = np.lexsort((item_rows[wanted], user_rows[wanted]))
    indptr = np.searchsorted(user_rows[wanted][order], users)
    return SparseRows(np.append(indptr, len(order)), item_rows[wanted][order])
