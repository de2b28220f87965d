"""Figures of earlier cuts: a fold knows nothing from after its cut, and is judged as a store of its own would be."""

from dataclasses import replace
from itertools import islice

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recsys_polars.errors import InputError
from recsys_polars.models.protocol import FitSettings
from recsys_polars.recipes import knowledge_before, measure
from recsys_polars.recipes.build import BuildSettings, build_features
from recsys_polars.recipes.folds import fold_settings, rolling_folds
from recsys_polars.recipes.measure import measure_folds, store_fold
from recsys_polars.recipes.train import mean_ap, train, truth_of
from recsys_polars.store import open_store

CPU = FitSettings(device="cpu")
PAIR = ["user_id", "item_id"]


def events(n=500):
    """Users and items that come back, in an order that is liked by chance."""
    chance = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "user_id": [f"u{user:02}" for user in chance.integers(0, 20, n)],
            "item_id": [f"i{item:02}" for item in np.minimum(chance.geometric(0.08, n), 40)],
            "rating": chance.choice([1.0, 3.0, 4.0, 5.0, 5.0], n),
            "timestamp": 1_600_000_000 + 3600 * np.arange(n),
        }
    )


def store_of(folder, rows, **settings):
    folder.mkdir(exist_ok=True)
    rows.write_parquet(folder / "events.parquet")
    items = pl.DataFrame({"item_id": [f"i{item:02}" for item in range(1, 41)]})
    titles = items.with_columns(title=pl.format("Thing {}", pl.col("item_id").str.slice(1).cast(pl.Int64) % 7))
    brands = titles.with_columns(brand=pl.format("b{}", pl.col("item_id").str.slice(1).cast(pl.Int64) % 25))
    brands.write_parquet(folder / "items.parquet")
    paths = [str(folder / name) for name in ("events.parquet", "items.parquet")]
    return build_features(BuildSettings(*paths, **settings), folder / "store")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return store_of(tmp_path_factory.mktemp("store"), events())


def fold_of(store, number, folder):
    """The store of a fold, 1 being the latest."""
    fold = next(islice(rolling_folds(store), number - 1, None))
    return store_fold(fold, store.scan("items").collect(), fold_settings(store), folder)


@pytest.mark.parametrize("split", ["global-time", "user-time", "last-n"])
def test_a_fold_has_the_history_and_the_truth_of_the_rolling_fold(split, tmp_path):
    store = store_of(tmp_path, events(), split=split)
    for number, fold in enumerate(islice(rolling_folds(store), 3), 1):
        known = knowledge_before(fold_of(store, number, tmp_path / f"fold-{number}"), "test")
        pairs = fold.history.sort(PAIR)
        assert known.user_ids.gather(known.user_rows).to_list() == pairs["user_id"].to_list()
        assert known.item_ids.gather(known.item_rows).to_list() == pairs["item_id"].to_list()
        assert known.labels.tolist() == pairs["label"].to_list()


def test_nothing_after_its_window_changes_a_file_of_a_fold(store, tmp_path):
    rows = events()
    window_ends = next(rolling_folds(store)).events["event_time"].max().timestamp()  # where the latest begins
    later = pl.col("timestamp") > window_ends
    changed = rows.with_columns(
        rating=pl.when(later).then(6 - pl.col("rating")).otherwise("rating"),
        item_id=pl.when(later & (pl.col("timestamp") % 7200 == 1600)).then(pl.lit("later")).otherwise("item_id"),
    )
    assert changed.filter(later).height > 50
    other = fold_of(store_of(tmp_path / "other", changed), 2, tmp_path / "fold-of-other")
    assert other.manifest["files"] == fold_of(store, 2, tmp_path / "fold").manifest["files"]


