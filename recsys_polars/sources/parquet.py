"""Parquet files as raw rows: types as they are stored, nothing read before it is needed."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import polars as pl

from recsys_polars.errors import InputError
from recsys_polars.sources.limits import check_footer
from recsys_polars.sources.raw import Look, RawFile, raw_name

MAGIC = b"PAR1"
_LINE = "recsys_polars:line"
_FIRST, _LAST = -62_135_596_800, 253_402_300_799
"""The years 1 to 9999, in seconds since 1970."""
_DAY = 86_400
_PER_SECOND = {"ms": 10**3, "us": 10**6, "ns": 10**9}
# A zone such as +05:30, which pandas and databases write, is none that Polars knows: it aborts on such a file. What is
# stored is UTC all the same, and that is all that is read.
os.environ.setdefault("POLARS_IGNORE_TIMEZONE_PARSE_ERROR", "1")


def open_parquet(path: Path) -> RawFile:
    """Open a Parquet file: only its footer is read. `line` counts rows from 1.

    Dates and times outside the years 1 to 9999 come as the first and the last of them: Polars can't print the others.
    """
    check_footer(path)
    stored = dict(pl.scan_parquet(path, glob=False, hive_partitioning=False).collect_schema())
    columns = {name: _in_utc(dtype) for name, dtype in stored.items()}

    def scan(names: Sequence[str]) -> pl.LazyFrame:
        empty = [name for name in names if _is_without_width(columns.get(name, pl.Null()))]
        if empty:
            raise InputError(f"{path}: {', '.join(empty)}: expected values, found arrays of width 0")
        rows = pl.scan_parquet(path, glob=False, hive_partitioning=False, row_index_name=_LINE, row_index_offset=1)
        return rows.select(
            *(_printable_time(pl.col(name), columns[name]).alias(raw_name(name)) for name in names),
            pl.col(_LINE).cast(pl.Int64).alias("line"),
            pl.lit(None, pl.String).alias("rule"),
            pl.lit(None, pl.String).alias("found"),
        )

    return RawFile(path, columns, {name: _look(dtype) for name, dtype in columns.items()}, scan, of_lines=False)


def _in_utc(dtype: pl.DataType) -> pl.DataType:
    return pl.Datetime(dtype.time_unit, "UTC") if isinstance(dtype, pl.Datetime) and dtype.time_zone else dtype


def _printable_time(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.Datetime):
        unit = _PER_SECOND[dtype.time_unit]
        first, last = max(_FIRST * unit, -(2**63)), min(_LAST * unit, 2**63 - 1)
        return column.to_physical().clip(first, last).cast(dtype)
    return column.to_physical().clip(_FIRST // _DAY, _LAST // _DAY).cast(dtype) if dtype == pl.Date else column


def _is_without_width(dtype: pl.DataType) -> bool:
    """Whether there is an array of no width in a type: Polars aborts where it reads one."""
    if isinstance(dtype, pl.Struct):
        return any(_is_without_width(cast("pl.DataType", field.dtype)) for field in dtype.fields)
    is_empty = isinstance(dtype, pl.Array) and 0 in dtype.shape
    inner = dtype.inner if isinstance(dtype, pl.Array | pl.List) else None
    return is_empty or (inner is not None and _is_without_width(cast("pl.DataType", inner)))


def _look(dtype: pl.DataType) -> Look:
    if dtype == pl.Boolean:
        return "boolean"
    return "number" if dtype.is_numeric() else "text"
