"""The audit of whole stores: honest ones pass, and every kind of leak that is planted is found."""

import shutil
from dataclasses import replace
from pathlib import Path

import dataframely as dy
import numpy as np
import polars as pl
import pytest

from recsys_polars import splitting
from recsys_polars.recipes import features as features_recipe
from recsys_polars.recipes.audit import audit_leaks
from recsys_polars.recipes.build import build_features
from recsys_polars.recipes.raw import BuildSettings
from recsys_polars.store import Store, build_store
from recsys_polars.tables import ItemFeatures, Items, Labelled, Repeats, UserMeans, as_matrix

TABLES = {
    "items": Items,
    "labelled": Labelled,
    "repeats": Repeats,
    "filtered": Labelled,
    "item_features": ItemFeatures,
    "item_features_valid": ItemFeatures,
    "user_means": UserMeans,
}


class Unchecked(dy.Schema):
    """A contract that a pair in two parts keeps."""

    user_id = dy.String(primary_key=True)
    item_id = dy.String(primary_key=True)
    part = dy.String(primary_key=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> BuildSettings:
    """60 users take some of 90 items, twice now and then; the latest 10 items have no metadata and come late."""
    rng, folder = np.random.default_rng(3), tmp_path_factory.mktemp("raw")
    times = rng.integers(0, 1000, 1500)
    items = np.where(times > 850, rng.integers(0, 90, 1500), np.minimum(rng.geometric(0.04, 1500), 80) - 1)
    log = pl.DataFrame(
        {
            "user_id": [f"u{user:02}" for user in rng.integers(0, 60, 1500)],
            "item_id": [f"i{item:02}" for item in items],
            "rating": rng.integers(2, 6, 1500).astype(float),
            "event_time": times + 1_600_000_000,
        }
    )
    log.write_parquet(folder / "log.parquet")
    catalogue = pl.DataFrame(
        {
            "item_id": [f"i{item:02}" for item in range(80)],
            "title": [f"A title {item % 7} {'of many words' * (item % 3)}" for item in range(80)],
            "brand": [f"brand {item % 30}" for item in range(80)],
            "price": rng.random(80) * 100,
            "year": rng.integers(1990, 2020, 80),
        }
    )
    catalogue.write_parquet(folder / "items.parquet")
    return BuildSettings(str(folder / "log.parquet"), str(folder / "items.parquet"), item_features=["year"])


@pytest.fixture(scope="module")
def honest(files, tmp_path_factory) -> Store:
    return build_features(files, tmp_path_factory.mktemp("honest") / "store")


def leaks_of(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for check in audit_leaks(path):
        found.setdefault(check.name, []).extend(check.leaks)
    return {name: leaks for name, leaks in found.items() if leaks}


def planted(store: Store, out: Path, contracts=TABLES, tensors=None, **tables: pl.DataFrame) -> Path:
    """Write a store again by its own means, with other tables or tensors."""
    with build_store(out) as writer:
        for file in store.manifest["files"]:
            name, kind = file.rsplit(".", 1)
            if kind == "parquet" and name in tables:
                writer.write(name, tables[name], contracts[name])
            elif kind == "safetensors":
                writer.write_tensors(name, store.tensors(name) | (tensors or {}).get(name, {}))
            else:
                shutil.copyfile(store.path / store.generation / file, writer.stage.folder / file)
                writer.stage.add_file(file)
        facts = store.manifest.items()
        writer.stage.facts |= {key: value for key, value in facts if key not in {"files", "format_version"}}
    return out


def table(store: Store, name: str) -> pl.DataFrame:
    return store.scan(name).collect()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"split": "user-time"},
        {"split": "last-n", "test_n": 2},
        {"min_user_interactions": 10, "min_item_interactions": 5},
        {"implicit": True, "text": "none"},
        {"items": None, "item_features": ()},
        {"valid_fraction": 0.0},
        {"test_fraction": 0.0},
    ],
    ids=str,
)
def test_an_honest_store_passes(files, tmp_path, options) -> None:
    build_features(replace(files, **options), tmp_path / "store")
    assert leaks_of(tmp_path / "store") == {}


def test_the_embedded_store_passes(tmp_path) -> None:
    build_features(BuildSettings(), tmp_path / "store")
    assert leaks_of(tmp_path / "store") == {}


def test_a_store_that_was_written_again_as_it_is_passes(honest, tmp_path) -> None:
    assert leaks_of(planted(honest, tmp_path / "store")) == {}


