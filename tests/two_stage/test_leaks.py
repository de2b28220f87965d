"""Nothing at or after the test cut changes what `auto` proposes, chooses, learns or ranks."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recsys_polars.recipes import auto, folds, history_before
from recsys_polars.recipes.pairs import cut_interactions
from recsys_polars.recipes.raw import BuildSettings
from recsys_polars.recipes.train import train
from recsys_polars.recipes.trained import find_model
from recsys_polars.store import Store
from recsys_polars.two_stage import signals
from tests.oracles import signals as oracle
from tests.two_stage.shops import (
    FEATURES,
    PAIR,
    SETTINGS,
    build,
    item_table,
    log,
    model_files,
    proposed_by,
    rank_with,
    shop_of,
    told_by,
)

pytestmark = pytest.mark.usefixtures("few_trees")


def known_to(store: Store) -> dict[str, np.ndarray]:
    """The candidates and their features of everybody with a history, by user id."""
    catalogue, candidates = auto._catalogue(store), proposed_by(store)
    users = np.flatnonzero(catalogue.user_ids.is_in(sorted(shop_of(store).warm)).to_numpy())
    allowed = np.ones(len(catalogue.item_ids), dtype=bool)
    found = {}
    for pairs in candidates.blocks(users, seen=None, allowed=allowed):
        for place in range(pairs.start, pairs.stop):
            rows = pairs.places == place
            found[catalogue.user_ids[int(users[place])]] = np.column_stack([pairs.items[rows], pairs.features[rows]])
    return found


@pytest.mark.parametrize("fewest", [1, 12])
def test_what_rank_knows_is_what_the_raw_rows_before_the_cut_say(tmp_path, monkeypatch, fewest) -> None:
    monkeypatch.setattr(signals, "DIMENSIONS", 4)
    settings = {"item_features": FEATURES, "min_item_interactions": fewest}
    shop = shop_of(build(tmp_path / "x", log(), item_table(), **settings))
    told, known = told_by(shop.store, log()), known_to(shop.store)
    names = proposed_by(shop.store).names
    assert known.keys() == shop.warm
    of_items = oracle.item_columns(told)
    for user in sorted(known)[::8]:
        items, features = [shop.items[int(row)] for row in known[user][:, 0]], known[user][:, 1:]
        expected = {**oracle.signals(told, user, dimensions=4), **of_items}
        for name, scores in expected.items():
            values = np.array([scores[item] for item in items])
            values[values > np.finfo(np.float32).max] = np.nan
            atol = 1e-2 if "cooccurrence" in name else 2e-6  # a random SVD only comes near
            found = features[:, names.index(name)]
            np.testing.assert_allclose(found, values, rtol=2e-4, atol=atol, err_msg=f"{name} of {user}")
        for name, value in oracle.user_columns(told, user).items():
            np.testing.assert_allclose(features[:, names.index(name)], value, rtol=1e-5)


def changed_after(rows: pl.DataFrame, split: str) -> pl.DataFrame:
    """The same before the test cut, and after it other items, ratings and, where the cut is everybody's, users."""
    timed = rows.with_columns(event_time=pl.from_epoch("timestamp"))
    parted = cut_interactions(timed.lazy(), BuildSettings(split=split)).filter(pl.col("part") == "test").collect()
    after = parted.select(*PAIR, "event_time", is_after=True).unique()
    rows = timed.join(after, on=[*PAIR, "event_time"], how="left", maintain_order="left").drop("event_time")
    is_after = pl.col("is_after").fill_null(value=False)
    row, everybodys = pl.int_range(pl.len()), split == "global-time"
    users = pl.format("newcomer {}", row % 80) if everybodys else pl.col("user_id")
    items = pl.format("later{}", row % 5) if everybodys else pl.lit("later0")
    return rows.with_columns(
        user_id=pl.when(is_after).then(users).otherwise("user_id"),
        item_id=pl.when(is_after).then(items).otherwise("item_id"),
        rating=pl.when(is_after).then(5.0 - pl.col("rating") % 5).otherwise("rating"),
        # Of a user's pairs of one time the last by id is the latest.
        timestamp=pl.col("timestamp") + pl.when(is_after & (split == "last-n")).then(86_400).otherwise(0),
    ).drop("is_after")


