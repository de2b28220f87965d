"""Rolling folds of time: the cut of the store, again and again on what lies before it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import polars as pl

from recsys_polars import splitting
from recsys_polars.recipes.build import cut_interactions, filter_train, label_pairs
from recsys_polars.recipes.raw import BuildSettings, settings_of
from recsys_polars.store import Store

DEFAULT_FRACTION = 0.1
"""Of what lies before a cut, the share in a fold's window where the store has no valid part."""


@dataclass(frozen=True)
class Fold:
    """What was known before a cut, and the truth of the window after it, which ends at the next fold's cut.

    Attributes:
        events: `Interactions` before the cut, repeats of a pair included, without the pairs that were filtered out.
        labelled, repeats, filtered: the tables of that name in a store without a valid part; `test` is the window.
    """

    events: pl.DataFrame
    labelled: pl.DataFrame
    repeats: pl.DataFrame
    filtered: pl.DataFrame

    @property
    def history(self) -> pl.DataFrame:
        """What was known of each pair before the cut: user_id, item_id, rating, event_time, label."""
        return splitting.history(self.labelled.lazy(), self.repeats.lazy(), before="test").collect()

    @property
    def truth(self) -> pl.DataFrame:
        """The liked pairs of the window that the user did not have before: user_id, item_id."""
        liked = (pl.col("part") == "test") & (pl.col("label") == 1)
        return self.labelled.filter(liked).select("user_id", "item_id")


def rolling_folds(store: Store) -> Iterator[Fold]:
    """Yield folds of what lies before the test cut, the latest first: its window is the valid part.

    Each cuts what lies before the one before it as the store was cut. They end where nothing liked is left on a side.
    """
    settings = replace(fold_settings(store), valid_fraction=0)
    for parted in rolling_parts(store, settings):
        before = parted.filter(pl.col("part") == "train").drop("part")
        labelled, repeats, filtered = filter_train(*label_pairs(parted.lazy(), settings), settings)
        events = before.join(filtered, on=["user_id", "item_id"], how="anti", maintain_order="left")
        fold = Fold(events, labelled, repeats, filtered)
        if fold.truth.is_empty() or not fold.history["label"].sum():
            return
        yield fold


def fold_settings(store: Store) -> BuildSettings:
    """Return how a store would have been built at the cut of a fold: the window is as wide as the valid part."""
    settings = settings_of(store)
    fraction = settings.valid_fraction or DEFAULT_FRACTION
    return replace(settings, test_fraction=fraction, valid_fraction=fraction)


def interactions_before_test(store: Store) -> pl.DataFrame:
    """Return the `Interactions` of a store before its test cut, repeats of a pair included."""
    parted = cut_interactions(store.scan("interactions"), settings_of(store))
    return parted.filter(pl.col("part") != "test").drop("part").collect()


def rolling_parts(store: Store, settings: BuildSettings) -> Iterator[pl.DataFrame]:
    """Yield interactions with their part, without end: `test` is the window of a fold, the latest fold first.

    Args:
        store: the store.
        settings: `fold_settings`; with a valid_fraction, `valid` is the window of the fold that comes next.
    """
    before = interactions_before_test(store)
    while True:
        parted = cut_interactions(before.lazy(), settings).collect()
        yield parted
        before = parted.filter(pl.col("part") != "test").drop("part")
