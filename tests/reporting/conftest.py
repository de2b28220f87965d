"""Contents of a report, made of a few rows, some of them made to harm."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from recsys_polars import breakdowns, metrics
from recsys_polars.reporting.contents import Card, Contents, Shelf, Work
from recsys_polars.reporting.lists import TAKEN

HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>'
K = 3
LISTS = {
    "popularity": {"amy": ["a", "b", "c"], "bob": ["a", "b", "c"], "cy": ["a", "b", "c"]},
    HOSTILE: {"amy": ["d", "a", "e"], "bob": ["c", "f", "a"], "cy": ["b", "d", "g"]},
}
TRUTH = {"amy": ["a", "d"], "bob": ["c"], "cy": ["g", "h"]}
LIKES = {"amy": 4, "bob": 40}
POPULARITY = {"a": 9, "b": 5, "c": 3, "d": 1}
ITEMS = list("abcdefghijklmnopqrst")


def pairs_of(lists: dict[str, list[str]]) -> pl.DataFrame:
    rows = [(user, item, rank) for user, items in lists.items() for rank, item in enumerate(items, 1)]
    return pl.DataFrame(rows, {"user_id": pl.String, "item_id": pl.String, "rank": pl.UInt32}, orient="row")


def stacked(make: Callable[[str, pl.DataFrame], pl.DataFrame]) -> pl.DataFrame:
    tables = {name: make(name, pairs_of(lists)) for name, lists in LISTS.items()}
    return pl.concat([table.select(pl.lit(name).alias("name"), pl.all()) for name, table in tables.items()])


@pytest.fixture(scope="session")
def contents() -> Contents:
    """Two models, the second of which has a name made to harm."""
    truth = pairs_of(TRUTH).drop("rank")
    likes, popularity = (
        pl.DataFrame(list(counts.items()), [name, "n_positives"], orient="row")
        for name, counts in (("user_id", LIKES), ("item_id", POPULARITY))
    )
    users = {
        name: metrics.add_list_figures(
            metrics.per_user(pairs_of(lists), truth, k=K), pairs_of(lists), popularity, k=K, n_train_users=9
        )
        for name, lists in LISTS.items()
    }
    deciles = breakdowns.popularity_deciles(pl.Series(ITEMS), popularity)
    first, other = users.values()
    difference = metrics.compare(other, first, n_items=len(ITEMS), seed=0)
    taken = breakdowns.shares_of_deciles(truth, deciles, seed=0).select(pl.lit(TAKEN).alias("name"), pl.all())
    card = Card(HOSTILE, f"https://images.example/{HOSTILE}", item_id=HOSTILE)
    return Contents(
        data={"Store": HOSTILE},
        k=K,
        models=list(LISTS),
        figures=stacked(lambda name, _: metrics.summarise(users[name], n_items=len(ITEMS), seed=0)),
        differences=difference.select(pl.lit(HOSTILE).alias("name"), pl.all()),
        by_history=stacked(lambda name, _: breakdowns.by_history(users[name], likes, seed=0)),
        by_warmth=stacked(lambda name, _: breakdowns.by_history(users[name], likes, seed=0, bounds=(0, 1))),
        by_popularity=stacked(lambda _, own: breakdowns.by_popularity(own, truth, popularity, k=K, seed=0)),
        over_k=stacked(lambda _, own: breakdowns.over_k(own, truth, [1, 2, 3], seed=0)),
        shares=pl.concat([stacked(lambda _, own: breakdowns.shares_of_deciles(own, deciles, seed=0)), taken]),
        deciles=deciles.group_by("decile", maintain_order=True).agg(
            n_items=pl.len(), most=pl.col("n_positives").max(), fewest=pl.col("n_positives").min()
        ),
        trainings={HOSTILE: training()},
        works=[
            Work("build", None, None),
            Work("rank", "popularity", "popularity", users=3, items=10),
            Work("rank", HOSTILE, "catboost", [(HOSTILE, 60.5, 2_500_000_000)], 90.0, 3_000_000_000, users=3),
        ],
        steps=[{"name": HOSTILE, "rows_in": 1234, "rows_out": 1230, "merged": 3, "rejected": 1}],
        rejects=[[HOSTILE, "1", HOSTILE, f"{HOSTILE}.csv, line 7: {HOSTILE!r}"]],
        shelves=[
            Shelf(HOSTILE, [card], [card], {name: [Card("fine"), card._replace(is_hit=True)] for name in LISTS}, 12, 1)
        ],
    )


def training() -> dict[str, Any]:
    """What a manifest says of a training: two rounds to choose from, one of them taken."""
    curve = [{"loss": 0.7, "validation": 0.01}, {"loss": 0.6, "validation": 0.03}]
    return {
        "rounds": 2,
        "seconds": 1.0,
        "choice": {"rounds": 2, "users": 1234, "curve": curve},
        "training": {"curve": [{"loss": 0.65}, {"loss": 0.55}]},
        "folds": {"figures": [{"fold": 1, "seed": 42, "map": 0.0123, "users": 77}], "mean": 0.0123, "spread": None},
    }


@pytest.fixture
def harmless(contents: Contents) -> Contents:
    """The same without images."""
    return replace(contents, shelves=[])
