from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from recsys_polars.errors import InputError
from recsys_polars.item_features import build_item_features
from recsys_polars.knowledge import (
    NOBODY,
    categorical_inputs,
    known_before,
    numeric_inputs,
    user_vectors,
    vector_columns_of,
)
from recsys_polars.store import build_store, open_store
from recsys_polars.tables import ItemFeatures, Items, Labelled, Repeats, UserMeans, as_matrix, vector_columns
from recsys_polars.user_means import aggregate_user_means
from tests.oracles import user_means as oracle

N_USERS, N_ITEMS = 5, 7
TYPED = Labelled.create_empty().schema
pairs = st.dictionaries(
    st.tuples(st.integers(0, N_USERS - 1), st.integers(0, N_ITEMS - 1)), st.integers(0, 1), min_size=1, max_size=25
).map(lambda labels: [(*pair, label) for pair, label in labels.items()])


def vectors_of(seed: int, n_items: int = N_ITEMS) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (n_items, 3)).astype(np.float32)


def positives_of(known) -> pd.DataFrame:
    liked = known.labels == 1
    return pd.DataFrame({"user_id": known.user_rows[liked], "item_id": known.item_rows[liked]})


liking = pairs.filter(lambda rows: any(label for *_, label in rows))


@settings(deadline=None)
@given(liking, st.integers(0, 99))
def test_a_vector_without_a_positive_equals_the_oracle(make_knowledge, rows, seed) -> None:
    known = make_knowledge(rows, vectors_of(seed), n_users=N_USERS)
    positives, item_vectors = positives_of(known), pd.DataFrame(known.item_vectors)
    users, items = positives["user_id"].to_numpy(), positives["item_id"].to_numpy()
    vectors, counts = user_vectors(known, users, without=items)
    expected = [oracle.leave_one_out_mean(positives, item_vectors, *pair) for pair in zip(users, items, strict=True)]
    assert counts.tolist() == [count for _, count in expected]
    for vector, (mean, _) in zip(vectors, expected, strict=True):
        np.testing.assert_allclose(vector, mean, rtol=1e-6, atol=1e-6)


@settings(deadline=None)
@given(liking, st.integers(0, 99))
def test_a_vector_with_nothing_left_out_is_the_mean(make_knowledge, rows, seed) -> None:
    known = make_knowledge(rows, vectors_of(seed), n_users=N_USERS)
    users = np.arange(N_USERS)
    means = oracle.user_means(positives_of(known), pd.DataFrame(known.item_vectors))
    for without in (None, np.full(N_USERS, NOBODY)):
        vectors, counts = user_vectors(known, users, without=without)
        for user in users:
            mean, count = means.get(user, (np.zeros(3), 0))
            assert counts[user] == count
            np.testing.assert_allclose(vectors[user], mean, rtol=1e-6, atol=1e-6)


def test_without_their_only_positive_a_user_has_zeros_and_count_0(make_knowledge) -> None:
    known = make_knowledge([(0, 2, 1), (0, 3, 0)], vectors_of(0), n_users=1)
    vectors, counts = user_vectors(known, np.array([0]), without=np.array([2]))
    assert (vectors.tolist(), counts.tolist()) == ([[0, 0, 0]], [0])


def test_where_nobody_likes_anything_all_have_zeros_as_wide_as_an_item(make_knowledge) -> None:
    known = make_knowledge([(0, 2, 0)], vectors_of(0), n_users=2)
    vectors, _ = user_vectors(known, np.array([0, 1]))
    assert vectors.shape == (2, 3)


def test_leaving_out_changes_neither_the_means_nor_the_counts_that_are_known(make_knowledge) -> None:
    known = make_knowledge([(0, 1, 1), (0, 2, 1)], vectors_of(0), n_users=1)
    means, counts = known.means.copy(), known.n_positives.copy()
    user_vectors(known, np.array([0, 0]), without=np.array([1, 2]))
    np.testing.assert_array_equal(known.means, means)
    np.testing.assert_array_equal(known.n_positives, counts)


def test_among_many_positives_the_one_left_out_is_still_out(make_knowledge) -> None:
    known = make_knowledge([(0, item, 1) for item in range(5_000)], vectors_of(0, 5_000), n_users=1)
    vectors, counts = user_vectors(known, np.array([0]), without=np.array([0]))
    assert counts.tolist() == [4_999]
    np.testing.assert_allclose(vectors[0], known.item_vectors[1:].mean(axis=0, dtype=np.float64), atol=1e-6)


