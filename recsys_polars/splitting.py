"""The cuts in time, before everything else, and the history of a user as of each cut."""

from datetime import datetime
from typing import Literal

import polars as pl

from recsys_polars.dense_ids import by_pair
from recsys_polars.relational import params, run_sql
from recsys_polars.tables import CUTS, PARTS

Split = Literal["global-time", "user-time", "last-n"]
SPLITS: tuple[Split, ...] = ("global-time", "user-time", "last-n")
_COARSE = "1h"


def assign_parts(
    interactions: pl.LazyFrame,
    *,
    split: Split = "global-time",
    test_fraction: float = 0.1,
    test_n: int = 1,
    valid_fraction: float = 0.1,
) -> pl.LazyFrame:
    """Give each interaction its part: `train` before the valid cut, `valid` between the cuts, `test` after the other.

    Args:
        interactions: `Interactions`, in any order, repeats of a pair included.
        split: `global-time` cuts at one quantile of all times, `user-time` at each user's own, `last-n` before each
            user's n latest pairs. The valid cut is the same cut again on what lies before the test cut.
        test_fraction: share of the rows at or after the test cut; 0 means no test part. Not used by `last-n`.
        test_n: pairs of each user after a cut of `last-n`.
        valid_fraction: share, of the rows before the test cut, at or after the valid cut; 0 means no valid part.

    Returns:
        One row per input row: `Interactions` and `part`. The part of a row doesn't depend on rows after its cut.
    """
    if split == "global-time":
        cuts = global_cuts(interactions.select("event_time"), test_fraction, valid_fraction)
        return parts_by_time(interactions, cuts)
    # last-n has no fraction; of the valid cut a fraction of 0 still means none.
    after_test = _cut(interactions, split=split, fraction=1 if split == "last-n" else test_fraction, n=test_n)
    before_test = after_test.filter(~pl.col("is_after")).drop("is_after")
    after_valid = _cut(before_test, split=split, fraction=valid_fraction, n=test_n)
    return run_sql("name_parts", after_test=after_test, after_valid=after_valid)


def global_cuts(
    times: pl.LazyFrame, test_fraction: float, valid_fraction: float
) -> tuple[datetime | None, datetime | None]:
    """Return the times of the valid and of the test cut for all users; None for a part that there is not.

    Args:
        times: the event_time of every interaction.
        test_fraction: see `assign_parts`.
        valid_fraction: see `assign_parts`.
    """
    test_cut = _quantile(times, 1 - test_fraction) if test_fraction else None
    before_test = times if test_cut is None else times.filter(pl.col("event_time") < test_cut)
    return (_quantile(before_test, 1 - valid_fraction) if valid_fraction else None), test_cut


def _quantile(times: pl.LazyFrame, keep: float) -> datetime | None:
    """The cut, found in two looks that count few different times: at the hour, then within it.

    Rounding down keeps the order, so the hour of the cut is the cut of the hours.
    """
    hour, time = pl.col("event_time").dt.truncate(_COARSE), pl.col("event_time")
    found = _cut_time(times.select(event_time=hour), keep)
    return found and _cut_time(times.select(event_time=pl.when(hour == found).then(time).otherwise(hour)), keep)


def _cut_time(times: pl.LazyFrame, keep: float) -> datetime | None:
    counts = times.group_by("event_time").agg(n_rows=pl.len().cast(pl.Int64))
    cut: datetime | None = run_sql("global_cut", times=counts, params=params(keep=keep)).collect().item()
    return cut


def parts_by_time(interactions: pl.LazyFrame, cuts: tuple[datetime | None, datetime | None]) -> pl.LazyFrame:
    """Give each interaction its part by the cuts of `global_cuts`."""
    valid_cut, test_cut = cuts
    after_test = _cut_at(interactions, test_cut)
    after_valid = _cut_at(after_test.filter(~pl.col("is_after")).drop("is_after"), valid_cut)
    return run_sql("name_parts", after_test=after_test, after_valid=after_valid)


def _cut_at(interactions: pl.LazyFrame, cut: datetime | None) -> pl.LazyFrame:
    if cut is None:
        return interactions.with_columns(is_after=pl.lit(value=False))
    at = pl.Series([cut], dtype=interactions.collect_schema()["event_time"])
    return run_sql("cut_at_time", interactions=interactions, params=params(cut_time=at))


def _cut(interactions: pl.LazyFrame, *, split: Split, fraction: float, n: int) -> pl.LazyFrame:
    if fraction == 0:
        return _cut_at(interactions, None)
    if split == "last-n":
        return run_sql("cut_last_n", interactions=interactions, params=params(n=n))
    return run_sql("cut_user_time", interactions=interactions, params=params(keep=1 - fraction))


def deduplicate_interactions(parted: pl.DataFrame) -> pl.DataFrame:
    """Keep the latest row of each (user_id, item_id, part) and mark repeats.

    Args:
        parted: `Interactions` and `part`.

    Returns:
        One row per (user_id, item_id, part), and `is_repeat`: the user had the pair already in an earlier part. Of rows
        of equal time the higher rating wins, a missing one last. In no promised order.
    """
    rows = by_pair(parted)
    same = pl.all_horizontal(pl.col("user_id", "item_id") == pl.col("user_id", "item_id").shift())
    has_pair_before = rows.select(same.fill_null(value=False)).to_series()
    is_repeated = has_pair_before | has_pair_before.shift(-1, fill_value=False)
    # Most pairs stand once and have nothing to be compared with; the statement would sort them all the same.
    part_order = pl.LazyFrame({"part": PARTS, "place": range(len(PARTS))})
    chosen = run_sql("deduplicate_interactions", parted=rows.lazy().filter(is_repeated), part_order=part_order)
    lone = rows.filter(~is_repeated).with_columns(is_repeat=pl.lit(value=False))
    return pl.concat([lone, chosen.collect().select(lone.columns)])


def history(labelled: pl.LazyFrame, repeats: pl.LazyFrame, *, before: str) -> pl.LazyFrame:
    """Collect what was known of each pair before a cut.

    Args:
        labelled: `Labelled`.
        repeats: `Repeats`.
        before: `valid` or `test`, the part that begins at the cut.

    Returns:
        One row per (user_id, item_id): user_id, item_id, rating, event_time, label. A pair repeated between the two
        cuts has its earlier row before the valid cut and its later one before the test cut.
    """
    if before not in CUTS:
        raise ValueError(f"before: expected one of {CUTS}, found {before!r}")
    return run_sql("history", labelled=labelled, repeats=repeats, params=params(before=before))
