"""The first stage: the best items by each of some signals, together; and what trees see of these pairs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os.path import commonprefix

import numpy as np
from numpy.typing import NDArray

from recsys_polars.ranking.items import seen_pairs
from recsys_polars.ranking.protocol import SparseRows
from recsys_polars.two_stage.past import Floats, Past, Rows
from recsys_polars.two_stage.signals import Scores, families_of, popularity

PROPOSERS = (
    "popularity_0.02",
    "popularity_0.05",
    "popularity",
    "cosine",
    "cosine_recent",
    "cosine_lately",
    "regression",
    "regression_recent",
    "cooccurrence",
    "cooccurrence_recent",
    "text",
    "category_share",
    "title_share",
    "brand_share",
)
"""The signals whose best items are candidates, and those of vectors that came with the items."""
N_EACH = 100
RANKED = ("popularity_0.05", "cosine", "cosine_recent", "regression", "cooccurrence", "text", "category_share")
"""The signals by whose order within a user's candidates trees may go."""
BLOCK_SCORES = 2_000_000
BLOCK_USERS = 128


@dataclass(frozen=True)
class Pairs:
    """Candidates of some users: places[j] is the user's place in what was asked, ascending; then item rows ascending.

    `features`: shape (n, n_features), NaN where nothing is known.
    """

    start: int
    stop: int
    places: Rows
    items: Rows
    features: Floats


