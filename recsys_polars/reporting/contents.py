"""What a report says: figures, and a few users' lists. Nothing here is markup."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl


class Card(NamedTuple):
    """An item as a reader sees it.

    `is_hit`: it stands in a list, and the user took it next. `item_id`: of an item whose title others have too.
    """

    title: str
    image_url: str | None = None
    is_hit: bool = False
    item_id: str | None = None


@dataclass(frozen=True)
class Shelf:
    """One user, in titles.

    Attributes:
        user_id: who.
        liked: their latest positives before the test cut, the latest first.
        taken: their positives in the test part: first those in a shown list, then the latest.
        given: the list of each predictions file, best first, by name.
        n_liked, n_taken: how many there are in all.
    """

    user_id: str
    liked: list[Card]
    taken: list[Card]
    given: dict[str, list[Card]]
    n_liked: int
    n_taken: int


class Work(NamedTuple):
    """What a run took; None where it isn't known.

    Attributes:
        run: `build`, `train` or `rank`.
        name, kind: of the model.
        steps: name, seconds, and the most bytes of memory that the process had had by its end.
        seconds, peak_bytes: of the whole.
        users, items: of a ranking: how many lists, of how many items.
    """

    run: str
    name: str | None
    kind: str | None
    steps: Sequence[tuple[str, float, int]] = ()
    seconds: float | None = None
    peak_bytes: int | None = None
    users: int | None = None
    items: int | None = None


@dataclass(frozen=True)
class Contents:
    """What a report says. In every frame `name` is a model's, and value, low and high a figure and its 95 % interval.

    Attributes:
        data: what was judged, in words, by what it is.
        k: length of the lists that were judged.
        models: their names; the first is what the others are compared with.
        figures, differences: name, metric, value, low, high; see `recipes.evaluate.Evaluation`.
        by_history, by_warmth, by_popularity: name, and what `breakdowns` returns.
        over_k: name, k, metric, value, low, high.
        shares: name (one is "", what users took), and what `breakdowns.shares_of_deciles` returns.
        deciles: decile, n_items, most, fewest (n_positives of an item).
        trainings: of the models whose manifest is known, what it says.
        works: the build, the training and the ranking of every model.
        steps: of the build: name, rows_in, rows_out, merged, rejected.
        rejects: table, rows, rule, and the first of them, in words.
        shelves: example users.
    """

    data: Mapping[str, str]
    k: int
    models: Sequence[str]
    figures: pl.DataFrame
    differences: pl.DataFrame
    by_history: pl.DataFrame
    by_warmth: pl.DataFrame
    by_popularity: pl.DataFrame
    over_k: pl.DataFrame
    shares: pl.DataFrame
    deciles: pl.DataFrame
    trainings: Mapping[str, Mapping[str, Any]]
    works: Sequence[Work]
    steps: Sequence[Mapping[str, Any]]
    rejects: Sequence[Sequence[str]]
    shelves: Sequence[Shelf]
