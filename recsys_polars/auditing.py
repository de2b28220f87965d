"""What a store's tables give away of the time after a cut: changed rows, pairs in two parts, later items in means."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from recsys_polars.tables import CUTS, PARTS, Vectors, as_matrix

PAIR = ("user_id", "item_id")
_OTHER = " other"
_PRECISION = 1e-5
"""Means that differ by no more are the same."""
MOST_MEANS = 1_000
"""Wrong means that are looked into, by user_id."""
_MISSED = 0.1
"""What later items may leave unexplained of how far a mean is off, if they are what is wrong with it."""


def changes(
    name: str, found: pl.DataFrame, expected: pl.DataFrame, *, key: Sequence[str], rounding: float = 0.0
) -> list[str]:
    """Say where a table is not what it ought to be.

    Args:
        name: of the table.
        found: its rows.
        expected: what they ought to be, in any order.
        key: the columns that name a row.
        rounding: the difference between vectors that is let pass, relative to what is larger than 1.

    Returns:
        A line for missing rows, for rows too many, for a column of another type, and for each column that differs: the
        first row by `key`, what was expected and found, and how many more rows there are. Nothing where all is equal.
    """
    lines = []
    for rows, others, words in ((expected, found, ("a row", "none")), (found, expected, ("none", "a row"))):
        alone = rows.join(others, on=key, how="anti").sort(key)
        if alone.height:
            lines.append(_line(f"{name}: row", alone.row(0, named=True), key, *words, n_rows=alone.height))
    both = expected.join(found, on=key, suffix=_OTHER).sort(key)
    for column, dtype in expected.drop(key).schema.items():
        if found.schema.get(column) != dtype:
            lines.append(f"{name}: {column}: expected {dtype}, found {found.schema.get(column, 'no such column')}")
        else:
            lines += _changed_column(name, both, column, key, rounding)
    return lines


def _changed_column(name: str, both: pl.DataFrame, column: str, key: Sequence[str], rounding: float) -> list[str]:
    expected, found = both[column], both[column + _OTHER]
    is_vector = isinstance(expected.dtype, pl.Array)
    if is_vector:
        wrong = _far_apart(as_matrix(expected), as_matrix(found), rounding)
    else:
        wrong = expected.ne_missing(found).to_numpy()[:, None]
    rows = np.flatnonzero(wrong.any(axis=1))
    if not len(rows):
        return []
    row = int(rows[0])
    values = expected[row], found[row]
    if is_vector:
        place = int(wrong[row].argmax())
        column, values = f"{column}_{place}", (values[0][place], values[1][place])
    return [_line(f"{name}: {column}", both.row(row, named=True), key, *values, n_rows=len(rows))]


def _far_apart(expected: Vectors, found: Vectors, rounding: float) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Where vectors differ; what is no number differs from everything."""
    near: np.ndarray[Any, np.dtype[np.bool_]] = np.abs(expected - found) <= rounding * np.maximum(1, np.abs(expected))
    return ~near


def _line(
    what: str, row: Mapping[str, Any], key: Sequence[str], expected: object, found: object, *, n_rows: int = 1
) -> str:
    named = ", ".join(f"{column} {row[column]}" for column in key)
    more = f" (and {n_rows - 1:,} more)" if n_rows > 1 else ""
    return f"{what} of {named}: expected {expected}, found {found}{more}"


def rows_out_of_time(parted: pl.LazyFrame, *, by_user: bool, ties: bool) -> list[str]:
    """Say where a row before a cut is later than one after it.

    Args:
        parted: `Interactions` and `part`.
        by_user: each user has a cut of their own.
        ties: rows of equal time may stand on both sides.
    """
    group = pl.col("user_id") if by_user else pl.lit("all").alias("user_id")
    lines = []
    for cut in CUTS:
        is_before = pl.col("part").is_in(PARTS[: PARTS.index(cut)])
        times = parted.group_by(group).agg(
            last=pl.col("event_time").filter(is_before).max(), first=pl.col("event_time").filter(~is_before).min()
        )
        is_late = pl.col("last") > pl.col("first") if ties else pl.col("last") >= pl.col("first")
        late = times.filter(is_late).sort("user_id").collect()
        if late.height:
            row = late.row(0, named=True)
            what = f"interactions: event_time before the {cut} cut"
            lines.append(_line(what, row, ["user_id"], f"before {row['first']}", row["last"], n_rows=late.height))
    return lines


