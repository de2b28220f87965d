import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from recsys_polars.labelling import label_interactions
from recsys_polars.tables import Interactions
from tests.oracles import time_split as oracle

ratings = st.lists(st.none() | st.sampled_from([0.5, 3.3, 3.5, 4.0, 5.0]) | st.floats(-10, 10, width=32), max_size=20)


def pairs_rated(*values: float | None) -> pl.LazyFrame:
    """One pair for each rating."""
    rows = pl.DataFrame({"rating": pl.Series(values, dtype=pl.Float32)}).with_row_index("item_id")
    rows = rows.with_columns(pl.col("item_id").cast(pl.String), user_id=pl.lit("u"), event_time=pl.datetime(2020, 1, 1))
    typed = rows.select(Interactions.column_names()).cast(Interactions.create_empty().schema)
    return typed.with_columns(part=pl.lit("train"), is_repeat=pl.lit(value=False)).lazy()


def labels_of(*values: float | None, min_rating: float = 4.0) -> list[int]:
    return label_interactions(pairs_rated(*values), min_rating=min_rating).collect().sort("item_id")["label"].to_list()


def test_rated_at_least_the_smallest_liked_rating_is_a_like() -> None:
    assert labels_of(3.5, 4.0, 4.5) == [0, 1, 1]


def test_a_missing_rating_is_implicit_feedback_and_a_like() -> None:
    assert labels_of(None, 0.5, min_rating=5) == [1, 0]


@pytest.mark.parametrize("min_rating", [3.3, 0.1, 4.7])
def test_a_rating_that_float32_rounds_is_still_at_least_itself(min_rating) -> None:
    assert labels_of(min_rating, min_rating=min_rating) == [1]


def test_labelling_adds_one_column_and_changes_no_other() -> None:
    pairs = pairs_rated(5, None, 1)
    labelled = label_interactions(pairs).collect()
    assert labelled.schema["label"] == pl.Int8
    assert_frame_equal(labelled.drop("label"), pairs.collect(), check_row_order=False, check_column_order=False)


def test_labelling_reads_nothing_until_it_is_collected() -> None:
    assert isinstance(label_interactions(pairs_rated(5)), pl.LazyFrame)


@settings(deadline=None)
@given(ratings, st.sampled_from([3.5, 4.0, 5.0]))
def test_labels_equal_the_oracle(values, min_rating) -> None:
    pairs = pairs_rated(*values)
    labelled = label_interactions(pairs, min_rating=min_rating).collect().sort(pl.col("item_id").cast(pl.Int64))
    expected = oracle.label(pairs.collect().to_pandas(), min_rating)["label"]
    assert labelled["label"].to_list() == expected.to_list()