def lists_of(store: Store, out: Path) -> pl.DataFrame:
    """Lists of everybody who was there before the cut."""
    before = shop_of(store).seen
    file = out.with_suffix(".csv")
    file.write_text(pl.DataFrame({"user_id": sorted(before)}).write_csv())
    return rank_with(store, out, "--users", file, "-k", 15)


def differences(store: Store, other: Store, tmp_path: Path) -> set[str]:
    """What of candidates and features, models and lists differs between two stores."""
    known = known_to(store), known_to(other)
    assert known[0].keys() == known[1].keys()
    found = set()
    if any(a.tobytes() != b.tobytes() for a, b in zip(*(one.values() for one in known), strict=True)):
        found.add("features")
    if model_files(store) != model_files(other):
        found.add("model")
    choices = [find_model(one, "auto")[1]["choice"] for one in (store, other)]
    if choices[0] != choices[1]:
        found.add("choice")
    if not lists_of(store, tmp_path / "a.parquet").equals(lists_of(other, tmp_path / "b.parquet")):
        found.add("lists")
    return found


@pytest.fixture(params=["global-time", "user-time", "last-n"])
def two_futures(request, tmp_path) -> tuple[Store, Store]:
    """Two stores that differ after the test cut alone."""
    rows = log()
    other = changed_after(rows, request.param)
    stores = [
        build(tmp_path / name, one, item_table(), item_features=FEATURES, split=request.param)
        for name, one in (("one", rows), ("other", other))
    ]
    before = [history_before(one, "test").collect().sort(PAIR) for one in stores]
    assert_frame_equal(*before)
    test = [one.scan("labelled").filter(pl.col("part") == "test").collect() for one in stores]
    assert not test[0].equals(test[1])
    return stores[0], stores[1]


def test_nothing_after_the_cut_changes_features_trees_or_lists(two_futures, tmp_path, trees_win) -> None:
    for store in two_futures:
        train(store.path, "auto", SETTINGS)
    assert sum(name.endswith(".cbm") for name in model_files(two_futures[0])) == 4
    assert differences(*two_futures, tmp_path) == set()


@pytest.mark.parametrize("two_futures", ["global-time"], indirect=True)
def test_nothing_after_the_cut_changes_the_choice_and_its_figures(two_futures, tmp_path) -> None:
    for store in two_futures:
        train(store.path, "auto", SETTINGS)
    assert differences(*two_futures, tmp_path) == set()


@pytest.mark.parametrize("two_futures", ["global-time"], indirect=True)
def test_the_comparison_notices_a_past_of_all_events(two_futures, tmp_path, monkeypatch, trees_win) -> None:
    for store in two_futures:
        train(store.path, "auto", SETTINGS)
    monkeypatch.setattr(auto, "_events_before_test", lambda store: store.scan("interactions").collect())
    assert "features" in differences(*two_futures, tmp_path)
    monkeypatch.setattr(auto, "history_before", lambda store, before: store.scan("labelled"))
    assert differences(*two_futures, tmp_path) == {"features", "lists"}


@pytest.mark.parametrize("two_futures", ["global-time"], indirect=True)
def test_the_comparison_notices_labels_of_the_test_part(two_futures, tmp_path, monkeypatch, trees_win) -> None:
    monkeypatch.setattr(folds, "interactions_before_test", lambda store: store.scan("interactions").collect())
    for store in two_futures:
        train(store.path, "auto", SETTINGS)
    assert {"model", "lists"} <= differences(*two_futures, tmp_path)
