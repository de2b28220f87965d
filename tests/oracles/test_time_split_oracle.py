"""The oracle of the cut, held against tables worked out by hand."""

import pandas as pd
import pytest

from tests.oracles.time_split import split

DAY_0 = pd.Timestamp("2020-01-01", tz="UTC")


def interactions(*rows: tuple[str, str, float | None, int]) -> pd.DataFrame:
    """Rows of (user_id, item_id, rating, day)."""
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "rating", "day"])
    frame["rating"] = frame["rating"].astype("float64")
    frame["event_time"] = DAY_0 + pd.to_timedelta(frame.pop("day"), unit="D")
    return frame


def short(tables: dict[str, pd.DataFrame]) -> dict[str, str]:
    """Each table as `user item day label` words, so that an expectation is read at a glance."""
    return {name: ", ".join(short_row(*row) for row in rows_of(table)) for name, table in tables.items()}


def rows_of(table: pd.DataFrame) -> list[tuple[str, str, pd.Timestamp, int]]:
    """The columns that an expectation shows, row by row."""
    return list(table[["user_id", "item_id", "event_time", "label"]].itertuples(index=False, name=None))


def short_row(user_id: str, item_id: str, event_time: pd.Timestamp, label: int) -> str:
    """`u a 3 1`: user u, item a, day 3, label 1."""
    return f"{user_id} {item_id} {(event_time - DAY_0).days} {label}"


def test_a_late_dislike_between_the_cuts_changes_history_but_not_train() -> None:
    rows = interactions(("u", "a", 5, 0), ("u", "b", 4, 1), ("u", "a", 1, 2), ("v", "c", 5, 3), ("v", "d", 2, 4))
    # test: index floor(4 * 0.75) = 3, day 3. valid: of days 0, 1, 2 index floor(2 * 0.5) = 1, day 1.
    tables = split(rows, split="global-time", test_fraction=0.25, valid_fraction=0.5, min_rating=4)
    assert short(tables) == {
        "train": "u a 0 1",
        "valid": "u b 1 1",
        "repeats_valid": "u a 2 0",
        "history": "u a 2 0, u b 1 1",
        "test": "v c 3 1, v d 4 0",
        "repeats_test": "",
    }


def test_a_repeat_after_the_test_cut_is_no_test_row_and_leaves_history_alone() -> None:
    rows = interactions(("u", "a", 5, 0), ("u", "b", 5, 1), ("u", "a", 1, 2), ("u", "a", 2, 3), ("u", "c", 5, 4))
    # test: index floor(4 * 0.5) = 2, day 2. valid: of days 0, 1 index floor(1 * 0.5) = 0, day 0: train is empty.
    tables = split(rows, split="user-time", test_fraction=0.5, valid_fraction=0.5, min_rating=4)
    assert short(tables) == {
        "train": "",
        "valid": "u a 0 1, u b 1 1",
        "repeats_valid": "",
        "history": "u a 0 1, u b 1 1",
        "test": "u c 4 1",
        "repeats_test": "u a 3 0",
    }


def test_rows_at_the_cut_are_after_it() -> None:
    rows = interactions(("u", "a", 5, 0), ("v", "b", 5, 1), ("u", "c", 5, 1), ("v", "d", 5, 1), ("v", "e", 5, 2))
    # test: index floor(4 * 0.5) = 2 is the second of three rows on day 1, and all three are after.
    tables = split(rows, split="global-time", test_fraction=0.5, valid_fraction=0, min_rating=4)
    assert short(tables)["history"] == short(tables)["train"] == "u a 0 1"
    assert short(tables)["test"] == "u c 1 1, v b 1 1, v d 1 1, v e 2 1"


@pytest.mark.parametrize("kind", ["global-time", "user-time", "last-n"])
def test_one_user_with_one_row_has_it_in_test(kind: str) -> None:
    tables = split(interactions(("u", "a", 5, 0)), split=kind, min_rating=4)
    assert short(tables) == {
        "train": "",
        "valid": "",
        "repeats_valid": "",
        "history": "",
        "test": "u a 0 1",
        "repeats_test": "",
    }


