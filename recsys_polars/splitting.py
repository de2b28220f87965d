"""The cuts in time, before everything else, and the history of a user as of each cut."""

from typing import Literal

import polars as pl

from recsys_polars.relational import params, run_sql
from recsys_polars.tables import CUTS, PARTS

Split = Literal["global-time", "user-time", "last-n"]
SPLITS: tuple[Split, ...] = ("global-time", "user-time", "last-n")


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
    # last-n has no fraction; of the valid cut a fraction of 0 still means none.
    after_test = _cut(interactions, split=split, fraction=1 if split == "last-n" else test_fraction, n=test_n)
    before_test = after_test.filter(~pl.col("is_after")).drop("is_after")
    after_valid = _cut(before_test, split=split, fraction=valid_fraction, n=test_n)
    train, valid, test = (pl.lit(part) for part in PARTS)
    return pl.concat(
        [
            after_test.filter("is_after").drop("is_after").with_columns(part=test),
            after_valid.select(pl.all().exclude("is_after"), part=pl.when("is_after").then(valid).otherwise(train)),
        ]
    )


def _cut(interactions: pl.LazyFrame, *, split: Split, fraction: float, n: int) -> pl.LazyFrame:
    if fraction == 0:
        return interactions.with_columns(is_after=pl.lit(value=False))
    if split == "last-n":
        return run_sql("cut_last_n", interactions=interactions, params=params(n=n))
    name = "cut_global_time" if split == "global-time" else "cut_user_time"
    return run_sql(name, interactions=interactions, params=params(keep=1 - fraction))


def deduplicate_interactions(parted: pl.LazyFrame) -> pl.LazyFrame:
    """Keep the latest row of each (user_id, item_id, part) and mark repeats.

    Args:
        parted: `Interactions` and `part`.

    Returns:
        One row per (user_id, item_id, part), and `is_repeat`: the user had the pair already in an earlier part. Of rows
        of equal time the higher rating wins, a missing one last.
    """
    part_order = pl.LazyFrame({"part": PARTS, "place": range(len(PARTS))})
    return run_sql("deduplicate_interactions", parted=parted, part_order=part_order)


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