def pairs_in_two_parts(labelled: pl.DataFrame) -> list[str]:
    """Say which pair stands in two parts, or twice in one.

    Args:
        labelled: `Labelled` rows, those that were filtered out included.
    """
    parts = labelled.group_by(PAIR).agg("part").filter(pl.col("part").list.len() > 1).sort(PAIR)
    if parts.is_empty():
        return []
    row = parts.row(0, named=True)
    return [_line("labelled: part", row, PAIR, "one part", " and ".join(sorted(row["part"])), n_rows=parts.height)]


def later_items_in_means(
    name: str,
    found: pl.DataFrame,
    expected: pl.DataFrame,
    later: pl.DataFrame,
    item_ids: pl.Series,
    item_vectors: Vectors,
) -> list[str]:
    """Say which user means hold items that the user met at or after the cut.

    Args:
        name: of the table.
        found: `UserMeans` of one cut, with `mean`.
        expected: the same, over what was liked before the cut; a user without that may be missing.
        later: user_id, item_id of what users met at or after it.
        item_ids: the ids of the rows of `item_vectors`, sorted.
        item_vectors: shape (n_items, d), what the means are made of.

    Returns:
        A line for each such mean, by user_id, among the first `MOST_MEANS` that are wrong. One that is wrong in another
        way is none of them: it must count more items than it should, or be a sum of the expected mean and later items.
    """
    both = found.join(expected, on="user_id", how="left", suffix=_OTHER).sort("user_id")
    none = {"n_positives" + _OTHER: pl.lit(0), "mean" + _OTHER: pl.lit([0.0] * item_vectors.shape[1])}
    both = both.with_columns(pl.col(column).fill_null(v.cast(both.schema[column])) for column, v in none.items())
    wrong = _far_apart(as_matrix(both["mean" + _OTHER]), as_matrix(both["mean"]), _PRECISION).any(axis=1)
    wrong |= (both["n_positives"] != both["n_positives" + _OTHER]).to_numpy()
    items = later.select(PAIR).unique().sort(PAIR).group_by("user_id", maintain_order=True).agg("item_id")
    looked_into = both.filter(wrong).join(items, on="user_id", maintain_order="left").head(MOST_MEANS)
    lines = []
    for row in looked_into.iter_rows(named=True):
        vectors = item_vectors[item_ids.search_sorted(pl.Series(row["item_id"])).to_numpy()]
        place = _held(np.array(row["mean"]), np.array(row["mean" + _OTHER]), vectors)
        if place is not None or row["n_positives"] > row["n_positives" + _OTHER]:
            among = "" if place is None else f", item_id {row['item_id'][place]} of a later part among them"
            words = (f"the mean of {row['n_positives' + _OTHER]:,} items", f"that of {row['n_positives']:,}{among}")
            lines.append(_line(f"{name}: mean before {row['before']}", row, ["user_id"], *words))
    return lines


def _held(mean: Vectors, before: Vectors, vectors: Vectors) -> int | None:
    """The heaviest of the vectors that, with the mean before the cut, add up to a mean; none where they don't."""
    summands = np.vstack([before, vectors]).astype(np.float64).T
    weights = np.linalg.lstsq(summands, mean)[0]
    missed, off = np.linalg.norm(summands @ weights - mean), np.linalg.norm(mean - before)
    place = int(weights[1:].argmax())
    return place if weights[1 + place] > 0 and missed < _MISSED * off else None
