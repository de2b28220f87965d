"""Folds of time: the latest is the store's own valid part; none knows what comes after its cut."""

from itertools import islice

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recsys_polars.recipes import history_before
from recsys_polars.recipes.build import BuildSettings, build_features
from recsys_polars.recipes.folds import rolling_folds

PAIR = ["user_id", "item_id"]


def events(n=400):
    """Users and items that come back: repeats of pairs on both sides of every cut."""
    place = pl.int_range(n, dtype=pl.Int64)
    user, item = (place * 7) % 23, (place * place) % 31
    columns = {"user_id": user.cast(pl.String), "item_id": item.cast(pl.String), "rating": 1.0 + (place * 3) % 5}
    return pl.select(**columns, timestamp=1_600_000_000 + 3600 * place)


def store_of(folder, rows, **settings):
    rows.write_parquet(folder / "events.parquet")
    return build_features(BuildSettings(str(folder / "events.parquet"), **settings), folder / "store")


@pytest.mark.parametrize("split", ["global-time", "user-time", "last-n"])
def test_the_latest_fold_is_what_the_store_knows_before_its_valid_part(tmp_path, split):
    store = store_of(tmp_path, events(), split=split)
    fold = next(rolling_folds(store))
    stored = history_before(store, "valid").collect()
    assert_frame_equal(fold.history.sort(PAIR), stored.sort(PAIR), check_column_order=False)
    valid = store.scan("labelled").filter((pl.col("part") == "valid") & (pl.col("label") == 1)).select(PAIR).collect()
    assert_frame_equal(fold.truth.sort(PAIR), valid.sort(PAIR))


def test_a_fold_ends_where_the_next_begins_and_changes_with_nothing_later(tmp_path):
    rows = events()
    store = store_of(tmp_path, rows)
    first, second = islice(rolling_folds(store), 2)
    window = first.events.join(second.events, on=[*PAIR, "event_time"], how="anti")
    assert window["event_time"].min() > second.events["event_time"].max()
    assert set(second.truth.rows()) <= set(window.select(PAIR).rows())
    assert not set(second.truth.rows()) & set(second.history.select(PAIR).rows())
    (tmp_path / "other").mkdir()
    test_begins = store.scan("labelled").filter(pl.col("part") == "test").collect()["event_time"].min().timestamp()
    later = rows.with_columns(
        item_id=pl.when(pl.col("timestamp") >= test_begins).then(pl.lit("new")).otherwise("item_id")
    )
    other = next(rolling_folds(store_of(tmp_path / "other", later)))
    assert_frame_equal(other.events, first.events, check_row_order=False)  # Polars promises none


def test_filtered_pairs_are_in_no_fold(tmp_path):
    store = store_of(tmp_path, events(), min_item_interactions=12)
    fold = next(rolling_folds(store))
    assert fold.filtered.height
    assert fold.events.join(fold.filtered, on=PAIR, how="semi").is_empty()


def test_folds_end_where_nothing_liked_is_left(tmp_path):
    store = store_of(tmp_path, events(60))
    folds = list(rolling_folds(store))
    assert 1 < len(folds) < 60
    assert all(fold.truth.height for fold in folds)
    assert folds[-1].history["label"].sum()