def test_the_window_itself_changes_no_feature_of_a_fold(store, tmp_path):
    rows = events()
    cut = list(islice(rolling_folds(store), 2))[1].events["event_time"].max().timestamp()
    later = pl.col("timestamp") > cut
    changed = rows.with_columns(
        rating=pl.when(later).then(6 - pl.col("rating")).otherwise("rating"),
        item_id=pl.when(later & (pl.col("timestamp") % 7200 == 1600)).then(pl.lit("later")).otherwise("item_id"),
    )
    fold = fold_of(store, 2, tmp_path / "fold")
    other = fold_of(store_of(tmp_path / "other", changed), 2, tmp_path / "fold-of-other")
    for file, entry in fold.manifest["files"].items():
        if not file.startswith(("labelled", "repeats")):
            assert other.manifest["files"][file] == entry, file
    before = pl.col("part") != "test"
    for table in ("labelled", "repeats"):
        assert_frame_equal(*(one.scan(table).filter(before).collect() for one in (fold, other)))
    assert "later" not in other.scan("item_features").collect()["item_id"]


def test_the_rounds_of_a_fold_are_not_chosen_on_its_window(store, tmp_path, monkeypatch):
    asked = []
    original = measure.choose_rounds
    monkeypatch.setattr(measure, "choose_rounds", lambda *words: asked.append(original(*words)) or asked[-1])
    figures = measure_folds(store.path, "two-tower", CPU)["figures"]
    fold = fold_of(store, 1, tmp_path / "fold")
    valid = fold.scan("labelled").filter(pl.col("part") == "valid").collect()
    window = next(rolling_folds(store)).truth
    assert valid.join(window, on=PAIR, how="semi").is_empty()
    again = original(fold, measure.model_class("two-tower"), replace(CPU, seed=42), measure.silent)
    assert asked == [again]
    assert len(figures) == 1


def test_the_latest_fold_is_judged_as_the_valid_part_is(store):
    found = measure_folds(store.path, "popularity", CPU)
    known = knowledge_before(store, "valid")
    truth = truth_of(store, known, part="valid", seed=42)
    users = known.rows_of_users(truth["user_id"].unique().sort())
    model = measure.model_class("popularity")()
    assert found["figures"] == [
        {"fold": 1, "seed": 42, "map": mean_ap(model, known, users, truth, CPU), "users": len(users)}
    ]
    assert (found["mean"], found["spread"]) == (found["figures"][0]["map"], None)


def test_each_fold_is_measured_by_each_seed_and_the_manifest_says_so(store):
    folds = measure_folds(store.path, "two-tower", CPU, n_folds=2, n_seeds=2)
    figures = folds["figures"]
    assert [(one["fold"], one["seed"]) for one in figures] == [(1, 42), (1, 43), (2, 42), (2, 43)]
    maps = [one["map"] for one in figures]
    assert folds["mean"] == pytest.approx(sum(maps) / 4)
    assert folds["spread"] == pytest.approx((sum((one - folds["mean"]) ** 2 for one in maps) / 3) ** 0.5)
    assert len({one["users"] for one in figures[:2]}) == 1
    manifest = train(store.path, "two-tower", CPU, folds=folds)
    assert manifest["folds"] == folds
    assert train(store.path, "two-tower", CPU)["training"] == manifest["training"]


def test_measuring_leaves_the_store_as_it_was(store):
    before = sorted(path for path in store.path.rglob("*") if path.is_file())
    measure_folds(store.path, "popularity", CPU, n_folds=2)
    assert sorted(path for path in store.path.rglob("*") if path.is_file()) == before
    assert open_store(store.path).identity == store.identity


def test_more_folds_than_there_are_is_an_error_before_any_training(store, monkeypatch):
    monkeypatch.setattr(measure, "_measure", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(InputError, match=r"--folds: expected windows with users .*, found \d+ of 500"):
        measure_folds(store.path, "mlp", CPU, n_folds=500)


def test_seeds_have_no_effect_on_popularity(store):
    with pytest.raises(InputError, match="--seeds: expected no such option with popularity"):
        measure_folds(store.path, "popularity", CPU, n_seeds=2)