def test_each_user_has_a_cut_of_their_own() -> None:
    rows = interactions(("u", "a", 5, 0), ("u", "b", 5, 1), ("v", "c", 5, 8), ("v", "d", 5, 9), ("w", "e", 5, 4))
    # fraction 0.4: two rows, index floor(1 * 0.6) = 0, so the first row is the cut and all is after it.
    assert short(split(rows, split="user-time", test_fraction=0.4))["history"] == ""
    rows = interactions(("u", "a", 5, 0), ("u", "b", 5, 1), ("u", "c", 5, 2), ("v", "d", 5, 8), ("w", "e", 5, 4))
    # u: index floor(2 * 0.6) = 1, day 1. valid: of day 0 alone, index 0. v and w have nothing left to cut.
    tables = split(rows, split="user-time", test_fraction=0.4, valid_fraction=0.4)
    assert short(tables)["test"] == "u b 1 1, u c 2 1, v d 8 1, w e 4 1"
    assert short(tables)["valid"] == short(tables)["history"] == "u a 0 1"


def test_the_index_is_computed_in_python_floats() -> None:
    rows = interactions(*[("u", f"i{day:02}", 5, day) for day in range(11)])
    # 10 * (1 - 0.9) is 0.9999999999999998 in floats, so the index is 0, not 1.
    assert len(split(rows, split="global-time", test_fraction=0.9)["test"]) == 11
    assert len(split(rows, split="global-time", test_fraction=0.1)["test"]) == 2


def test_last_n_breaks_ties_by_item_id_and_takes_the_same_n_for_valid() -> None:
    rows = interactions(("u", "d", 5, 1), ("u", "b", 5, 1), ("u", "a", 5, 0), ("u", "c", 1, 1))
    # pairs, latest first: b, c, d, a.
    tables = split(rows, split="last-n", test_n=1, min_rating=4)
    assert short(tables) == {
        "train": "u a 0 1, u d 1 1",
        "valid": "u c 1 0",
        "repeats_valid": "",
        "history": "u a 0 1, u c 1 0, u d 1 1",
        "test": "u b 1 1",
        "repeats_test": "",
    }


def test_last_n_counts_a_repeated_pair_among_the_n() -> None:
    rows = interactions(("u", "a", 5, 0), ("u", "b", 5, 1), ("u", "c", 5, 2), ("u", "a", 1, 3))
    # pairs, latest first: a (day 3), c, b. The two last pairs are a, which the user had before, and c.
    tables = split(rows, split="last-n", test_n=2, valid_fraction=0, min_rating=4)
    assert short(tables) == {
        "train": "u a 0 1, u b 1 1",
        "valid": "",
        "repeats_valid": "",
        "history": "u a 0 1, u b 1 1",
        "test": "u c 2 1",
        "repeats_test": "u a 3 0",
    }


def test_last_n_of_a_user_with_fewer_pairs_cuts_at_the_last_one() -> None:
    rows = interactions(("u", "a", 5, 0), ("u", "b", 5, 1), ("u", "a", 5, 2))
    # two pairs, five asked for: the cut is b's row, and a's earlier row still lies before it.
    tables = split(rows, split="last-n", test_n=5, valid_fraction=0)
    assert short(tables)["history"] == "u a 0 1"
    assert short(tables)["test"] == "u b 1 1"
    assert short(tables)["repeats_test"] == "u a 2 1"


def test_at_equal_times_the_higher_rating_wins_and_a_null_loses() -> None:
    rows = interactions(("u", "a", 2, 0), ("u", "a", 3, 0), ("u", "a", None, 0), ("v", "z", 5, 1))
    # index floor(3 * 0.9) = 2, day 0: all rows are after the cut.
    test = split(rows, split="global-time", test_fraction=0.1, valid_fraction=0)["test"]
    assert test["rating"].tolist() == [3.0, 5.0]


def test_without_a_rating_the_label_is_one() -> None:
    rows = interactions(("u", "a", None, 0), ("u", "b", 1, 0))
    assert split(rows, split="global-time", min_rating=4)["test"]["label"].tolist() == [1, 0]
    assert split(rows, split="global-time", min_rating=None)["test"]["label"].tolist() == [1, 1]