class Candidates:
    """The candidates of users, as of a past."""

    def __init__(self, past: Past) -> None:
        self._families, self._shape = families_of(past), past.catalogue.shape
        families = [list(family(np.zeros(1, dtype=np.int64))) for family in self._families]
        signals = [name for names in families for name in names]
        vectors = [f"{block}{end}" for block in past.catalogue.vectors for end in ("", "_recent")]
        self.proposers = [name for name in (*PROPOSERS, *vectors) if name in signals]
        self._ranked = [name for name in (*RANKED, *past.catalogue.vectors) if name in signals]
        self._item_columns, self._user_columns = _item_columns(past), _user_columns(past)
        of_ranks = [f"{name}_rank" for name in self._ranked]
        self.names = [*signals, *self._item_columns, *self._user_columns, *of_ranks]
        begin = {names[0]: commonprefix(names).rstrip("_") for names in families}  # noqa: RUF071 - they are no paths
        group_of = {name: begin[names[0]] for names in families for name in names}
        of_columns = [*["item"] * len(self._item_columns), *["user"] * len(self._user_columns)]
        self.groups = [*group_of.values(), *of_columns, *(group_of[name] for name in self._ranked)]
        """What each feature tells of, in the same order."""

    def blocks(
        self, users: Rows, *, seen: SparseRows | None, allowed: NDArray[np.bool_], n_least: int = 0
    ) -> Iterator[Pairs]:
        """Yield the candidates of `users`, a block of them at a time.

        Args:
            users: user rows.
            seen: by place in `users`, items that are no candidates.
            allowed: shape (n_items,): the items to choose from.
            n_least: candidates that a user has at least, where so many are allowed and not seen.
        """
        n_users, n_items = self._shape
        size = int(np.clip(BLOCK_SCORES // max(n_items, n_users // 4), 1, BLOCK_USERS))  # profiles are n_users wide
        for start in range(0, len(users), size):
            stop = min(start + size, len(users))
            hidden = _hidden(start, stop, seen, allowed)
            scores = self._scores(users[start:stop])
            chosen = self._choose(scores, hidden, n_least)
            places, items = chosen.nonzero()
            features = self._features(scores, users[start:stop][places], places, items)
            yield Pairs(start, stop, places + start, items, features)

    def proposals(
        self, user: int, *, seen: SparseRows | None, allowed: NDArray[np.bool_], n_least: int = 0
    ) -> Mapping[str, Rows]:
        """Return the items that each signal proposes to a user, best first; by signal. As in `blocks`."""
        scores, hidden = self._scores(np.array([user])), _hidden(0, 1, seen, allowed)
        found = {}
        for name in self.proposers:
            chosen, values = np.zeros_like(hidden), scores[name].all()
            choose_best(values, hidden, max(N_EACH, n_least), chosen)
            items = np.flatnonzero(chosen[0])
            found[name] = items[np.lexsort((items, -values[0, items]))]
        return found

    def _scores(self, users: Rows) -> dict[str, Scores]:
        """Every signal, in the order in which trees see them."""
        return {name: scores for family in self._families for name, scores in family(users).items()}

    def _choose(self, scores: Mapping[str, Scores], hidden: NDArray[np.bool_], n_least: int) -> NDArray[np.bool_]:
        """Mark the candidates of a block, shape (block, n_items)."""
        chosen = np.zeros(hidden.shape, dtype=bool)
        for name in self.proposers:
            choose_best(scores[name].all(), hidden, max(N_EACH, n_least), chosen)
        for row in np.flatnonzero(chosen.sum(axis=1) < n_least):
            others = np.flatnonzero(~chosen[row] & ~hidden[row])
            chosen[row, others[: n_least - chosen[row].sum()]] = True
        return chosen

    def _features(self, scores: Mapping[str, Scores], users: Rows, places: Rows, items: Rows) -> Floats:
        """What trees see of pairs, shape (n, n_features)."""
        columns = [one.at(places, items) for one in scores.values()]
        columns += [column[items] for column in self._item_columns.values()]
        columns += [column[users] for column in self._user_columns.values()]
        columns += [ranks_within(places, scores[name].at(places, items)) for name in self._ranked]
        return np.column_stack(columns).astype(np.float32)


def _hidden(start: int, stop: int, seen: SparseRows | None, allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What is no candidate of the users at places start to stop, shape (stop - start, n_items)."""
    hidden = np.repeat(~allowed[None], stop - start, axis=0)
    hidden[seen_pairs(seen, np.arange(start, stop))] = True
    return hidden


def choose_best(scores: Floats, hidden: NDArray[np.bool_], n_each: int, chosen: NDArray[np.bool_]) -> None:
    """Mark the n_each best items of each row that score above 0 and aren't hidden; of equals the first items."""
    for row, (of_row, hidden_of_row) in enumerate(zip(scores, hidden, strict=True)):
        items = np.flatnonzero((of_row > 0) & ~hidden_of_row)
        if len(items) > n_each:
            values = of_row[items]
            lowest = np.partition(values, len(values) - n_each)[len(values) - n_each]
            above, equal = items[values > lowest], items[values == lowest]
            items = np.concatenate([above, equal[: n_each - len(above)]])
        chosen[row, items] = True


def ranks_within(places: Rows, values: Floats) -> Floats:
    """Return the rank, from 0, of each value among those of its place, the highest first; of equals the first."""
    order = np.lexsort((-values, places))
    ranks = np.empty(len(order), dtype=np.float32)
    ranks[order] = np.arange(len(order)) - np.searchsorted(places, places[order])
    return ranks


def _item_columns(past: Past) -> Mapping[str, Floats]:
    """What is known of items beside signals; shape (n_items,) each."""
    last, shortly, lately = (popularity(past, window) for window in (0.01, 0.05, 0.5))
    with np.errstate(invalid="ignore", divide="ignore"):
        columns: dict[str, NDArray[np.floating]] = {
            "age": past.first_ages,
            "idle": past.last_ages,
            "repeats": past.n_events / past.n_users,
            "trend": last / shortly,
            "long_trend": shortly / lately,
            **past.catalogue.numbers,
        }
    return {name: np.where(np.isfinite(column), column, np.nan).astype(np.float32) for name, column in columns.items()}


def _user_columns(past: Past) -> Mapping[str, Floats]:
    """What is known of users; shape (n_users,) each."""
    counts = np.diff(past.likes.indptr)
    idle = np.full(len(counts), np.nan, dtype=np.float32)
    users = np.repeat(np.arange(len(counts)), counts)
    np.fmin.at(idle, users, past.like_ages.data)
    return {"n_likes": counts.astype(np.float32), "user_idle": idle}
