import os
import random
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recsys_polars.catalogue import complete_catalogue, deduplicate_items
from recsys_polars.item_features import build_item_features
from recsys_polars.tables import ItemFeatures, Items, Vectors, as_matrix, check, vector_columns
from recsys_polars.vectors.numeric import numeric_vectors
from recsys_polars.vectors.tfidf import TEXT_DIMENSIONS, tfidf_vectors
from tests.oracles import notebook as oracle

WORDS = ["café", "set", "of", "100%", "a_b", "keys", "中文", "🙂", "x", "77", "٣", "new\nline", "don't"]


def random_items(seed: int, *, n: int = 120) -> pl.DataFrame:
    """More brands and categories than a top holds, many of one size; nothing is missing nowhere."""
    chance = random.Random(seed)

    def text() -> str | None:
        return chance.choice([None, "", " ".join(chance.choices(WORDS, k=chance.randrange(1, 9)))])

    rows = [
        {
            "item_id": f"i{place:03}",
            "title": text(),
            "description": text(),
            "brand": chance.choice([None, *(f"brand {n}" for n in range(30))]),
            "category": chance.choice([None, *(f"category {n}" for n in range(14))]),
            "image_url": None,
            "price": chance.choice([None, 0.0, 9.99, 120.5, 1e6]),
        }
        for place in range(n)
    ]
    empty = Items.create_empty()
    return pl.DataFrame(rows, schema=empty.schema)


def history_of(item_ids: list[str]) -> pl.LazyFrame:
    """A history in which two users know each of the items."""
    users = pl.LazyFrame({"user_id": ["u", "v"]})
    return users.join(pl.LazyFrame({"item_id": item_ids}, schema={"item_id": pl.String}), how="cross")


