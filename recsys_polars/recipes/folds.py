"""Rolling folds of time: the cut of the store, again and again on what lies before it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import polars as pl

from recsys_polars import splitting
from recsys_polars.recipes.pairs import cut_interactions, filter_train, find_core, label_pairs
from recsys_polars.recipes.raw import BuildSettings, settings_of
from recsys_polars.store import Store

DEFAULT_FRACTION = 0.1
"""Of what lies before a cut, the share in a fold's window where the store has no valid part."""


@dataclass(frozen=True)
class Fold:
    """What was known before a cut, and the truth of the window after it, which ends at the next fold's cut.

    Attributes:
        events: `Interactions` before the cut, in no order, repeats of a pair included, without the pairs that were
            filtered out.
        labelled, repeats, filtered: the tables of a store that would have been built at the cut: `test` is the window,
            `valid` the one before it.
        history: what was known of each pair before the cut: user_id, item_id, rating, event_time, label.
        truth: the liked pairs of the window that the user did not have before: user_id, item_id.
    """

    events: pl.DataFrame
    labelled: pl.DataFrame
    repeats: pl.DataFrame
    filtered: pl.DataFrame
    history: pl.DataFrame
    truth: pl.DataFrame


def rolling_folds(store: Store) -> Iterator[Fold]:
    """Yield folds of what lies before the test cut, the latest first: its window is the valid part.

    Each cuts what lies before the one before it as the store was cut. They end where no user of a window had liked
    anything before it.
    """
    settings, before = fold_settings(store), interactions_before_test(store)
    while True:
        parted = cut_interactions(before.lazy(), settings).collect()
        before = parted.filter(pl.col("part") != "test").drop("part")
        labelled, repeats = label_pairs(parted, settings)
        fold = _fold(before, *filter_train(labelled, repeats, find_core(labelled.lazy(), settings)))
        fans = fold.history.filter(pl.col("label") == 1)["user_id"]
        if not fold.truth["user_id"].is_in(fans.implode()).any():
            return
        yield fold


def _fold(before: pl.DataFrame, labelled: pl.DataFrame, repeats: pl.DataFrame, filtered: pl.DataFrame) -> Fold:
    return Fold(
        events=before.join(filtered, on=["user_id", "item_id"], how="anti", maintain_order="left"),
        labelled=labelled,
        repeats=repeats,
        filtered=filtered,
        history=splitting.history(labelled.lazy(), repeats.lazy(), before="test").collect(),
        truth=labelled.filter((pl.col("part") == "test") & (pl.col("label") == 1)).select("user_id", "item_id"),
    )


def fold_settings(store: Store) -> BuildSettings:
    """Return how a store would have been built at the cut of a fold: the window is as wide as the valid part."""
    settings = settings_of(store)
    fraction = settings.valid_fraction or DEFAULT_FRACTION
    return replace(settings, test_fraction=fraction, valid_fraction=fraction)


def interactions_before_test(store: Store) -> pl.DataFrame:
    """Return the `Interactions` of a store before its test cut, repeats of a pair included."""
    parted = cut_interactions(store.scan("interactions"), settings_of(store))
    return parted.filter(pl.col("part") != "test").drop("part").collect()