class TestRowsBeforeACut:
    @pytest.mark.parametrize(("features", "cut"), [("item_features", "test"), ("item_features_valid", "valid")])
    def test_a_changed_feature_is_found(self, honest, tmp_path, features, cut) -> None:
        first = pl.col("item_id") == "i05"
        brands = table(honest, features).with_columns(
            is_top20_brand=pl.when(first).then(1 - pl.col("is_top20_brand")).otherwise("is_top20_brand")
        )
        was = table(honest, features).filter(first)["is_top20_brand"][0]
        path = planted(honest, tmp_path / "store", **{features: brands})
        line = f"{features}: is_top20_brand of item_id i05: expected {was}, found {1 - was}"
        assert leaks_of(path) == {f"rows before the {cut} cut": [line]}

    def test_a_changed_vector_is_found_in_the_tensors_that_models_read(self, honest, tmp_path) -> None:
        tfidf = honest.tensors("item_features")["tfidf"].copy()
        tfidf[7, 3] += 0.5
        path = planted(honest, tmp_path / "store", tensors={"item_features": {"tfidf": tfidf}})
        (line,) = leaks_of(path)["rows before the test cut"]
        assert line.startswith("item_features.safetensors: tfidf_3 of item_id i07: expected ")

    def test_a_rating_of_a_later_repeat_is_found(self, honest, tmp_path) -> None:
        labelled = table(honest, "labelled")
        later = table(honest, "repeats").head(1).select("user_id", "item_id", later=pl.col("rating") + 1)
        changed = labelled.join(later, on=["user_id", "item_id"], how="left", maintain_order="left").select(
            pl.all().exclude("later", "rating"), rating=pl.coalesce("later", "rating")
        )
        path = planted(honest, tmp_path / "store", labelled=changed.select(labelled.columns))
        lines = leaks_of(path)["rows before the test cut"]
        assert [line for line in lines if line.startswith("labelled: rating of user_id ")]

    def test_a_test_row_in_train_is_found(self, honest, tmp_path) -> None:
        labelled = table(honest, "labelled")
        is_one = (pl.col("part") == "test").cum_sum() == 1
        moved = labelled.with_columns(part=pl.when(is_one).then(pl.lit("train")).otherwise("part"))
        lines = leaks_of(planted(honest, tmp_path / "store", labelled=moved))["rows before the valid cut"]
        assert [line for line in lines if "expected none, found a row" in line]

    def test_a_history_that_goes_on_after_the_cut_is_found(self, files, tmp_path, monkeypatch) -> None:
        history = splitting.history
        monkeypatch.setattr(
            splitting, "history", lambda labelled, repeats, *, before: history(labelled, repeats, before="test")
        )
        build_features(files, tmp_path / "store")
        assert "rows before the valid cut" in leaks_of(tmp_path / "store"), "by the very code that leaks"
        monkeypatch.undo()
        leaks = leaks_of(tmp_path / "store")
        assert leaks.keys() == {"rows before the valid cut", "means before the valid cut"}

    def test_features_fitted_on_the_whole_catalogue_are_found(self, files, tmp_path, monkeypatch) -> None:
        build = features_recipe.item_features.build_item_features
        monkeypatch.setattr(
            features_recipe.item_features,
            "build_item_features",
            lambda items, history, **settings: build(items, items.lazy().select("item_id"), **settings),
        )
        build_features(files, tmp_path / "store")
        assert "rows before the test cut" in leaks_of(tmp_path / "store"), "late items are among those fitted on"

    def test_parts_by_chance_are_found(self, files, tmp_path, monkeypatch) -> None:
        def by_chance(interactions, **_):
            chance = pl.int_range(pl.len()) % 3
            return interactions.with_columns(part=chance.replace_strict({0: "train", 1: "valid", 2: "test"}))

        monkeypatch.setattr(splitting, "assign_parts", by_chance)
        build_features(files, tmp_path / "store")
        assert len(leaks_of(tmp_path / "store")["cuts"]) == 2

    def test_the_roundings_of_another_processor_pass_and_more_does_not(self, honest, tmp_path) -> None:
        for name, noise, kept in (("near", 1e-4, True), ("far", 1e-2, False)):
            features = table(honest, "item_features")
            tfidf = as_matrix(features["tfidf"]) + np.float32(noise)
            changed = features.with_columns(pl.Series("tfidf", tfidf, dtype=features.schema["tfidf"]))
            path = planted(honest, tmp_path / name, item_features=changed, tensors={"item_features": {"tfidf": tfidf}})
            assert (leaks_of(path) == {}) == kept


def test_a_pair_in_two_parts_is_found(honest, tmp_path) -> None:
    labelled = table(honest, "labelled")
    twice = labelled.vstack(labelled.filter(pl.col("part") == "train").head(1).with_columns(part=pl.lit("test")))
    path = planted(honest, tmp_path / "store", TABLES | {"labelled": Unchecked}, labelled=twice)
    (line,) = leaks_of(path)["pairs"]
    assert line.endswith("expected one part, found test and train")


