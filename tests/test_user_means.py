import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from recsys_polars import user_means
from recsys_polars.catalogue import complete_catalogue, deduplicate_items
from recsys_polars.item_features import build_item_features
from recsys_polars.tables import UserMeans, Vectors, as_matrix, check
from recsys_polars.user_means import aggregate_user_means
from tests.oracles import notebook
from tests.oracles import user_means as oracle

ITEM_IDS = pl.Series("item_id", sorted(["a", "b", "c", "é", "中", "🙂"]))
TYPES = {"user_id": pl.String, "item_id": pl.String, "label": pl.Int8}
histories = st.dictionaries(
    st.tuples(st.sampled_from(["u", "v", "é", "w x"]), st.sampled_from(ITEM_IDS.to_list())), st.integers(0, 1)
).map(lambda labels: pl.DataFrame([(*pair, label) for pair, label in labels.items()], schema=TYPES, orient="row"))
item_vectors = hnp.arrays(np.float32, (len(ITEM_IDS), 3), elements=st.floats(-1, 1, width=32))


def assert_equals_oracle(history: pl.DataFrame, item_ids: pl.Series, vectors: Vectors) -> None:
    table, means = aggregate_user_means(history.lazy(), item_ids, vectors, before="valid")
    check(UserMeans, table, name="user_means")
    expected = oracle.user_means(history.filter(label=1).to_pandas(), pd.DataFrame(vectors, index=item_ids.to_list()))
    assert table["user_id"].to_list() == sorted(expected, key=str.encode)
    assert table["n_positives"].to_list() == [expected[user_id][1] for user_id in table["user_id"]]
    assert means.shape == (table.height, vectors.shape[1])
    for user_id, mean in zip(table["user_id"], means, strict=True):
        np.testing.assert_allclose(mean, expected[user_id][0], rtol=1e-6, atol=1e-6)


def test_a_mean_is_over_likes_alone_and_dislikes_alone_make_no_row() -> None:
    history = pl.DataFrame([("u", "a", 1), ("u", "b", 0), ("u", "c", 1), ("v", "a", 0)], schema=TYPES, orient="row")
    vectors = np.array([[1, 0], [9, 9], [0, 1]], np.float32)
    table, means = aggregate_user_means(history.lazy(), ITEM_IDS[:3], vectors, before="test")
    assert table.rows() == [("u", "test", 2)]
    assert means.tolist() == [[0.5, 0.5]]


@settings(deadline=None, max_examples=60)
@given(histories, item_vectors)
def test_means_equal_the_oracle(history, vectors) -> None:
    assert_equals_oracle(history, ITEM_IDS, vectors)


@settings(deadline=None, max_examples=60)
@given(histories, item_vectors, st.sampled_from([0, 1, 48, 100]))
def test_the_block_size_changes_no_byte(history, vectors, block_bytes) -> None:
    whole = aggregate_user_means(history.lazy(), ITEM_IDS, vectors, before="test")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(user_means, "_BLOCK_BYTES", block_bytes)
        blocks = aggregate_user_means(history.lazy(), ITEM_IDS, vectors, before="test")
    assert whole[0].equals(blocks[0])
    assert whole[1].tobytes() == blocks[1].tobytes()


@settings(deadline=None, max_examples=40)
@given(histories, item_vectors, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_no_byte(history, vectors, chance) -> None:
    places = chance.sample(range(history.height), history.height)
    ordered = aggregate_user_means(history.lazy(), ITEM_IDS, vectors, before="test")
    shuffled = aggregate_user_means(history[places].lazy(), ITEM_IDS, vectors, before="test")
    assert ordered[0].equals(shuffled[0])
    assert ordered[1].tobytes() == shuffled[1].tobytes()


def test_without_positives_there_are_no_means() -> None:
    table, means = aggregate_user_means(
        pl.LazyFrame(schema=TYPES), ITEM_IDS, np.ones((6, 3), np.float32), before="test"
    )
    assert table.is_empty()
    assert means.shape == (0, 3)


@pytest.fixture(scope="module")
def real_history(real_interactions) -> pl.DataFrame:
    """The latest row of each pair of two hundred users, labelled."""
    some_users = real_interactions["user_id"].unique().sort()[:200]
    rows = real_interactions.filter(pl.col("user_id").is_in(some_users.implode())).sort("event_time")
    pairs = rows.unique(["user_id", "item_id"], keep="last")
    return pairs.with_columns(label=(pl.col("rating") >= 4).cast(pl.Int8))


def test_real_means_equal_the_oracle_and_the_notebook(real_history, real_items) -> None:
    items = complete_catalogue(deduplicate_items(real_items.lazy()), real_history.lazy())
    features = build_item_features(items, real_history.lazy())
    vectors = np.hstack([as_matrix(features[block]) for block in ("tfidf", "numeric")])
    assert_equals_oracle(real_history, items["item_id"], vectors)
    table, means = aggregate_user_means(real_history.lazy(), items["item_id"], vectors, before="test")
    frame = pd.DataFrame(vectors.astype(np.float64), index=items["item_id"].to_list())
    expected = notebook.user_vectors(real_history.to_pandas(), frame)
    np.testing.assert_allclose(means, [expected[user_id] for user_id in table["user_id"]], rtol=1e-6, atol=1e-6)