def half_of(items: pl.DataFrame, seed: int) -> list[str]:
    return sorted(random.Random(seed).sample(items["item_id"].to_list(), items.height // 2))


def assert_equals_notebook(items: pl.DataFrame, history: pl.LazyFrame) -> None:
    features = build_item_features(items, history, text="none")
    check(ItemFeatures, features, name="item_features")
    known = set(history.collect()["item_id"])
    table = oracle.item_table(items.to_pandas(), known)
    texts = pl.col("brand", "category").replace("", None)
    expected = pl.from_pandas(table, nan_to_null=True).with_columns(texts).cast(ItemFeatures.create_empty().schema)
    assert_frame_equal(features.select(expected.columns).with_columns(texts), expected)
    scaled = oracle.scaled_numeric(table, known).to_numpy()
    np.testing.assert_allclose(as_matrix(features["numeric"]), scaled, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_the_item_table_and_the_numeric_block_equal_the_notebook(seed) -> None:
    items = random_items(seed)
    assert_equals_notebook(items, history_of(half_of(items, seed)))


def test_real_items_equal_the_notebook(real_items, real_interactions) -> None:
    items = complete_catalogue(deduplicate_items(real_items.lazy()), real_interactions.lazy())
    earlier = real_interactions.sort("event_time")[: real_interactions.height // 2]
    assert_equals_notebook(items, earlier.lazy())


def test_an_unknown_item_changes_the_features_of_no_other() -> None:
    items = random_items(1).with_columns(pages=pl.int_range(pl.len()))
    known = half_of(items, 1)
    unknown = ~pl.col("item_id").is_in(known)
    other = items.with_columns(
        pl.when(unknown).then(pl.lit(value)).otherwise(name).alias(name)
        for name, value in {"title": "keys of gold", "description": "set 9", "brand": "brand 1"}.items()
    ).with_columns(pl.when(unknown).then(1e9).otherwise(name).alias(name) for name in ("price", "pages"))
    before, after = (
        build_item_features(rows, history_of(known), item_features=["pages"]).filter(~unknown)
        for rows in (items, other.cast(items.schema))
    )
    assert_frame_equal(before, after, check_exact=True)


def test_an_item_with_the_text_of_a_known_one_gets_its_vector() -> None:
    items = random_items(2)
    known = pl.Series([True] * 100 + [False] * 20)
    twin = pl.concat([items[:100], items[80:100].with_columns(item_id="twin of " + pl.col("item_id"))])
    vectors = tfidf_vectors(twin, known)
    np.testing.assert_array_equal(vectors[100:], vectors[80:100])


def test_a_word_of_unknown_items_alone_is_worth_nothing() -> None:
    items = random_items(3, n=20).with_columns(title=pl.Series([*["red box", "red lid"] * 5, *["unheard"] * 10]))
    vectors = tfidf_vectors(items.with_columns(description=None), pl.Series([True] * 10 + [False] * 10))
    assert vectors[:10].any()
    assert not vectors[10:].any()


@pytest.mark.parametrize("text", [None, "", " ", "!!", "a 1 b"])
def test_items_without_a_word_are_zeros(text) -> None:
    items = random_items(4, n=5).with_columns(title=pl.lit(text), description=None)
    vectors = tfidf_vectors(items, pl.Series([True] * 5))
    np.testing.assert_array_equal(vectors, np.zeros((5, TEXT_DIMENSIONS), np.float32))


def test_without_known_items_the_text_is_zeros() -> None:
    features = build_item_features(random_items(5, n=4), history_of([]))
    assert not as_matrix(features["tfidf"]).any()


def test_dimensions_that_few_texts_cannot_fill_are_zeros() -> None:
    items = random_items(6, n=3).with_columns(title=pl.Series(["red box", "blue box", "red"]), description=None)
    vectors = tfidf_vectors(items, pl.Series([True] * 3))
    assert vectors.shape == (3, TEXT_DIMENSIONS)
    assert vectors[:, :2].any(axis=0).all()
    assert not vectors[:, 3:].any()


def test_known_texts_of_one_single_word_still_have_a_vector() -> None:
    items = random_items(6, n=3).with_columns(title=pl.lit("card"), description=None)
    vectors = tfidf_vectors(items, pl.Series([True] * 3))
    np.testing.assert_allclose(np.abs(vectors[:, 0]), 1)


@pytest.mark.filterwarnings("error")
def test_one_single_text_gives_no_warning() -> None:
    items = random_items(6, n=1).with_columns(title=pl.lit("red box"), description=None)
    assert tfidf_vectors(items, pl.Series([True])).any()


@pytest.mark.filterwarnings("error")
def test_texts_all_alike_give_no_warning() -> None:
    items = random_items(6, n=9).with_columns(title=pl.lit("red box"), description=None)
    vectors = tfidf_vectors(items, pl.Series([True] * 9), dimensions=2)
    np.testing.assert_array_equal(vectors, vectors[[0]].repeat(9, axis=0))


def test_without_text_there_is_no_text_block() -> None:
    items = random_items(7).with_columns(clip_text=pl.lit([1.0, 2.0], dtype=pl.Array(pl.Float32, 2)))
    history = history_of(half_of(items, 7))
    with_text, without_text = (build_item_features(items, history, text=text) for text in ("tfidf", "none"))
    assert vector_columns(with_text.schema) == ["tfidf", "clip_text", "numeric"]
    assert_frame_equal(without_text, with_text.drop("tfidf"))


def test_item_features_join_the_numeric_block_and_texts_stay_as_they_are() -> None:
    items = random_items(8).with_columns(pages=pl.int_range(pl.len()).cast(pl.Float64), color=pl.col("brand"))
    features = build_item_features(items, history_of(items["item_id"].to_list()), item_features=["pages", "color"])
    pages = as_matrix(features["numeric"])[:, -1]
    assert as_matrix(features["numeric"]).shape == (120, 7)
    np.testing.assert_allclose([pages.mean(), pages.std()], [0, 1], atol=1e-6)
    assert_frame_equal(features.select("color"), items.select("color"))


def test_a_missing_item_feature_counts_as_the_mean_of_the_known_ones() -> None:
    items = random_items(9, n=4).with_columns(pages=pl.Series([1.0, None, 3.0, None]))
    table = build_item_features(items, history_of(items["item_id"].to_list()), item_features=["pages"], text="none")
    np.testing.assert_allclose(as_matrix(table["numeric"])[:, -1], [-1, 0, 1, 0], atol=1e-6)


def test_a_number_that_is_the_same_everywhere_is_zero() -> None:
    table = build_item_features(random_items(10, n=4), history_of([]), text="none")
    same = table.with_columns(price=pl.lit(5.0), title_len=pl.lit(3, pl.Int32))
    vectors: Vectors = numeric_vectors(same, pl.Series([True] * 4))
    assert not vectors[:, [0, -1]].any()


FEATURES_DIGEST = """
import hashlib, random
import polars as pl
from recsys_polars.item_features import build_item_features
from recsys_polars.tables import Items
chance = random.Random(0)
words = [f"word{n}" for n in range(800)]
rows = [{"item_id": f"{n:04}", "title": " ".join(chance.choices(words, k=20)), "price": chance.random()}
        for n in range(800)]
features = build_item_features(pl.DataFrame(rows, schema=Items.create_empty().schema), pl.LazyFrame(rows))
print(hashlib.sha256(features.write_json().encode()).hexdigest())
"""


def test_one_thread_and_two_give_the_same_bytes() -> None:
    def digest(threads: str) -> str:
        limits = dict.fromkeys(("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
        command = [sys.executable, "-c", FEATURES_DIGEST]
        return subprocess.run(command, env=os.environ | limits, capture_output=True, text=True, check=True).stdout

    assert digest("1") == digest("2") != ""