@settings(deadline=None)
@given(pairs, st.lists(st.integers(NOBODY, N_USERS - 1), max_size=6))
def test_seen_items_are_all_of_the_history_liked_or_not(make_knowledge, rows, users) -> None:
    known = make_knowledge(rows, vectors_of(0), n_users=N_USERS)
    offsets, items = known.seen(np.array(users, dtype=np.int64))
    found = [sorted(items[start:stop]) for start, stop in pairwise(offsets)]
    assert found == [sorted(item for owner, item, _ in rows if owner == user) for user in users]


@settings(deadline=None)
@given(pairs)
def test_item_counts_are_those_of_positives(make_knowledge, rows) -> None:
    known = make_knowledge(rows, vectors_of(0), n_users=N_USERS)
    liked = [item for _, item, label in rows if label]
    assert known.item_counts.tolist() == [liked.count(item) for item in range(N_ITEMS)]


timed_pairs = st.dictionaries(
    st.tuples(st.integers(0, N_USERS - 1), st.integers(0, N_ITEMS - 1)),
    st.tuples(st.integers(0, 1), st.integers(0, 4)),
    max_size=25,
).map(lambda labels: [(*pair, *label) for pair, label in labels.items()])


@settings(deadline=None)
@given(timed_pairs)
def test_popularity_at_a_time_counts_the_likes_strictly_before_it(make_knowledge, rows) -> None:
    known = make_knowledge(rows, vectors_of(0), n_users=N_USERS)
    items, times = np.tile(np.arange(N_ITEMS), len(rows)), np.repeat(known.times, N_ITEMS)
    found = known.popularity(items, times)
    assert found.shape == (len(items), 1)
    for value, item, time in zip(found[:, 0], items, times, strict=True):
        before = [other for _, other, label, when in rows if label and when < time]
        expected = np.log(N_ITEMS * (before.count(item) + 1) / (len(before) + N_ITEMS))
        assert value == pytest.approx(expected, abs=1e-6)


@settings(deadline=None)
@given(timed_pairs)
def test_popularity_without_a_time_is_that_after_all_of_them(make_knowledge, rows) -> None:
    known = make_knowledge(rows, vectors_of(0), n_users=N_USERS)
    items = np.arange(N_ITEMS)
    after_all = np.full(N_ITEMS, known.times.max(initial=-1) + 1)
    np.testing.assert_array_equal(known.popularity(items), known.popularity(items, after_all))


def test_ids_that_the_store_does_not_know_are_nobody(make_knowledge) -> None:
    known = make_knowledge([(0, 0, 1)], vectors_of(0), n_users=3)
    ids = pl.Series(["u000002", "zz", "", "u000000", "u0000005"])
    assert known.rows_of_users(ids).tolist() == [2, NOBODY, NOBODY, 0, NOBODY]
    assert known.rows_of_users(ids[:0]).tolist() == []


DAY_0 = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def small_store(tmp_path: Path):
    """Two users with an emoji item, a repeat and a test part; built by the steps that build a real store."""
    rows = [("v", "é", 5.0, 1, "train"), ("u", "b", 2.0, 0, "train"), ("u", "é", 4.0, 1, "valid")]
    rows += [("w", "b", 5.0, 1, "test")]
    times = [DAY_0 + timedelta(days=day) for day in range(len(rows))]
    timed = [(*row[:3], time, *row[3:]) for row, time in zip(rows, times, strict=True)]
    labelled = pl.DataFrame(timed, schema=TYPED, orient="row").sort("user_id", "item_id")
    repeats = pl.DataFrame([("x", "b", 5.0, DAY_0, 1, "test")], schema=TYPED, orient="row")
    items = pl.DataFrame(
        [("b", "box lid 7", 1.5), ("é", "red box", None), ("🙂", "red", 0.0)],
        schema=["item_id", "title", "price"],
        orient="row",
    )
    items = pl.concat([Items.create_empty(), items], how="diagonal").with_columns(
        pages=pl.Series([1, None, 3]), color=pl.Series(["red", None, "blue"])
    )
    with build_store(tmp_path / "store") as writer:
        writer.write("labelled", labelled, Labelled)
        writer.write("repeats", repeats, Repeats)
        writer.write("filtered", labelled.clear(), Labelled)
        columns, tensors = [], {}
        for before, parts in (("valid", ["train"]), ("test", ["train", "valid"])):
            history = labelled.filter(pl.col("part").is_in(parts)).lazy()
            features = build_item_features(items, history, item_features=["pages", "color"])
            table = "item_features" if before == "test" else "item_features_valid"
            blocks = vector_columns(features.schema)
            writer.write(table, features, ItemFeatures)
            writer.write_tensors(table, {block: as_matrix(features[block]) for block in blocks})
            vectors = np.hstack([as_matrix(features[block]) for block in blocks])
            counts, tensors[before] = aggregate_user_means(history, items["item_id"], vectors, before=before)
            columns.append(counts)
        writer.write("user_means", pl.concat(columns), UserMeans)
        writer.write_tensors("user_means", tensors)
        writer.stage.facts["blocks"] = ["tfidf", "numeric"]
    return open_store(tmp_path / "store")


