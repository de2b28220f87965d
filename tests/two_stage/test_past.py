"""What was known before a cut: rows, ages, counts, and what the catalogue tells at all times."""

import numpy as np
import polars as pl
import pytest

from recsys_polars.tables import Items
from recsys_polars.two_stage.past import catalogue_of, past_of
from tests.two_stage.histories import moments

SCHEMA = {name: column.dtype for name, column in Items.columns().items()}


def items_of(**columns) -> pl.DataFrame:
    n_items = len(next(iter(columns.values())))
    frame = pl.DataFrame({"item_id": [f"i{row}" for row in range(n_items)], **columns})
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in SCHEMA.items() if name not in frame.columns]
    return frame.with_columns(missing).select(*SCHEMA, pl.all().exclude(*SCHEMA)).cast(SCHEMA)


def catalogue(items: pl.DataFrame, users=("a", "b"), **features):
    return catalogue_of(items, pl.Series(users), **features)


def test_texts_join_what_is_there():
    items = items_of(title=["T", None, None], description=["D", "D", None], category=["C", None, None])
    assert catalogue(items).texts == ["T D C", "D", ""]


def test_items_without_a_value_are_a_group_and_columns_of_one_value_none():
    items = items_of(category=["x", None, "y", None], brand=["b", "b", "b", "b"], maker=["m", None, "m", "n"])
    groups = catalogue(items, item_features=["maker"]).groups
    assert {name: rows.tolist() for name, rows in groups.items()} == {
        "category": [1, 0, 2, 0],
        "given[maker]": [1, 0, 1, 2],
    }


def test_numbers_are_the_price_and_the_numeric_item_features():
    items = items_of(price=[1.5, None, 2.0], weight=[None, 7.0, -1.0], maker=["m", "n", None])
    numbers = catalogue(items, item_features=["weight", "maker"]).numbers
    assert list(numbers) == ["price", "given[weight]"]
    np.testing.assert_array_equal(numbers["price"], [1.5, np.nan, 2])
    np.testing.assert_array_equal(numbers["given[weight]"], [np.nan, 7, -1])


def test_vectors_have_length_1_and_missing_ones_0():
    clip = pl.Series([[3.0, 4.0], None, [0.0, 0.0], [0.0, -0.1]], dtype=pl.Array(pl.Float32, 2))
    vectors = catalogue(items_of(title=["a", "b", "c", "d"]).with_columns(clip=clip)).vectors
    np.testing.assert_allclose(vectors["vector[clip]"], [[0.6, 0.8], [0, 0], [0, 0], [0, -1]], rtol=1e-6)


@pytest.fixture
def past():
    history = pl.DataFrame(
        {
            "user_id": ["a", "b", "b", "a"],
            "item_id": ["i0", "i0", "i2", "i3"],
            "event_time": moments([10, 4, 0, 8]),
            "label": [1, 1, 0, 1],
        }
    )
    events = pl.DataFrame({"item_id": ["i0", "i2", "i0", "i3", "i0"], "event_time": moments([10, 0, 4, 8, 5])})
    return past_of(catalogue(items_of(title=["p", "q", "r", "s"]), users=["a", "b", "c"]), history, events)


def test_likes_and_their_ages_count_from_the_last_known_event(past):
    assert past.likes.toarray().tolist() == [[1, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(past.like_ages.toarray(), [[0, 0, 0, 0.2], [0.6, 0, 0, 0], [0, 0, 0, 0]])
    assert (past.like_ages.indices == past.likes.indices).all()
    assert (past.like_ages.indptr == past.likes.indptr).all()


def test_events_count_with_repeats_and_users_without(past):
    assert (past.n_users > 0).tolist() == [True, False, True, True]
    assert past.n_events.tolist() == [3, 0, 1, 1]
    assert past.n_users.tolist() == [2, 0, 1, 1]
    np.testing.assert_allclose(past.first_ages, [0.6, np.nan, 1, 0.2])
    np.testing.assert_allclose(past.last_ages, [0, np.nan, 1, 0.2])


def test_the_order_of_rows_changes_nothing(past):
    history = pl.DataFrame(
        {
            "user_id": ["a", "b", "a", "b"],
            "item_id": ["i3", "i2", "i0", "i0"],
            "event_time": moments([8, 0, 10, 4]),
            "label": [1, 0, 1, 1],
        }
    )
    events = pl.DataFrame({"item_id": ["i0", "i0", "i3", "i0", "i2"], "event_time": moments([4, 10, 8, 5, 0])})
    other = past_of(past.catalogue, history, events)
    assert (other.like_ages != past.like_ages).nnz == 0
    np.testing.assert_array_equal(other.first_ages, past.first_ages)
    np.testing.assert_array_equal(other.n_events, past.n_events)


def test_one_moment_is_no_time_at_all():
    history = pl.DataFrame({"user_id": ["a"], "item_id": ["i0"], "event_time": moments([3]), "label": [1]})
    past = past_of(catalogue(items_of(title=["p"])), history, history.select("item_id", "event_time"))
    assert past.like_ages.data.tolist() == [0]
    assert past.last_ages.tolist() == [0]
