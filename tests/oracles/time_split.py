"""The cut by time, from the definitions alone: plain pandas, slow on purpose."""

import math
from collections.abc import Callable
from typing import Literal

import pandas as pd

Split = Literal["global-time", "user-time", "last-n"]
COLUMNS = ["user_id", "item_id", "rating", "event_time"]
PAIR = ["user_id", "item_id"]


def split(
    interactions: pd.DataFrame,
    *,
    split: Split,
    test_fraction: float = 0.1,
    test_n: int = 1,
    valid_fraction: float = 0.1,
    min_rating: float | None = 4.0,
) -> dict[str, pd.DataFrame]:
    """Cut the test part off the interactions, then the valid part off what comes before it.

    Every table has one row per pair, sorted by it, and the columns user_id, item_id, rating, event_time, label:
        train: pairs before the valid cut, each in its latest row there.
        valid: pairs between the cuts that are not in train. repeats_valid: those that are.
        history: pairs before the test cut, each in its latest row there.
        test: pairs at or after the test cut that are not in history. repeats_test: those that are.
    A valid_fraction of 0 means no valid part, whatever the split: train is then history.
    """
    rows = interactions[COLUMNS].reset_index(drop=True)
    before_test, after_test = cut_in_two(rows, split=split, fraction=test_fraction, n=test_n)
    if valid_fraction == 0:
        before_valid, after_valid = before_test, before_test.iloc[:0]
    else:
        before_valid, after_valid = cut_in_two(before_test, split=split, fraction=valid_fraction, n=test_n)
    tables = {
        "train": before_valid,
        "valid": pairs_not_in(after_valid, before_valid),
        "test": pairs_not_in(after_test, before_test),
        "history": before_test,
        "repeats_valid": pairs_in(after_valid, before_valid),
        "repeats_test": pairs_in(after_test, before_test),
    }
    return {name: label(latest_of_each_pair(table), min_rating) for name, table in tables.items()}


def cut_in_two(rows: pd.DataFrame, *, split: Split, fraction: float, n: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows before the cut, and the rows at or after it; every row is in exactly one of them."""
    if split == "global-time":
        after = at_or_after_quantile(rows, fraction)
    elif split == "user-time":
        after = user_by_user(rows, lambda own_rows: at_or_after_quantile(own_rows, fraction))
    elif split == "last-n":
        after = user_by_user(rows, lambda own_rows: among_last_n_pairs(own_rows, n))
    else:
        raise ValueError(f"split: expected global-time, user-time or last-n, found {split!r}")
    return rows[~after], rows[after]


def user_by_user(rows: pd.DataFrame, is_after: Callable[[pd.DataFrame], pd.Series]) -> pd.Series:
    """`is_after` of each user's own rows, in the order of `rows`."""
    answers = pd.Series(False, index=rows.index)
    for _, own_rows in rows.groupby("user_id"):
        answers.loc[own_rows.index] = is_after(own_rows)
    return answers


def at_or_after_quantile(rows: pd.DataFrame, fraction: float) -> pd.Series:
    """Whether event_time >= the "lower" (1 - fraction) quantile of the rows' times: a row at the cut is after."""
    if rows.empty:
        return pd.Series(False, index=rows.index)
    times = sorted(rows["event_time"])
    cut = times[math.floor((len(times) - 1) * (1 - fraction))]
    return rows["event_time"] >= cut


def among_last_n_pairs(own_rows: pd.DataFrame, n: int) -> pd.Series:
    """Whether a row of one user lies at or after the position of the latest row of their n-th latest pair.

    Pairs go by their latest event_time, latest first, ties by item_id ascending. Rows go by event_time, then by item_id
    descending. With fewer than n pairs the last one counts; a repeat can still lie before its position.
    """
    latest = latest_of_each_pair(own_rows)  # by item_id ascending, which a stable sort keeps among equal times
    pairs = latest.sort_values("event_time", ascending=False, kind="stable")
    nth = pairs.iloc[min(n, len(pairs)) - 1]
    later = own_rows["event_time"] > nth["event_time"]
    same_time = own_rows["event_time"] == nth["event_time"]
    return later | (same_time & (own_rows["item_id"] <= nth["item_id"]))


def latest_of_each_pair(rows: pd.DataFrame) -> pd.DataFrame:
    """The latest row of each (user_id, item_id), sorted by it; at equal times the higher rating, a null rating last."""
    ascending = rows.sort_values(["event_time", "rating"], na_position="first", kind="stable")
    latest = ascending.drop_duplicates(PAIR, keep="last")
    return latest.sort_values(PAIR).reset_index(drop=True)


def pairs_in(rows: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """The rows whose (user_id, item_id) is also in `others`."""
    return rows[is_pair_in(rows, others)]


def pairs_not_in(rows: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """The rows whose (user_id, item_id) is not in `others`."""
    return rows[~is_pair_in(rows, others)]


def is_pair_in(rows: pd.DataFrame, others: pd.DataFrame) -> pd.Series:
    """Whether each row's (user_id, item_id) is also in `others`."""
    known = set(zip(others["user_id"], others["item_id"], strict=True))
    pairs = zip(rows["user_id"], rows["item_id"], strict=True)
    return pd.Series([pair in known for pair in pairs], index=rows.index, dtype=bool)


def label(rows: pd.DataFrame, min_rating: float | None) -> pd.DataFrame:
    """The rows with label 1 (no rating, or rated at least min_rating, or min_rating is None: all implicit) or 0."""
    liked = rows["rating"].isna()
    liked |= True if min_rating is None else rows["rating"] >= min_rating
    return rows.assign(label=liked.astype("int8"))
