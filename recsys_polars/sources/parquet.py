"""Parquet files as raw rows: types as they are stored, nothing read before it is needed."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from recsys_polars.sources.raw import Look, RawFile, raw_name

MAGIC = b"PAR1"
_LINE = "recsys_polars:line"


def open_parquet(path: Path) -> RawFile:
    """Open a Parquet file: only its footer is read. `line` counts rows from 1."""
    columns = dict(pl.scan_parquet(path, glob=False, hive_partitioning=False).collect_schema())

    def scan(names: Sequence[str]) -> pl.LazyFrame:
        rows = pl.scan_parquet(path, glob=False, hive_partitioning=False, row_index_name=_LINE, row_index_offset=1)
        return rows.select(
            *(pl.col(name).alias(raw_name(name)) for name in names),
            pl.col(_LINE).cast(pl.Int64).alias("line"),
            pl.lit(None, pl.String).alias("rule"),
            pl.lit(None, pl.String).alias("found"),
        )

    return RawFile(path, columns, {name: _look(dtype) for name, dtype in columns.items()}, scan)


def _look(dtype: pl.DataType) -> Look:
    if dtype == pl.Boolean:
        return "boolean"
    return "number" if dtype.is_numeric() else "text"