def known_of(store, *, before: str):
    parts = ["train"] if before == "valid" else ["train", "valid"]
    return known_before(store, store.scan("labelled").filter(pl.col("part").is_in(parts)), before=before)


def test_rows_are_places_in_the_sorted_ids_of_the_whole_store(small_store) -> None:
    known = known_of(small_store, before="valid")
    assert known.user_ids.to_list() == ["u", "v", "w", "x"]
    assert known.item_ids.to_list() == ["b", "é", "🙂"]
    assert (known.n_users, known.n_items) == (4, 3)


def test_each_cut_has_the_pairs_before_it(small_store) -> None:
    valid, test = (known_of(small_store, before=before) for before in ("valid", "test"))
    assert list(zip(valid.user_rows, valid.item_rows, valid.labels, strict=True)) == [(0, 0, 0), (1, 1, 1)]
    assert list(zip(test.user_rows, test.item_rows, test.labels, strict=True)) == [(0, 0, 0), (0, 1, 1), (1, 1, 1)]
    assert (valid.offsets.tolist(), test.offsets.tolist()) == ([0, 1, 2, 2, 2], [0, 2, 3, 3, 3])
    assert (valid.n_positives.tolist(), test.n_positives.tolist()) == ([0, 1, 0, 0], [1, 1, 0, 0])


@pytest.mark.parametrize("before", ["valid", "test"])
def test_a_user_with_one_positive_has_its_vector(small_store, before) -> None:
    known = known_of(small_store, before=before)
    vectors, counts = user_vectors(known, np.array([0, 1, 2]))
    np.testing.assert_array_equal(vectors[1], known.item_vectors[1])
    assert counts[1] == 1
    assert not vectors[2].any()


def test_what_trees_see_is_blocks_then_numbers_then_the_price(small_store) -> None:
    known = known_of(small_store, before="test")
    numbers, names = numeric_inputs(known, ["numeric"])
    assert names[:7] == [f"numeric_{place}" for place in range(7)]
    assert names[-2:] == ["pages", "price"]
    np.testing.assert_array_equal(numbers[:, -2:], [[1, 1.5], [np.nan, np.nan], [3, 0]])
    assert categorical_inputs(known) == (
        [["", "", ""], ["", "", ""], ["red", "", "blue"]],
        ["brand", "category", "color"],
    )


def test_blocks_come_in_the_order_asked_for(small_store) -> None:
    known = known_of(small_store, before="test")
    assert vector_columns_of(known, ["numeric", "tfidf"]).tolist() == [*range(100, 107), *range(100)]
    assert vector_columns_of(known, []).tolist() == []


def test_a_block_that_the_store_lacks_is_named_with_those_it_has(small_store) -> None:
    known = known_of(small_store, before="test")
    with pytest.raises(InputError, match=r"^vector blocks: expected clip_img, found tfidf, numeric$"):
        vector_columns_of(known, ["tfidf", "clip_img"])


def test_the_item_table_has_no_vectors(small_store) -> None:
    table = known_of(small_store, before="test").item_table
    assert vector_columns(table.schema) == []
    assert_frame_equal(table, small_store.scan("item_features").select(table.columns).collect())
