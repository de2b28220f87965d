"""Tables against what they ought to be."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from recsys_polars.auditing import changes, later_items_in_means, pairs_in_two_parts, rows_out_of_time

VECTOR = pl.Array(pl.Float32, 2)


def items(*rows, dtype=VECTOR) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"item_id": pl.String, "price": pl.Float64, "tfidf": dtype}, orient="row")


ONE = ("a", 2.5, [0.0, 1.0])
TWO = ("b", None, [0.5, 2.0])


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        ([TWO, ONE], []),
        ([ONE, ("b", 3.0, [0.5, 2.0])], ["items: price of item_id b: expected None, found 3.0"]),
        ([ONE, ("b", None, [0.5, 2.5])], ["items: tfidf_1 of item_id b: expected 2.0, found 2.5"]),
        ([ONE, ("b", None, [float("nan"), 2.0])], ["items: tfidf_0 of item_id b: expected 0.5, found nan"]),
        ([ONE], ["items: row of item_id b: expected a row, found none"]),
        ([ONE, TWO, ("c", 1.0, [0.0, 0.0])], ["items: row of item_id c: expected none, found a row"]),
        (
            [("a", 1.0, [0.0, 1.0]), ("b", 1.0, [0.5, 2.0])],
            ["items: price of item_id a: expected 2.5, found 1.0 (and 1 more)"],
        ),
    ],
)
def test_a_change_names_table_column_row_and_both_values(found, lines) -> None:
    assert changes("items", items(*found), items(ONE, TWO), key=["item_id"]) == lines


def test_a_column_of_another_type_is_a_change() -> None:
    wider = items(("a", 2.5, [0.0, 1.0, 2.0]), dtype=pl.Array(pl.Float32, 3))
    (line,) = changes("items", wider, items(ONE), key=["item_id"])
    assert line.startswith("items: tfidf: expected Array(Float32, shape=(2,)), found Array(Float32, shape=(3,))")
    (line,) = changes("items", items(ONE).drop("price"), items(ONE), key=["item_id"])
    assert line == "items: price: expected Float64, found no such column"


def test_vectors_may_differ_by_rounding_where_that_is_let_pass_and_numbers_may_not() -> None:
    near = items(("a", 2.5, [0.0001, 1.0001]))
    assert len(changes("items", near, items(ONE), key=["item_id"])) == 1
    assert changes("items", near, items(ONE), key=["item_id"], rounding=1e-3) == []
    assert len(changes("items", items(("a", 2.5001, [0.0, 1.0])), items(ONE), key=["item_id"], rounding=1e-3)) == 1


def parted(*rows) -> pl.LazyFrame:
    times = [(user, datetime(2024, 1, day, tzinfo=UTC), part) for user, day, part in rows]
    return pl.LazyFrame(times, schema=["user_id", "event_time", "part"], orient="row")


def test_a_row_before_a_cut_must_be_earlier_than_all_after_it() -> None:
    by_user = parted(("u", 1, "train"), ("u", 2, "valid"), ("u", 5, "test"), ("v", 3, "train"), ("v", 4, "test"))
    assert rows_out_of_time(by_user, by_user=True, ties=False) == []
    (line,) = rows_out_of_time(by_user, by_user=False, ties=False)
    assert line.startswith("interactions: event_time before the valid cut of user_id all: expected before 2024-01-02")


def test_rows_of_one_time_may_stand_on_both_sides_only_of_a_cut_by_place() -> None:
    rows = parted(("u", 1, "train"), ("u", 1, "valid"))
    assert rows_out_of_time(rows, by_user=True, ties=True) == []
    assert len(rows_out_of_time(rows, by_user=True, ties=False)) == 1


def test_a_pair_stands_in_one_part() -> None:
    rows = [("u", "a", "train"), ("u", "b", "test"), ("v", "a", "test")]
    labelled = pl.DataFrame(rows, schema=["user_id", "item_id", "part"], orient="row")
    assert pairs_in_two_parts(labelled) == []
    twice = labelled.vstack(labelled.head(1).with_columns(part=pl.lit("test")))
    assert pairs_in_two_parts(twice) == [
        "labelled: part of user_id u, item_id a: expected one part, found test and train"
    ]


class TestMeans:
    """Items a, b and c; user u liked a and b before the cut and meets c after it; v meets b after it alone."""

    item_ids = pl.Series("item_id", ["a", "b", "c"])
    vectors = np.array([[1, 0, 0, 2], [0, 1, 0, 4], [0, 0, 1, 8]], dtype=np.float32)
    later = pl.DataFrame({"user_id": ["u", "v"], "item_id": ["c", "b"]})

    def means(self, *rows) -> pl.DataFrame:
        table = [(user, "test", n, (weights @ self.vectors).tolist()) for user, n, weights in rows]
        schema = {"user_id": pl.String, "before": pl.String, "n_positives": pl.UInt32, "mean": pl.Array(pl.Float32, 4)}
        return pl.DataFrame(table, schema=schema, orient="row")

    def look(self, *rows) -> list[str]:
        expected = self.means(("u", 2, np.array([0.5, 0.5, 0])))
        return later_items_in_means("user_means", self.means(*rows), expected, self.later, self.item_ids, self.vectors)

    def test_a_mean_of_what_was_liked_before_the_cut_passes(self) -> None:
        assert self.look(("u", 2, np.array([0.5, 0.5, 0]))) == []

    def test_a_later_item_in_a_mean_is_named(self) -> None:
        (line,) = self.look(("u", 3, np.ones(3) / 3))
        assert line == (
            "user_means: mean before test of user_id u: expected the mean of 2 items, "
            "found that of 3, item_id c of a later part among them"
        )

    def test_so_is_one_that_is_not_counted(self) -> None:
        (line,) = self.look(("u", 2, np.ones(3) / 3))
        assert "item_id c of a later part" in line

    def test_a_user_without_a_history_has_no_mean(self) -> None:
        (line,) = self.look(("v", 1, np.array([0, 1, 0])))
        assert "user_id v: expected the mean of 0 items, found that of 1, item_id b of a later part" in line

    def test_a_mean_that_is_wrong_in_another_way_holds_nothing_later(self) -> None:
        assert self.look(("u", 2, np.array([0.9, 0.5, 0]))) == []