@pytest.mark.parametrize("counted", [True, False])
def test_a_test_interaction_in_a_mean_is_found(honest, tmp_path, counted) -> None:
    means, features = table(honest, "user_means"), table(honest, "item_features")
    vectors = np.hstack([honest.tensors("item_features")[block] for block in honest.manifest["blocks"]])
    liked = table(honest, "labelled").filter((pl.col("part") == "test") & (pl.col("label") == 1))
    user, item = liked.select("user_id", "item_id").row(0)
    place = means.with_row_index().filter((pl.col("before") == "test") & (pl.col("user_id") == user))["index"][0]
    n, wide = means["n_positives"].to_numpy().copy(), as_matrix(means["mean"]).copy()
    wide[place] = (n[place] * wide[place] + vectors[features["item_id"].search_sorted(item)]) / (n[place] + 1)
    n[place] += counted
    changed = means.with_columns(pl.Series("n_positives", n), pl.Series("mean", wide, dtype=means.schema["mean"]))
    tensors = {"user_means": {"test": as_matrix(changed.filter(pl.col("before") == "test")["mean"])}}
    leaks = leaks_of(planted(honest, tmp_path / "store", user_means=changed, tensors=tensors))
    for file, line in zip(("user_means", "user_means.safetensors"), leaks["means before the test cut"], strict=True):
        expected = f"{file}: mean before test of user_id {user}: expected the mean of {n[place] - counted} items"
        assert line.startswith(expected)
        assert line.endswith(f"item_id {item} of a later part among them")
    assert leaks.keys() == {"means before the test cut", "rows before the test cut"}


def test_a_mean_of_all_likes_is_found(files, tmp_path, monkeypatch) -> None:
    def everything(labelled: pl.LazyFrame, repeats: pl.LazyFrame, *, before: str) -> pl.LazyFrame:
        return pl.concat([labelled, repeats]).unique(["user_id", "item_id"]).with_columns(label=pl.lit(1, pl.Int8))

    with monkeypatch.context() as patched:
        patched.setattr(splitting, "history", everything)
        build_features(files, tmp_path / "store")
    assert {"means before the valid cut", "means before the test cut"} <= leaks_of(tmp_path / "store").keys()


@pytest.fixture(scope="module")
def columns(real_data, tmp_path_factory) -> dict[str, list[str]]:
    """The leaks of the real set's own columns, and of honest ones beside them."""
    folder, source = tmp_path_factory.mktemp("mixed"), real_data / "amazon-2023-mixed"
    log, items = (pl.read_parquet(source / f"{name}.parquet") for name in ("interactions", "items"))
    train = log.sort("timestamp").head(int(0.9 * (log.height - 1)))
    known = train.group_by("item_id").agg(
        train_count=pl.len(), train_mean=pl.col("rating").mean(), latest=pl.col("timestamp").max()
    )
    wide = items.join(known, on="item_id", how="left").with_columns(
        pl.col("train_count").fill_null(0),
        log_count=pl.col("train_count").fill_null(0).log1p(),
        noise=pl.Series(np.random.default_rng(0).random(items.height)),
        title_length=pl.col("title").str.len_chars(),
        rounded_rating=(2 * pl.col("avg_rating")).round() / 2,
        log_ratings=pl.col("n_ratings").log1p(),
    )
    wide.write_parquet(folder / "items.parquet")
    features = [name for name in wide.columns if name not in {*items.columns} - {"avg_rating", "n_ratings"}]
    settings = BuildSettings(
        str(source / "interactions.parquet"), str(folder / "items.parquet"), item_features=features
    )
    build_features(settings, folder / "store")
    return leaks_of(folder / "store")


def test_statistics_over_all_rows_are_found_and_honest_columns_pass(columns) -> None:
    leaky = {"avg_rating", "n_ratings", "rounded_rating", "log_ratings"}
    assert columns.keys() == {f"column {name}" for name in leaky}


def test_a_leak_names_the_column_and_what_it_foresees(columns) -> None:
    assert columns["column n_ratings"][0].startswith("items: n_ratings: expected test interactions of items of equal")
    assert columns["column avg_rating"][0].startswith("items: avg_rating: expected mean test rating of items of equal")


@pytest.mark.parametrize("split", ["user-time", "last-n"])
def test_the_columns_of_the_mixed_set_are_found_whatever_the_split(real_data, tmp_path, split) -> None:
    files = [str(real_data / "amazon-2023-mixed" / f"{name}.parquet") for name in ("interactions", "items")]
    settings = BuildSettings(*files, item_features=["avg_rating", "n_ratings"], split=split, text="none")
    build_features(settings, tmp_path / "store")
    assert leaks_of(tmp_path / "store").keys() == {"column avg_rating", "column n_ratings"}


def test_the_gift_cards_pass(real_data, tmp_path) -> None:
    folder = real_data / "amazon-2018-gift-cards"
    build_features(
        BuildSettings(str(folder / "Gift_Cards_5.json.gz"), str(folder / "meta_Gift_Cards.json.gz")), tmp_path / "s"
    )
    assert leaks_of(tmp_path / "s") == {}
