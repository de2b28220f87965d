"""What every file becomes first: named raw columns beside the line that they stand on, whatever the file's type."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

Look = Literal["number", "boolean", "text"]
CLIP = 200
"""How much of an offending value a reject keeps."""


@dataclass(frozen=True)
class RawFile:
    """A file whose columns are known and whose rows are not read yet."""

    path: Path
    columns: Mapping[str, pl.DataType]
    """The columns by the file's own names, in its order; every column of a text file is String."""
    looks: Mapping[str, Look]
    """What the values are: by type in Parquet, by the first rows in a text file."""
    scan: Callable[[Sequence[str]], pl.LazyFrame]
    """Names -> a frame of those columns as `raw_column` names them, then line Int64, rule and found String.

    One row per raw row, in the file's order. `rule` is null unless the line as a whole is broken, a blank one at the
    end of the file included: see `without_last_blank`."""
    open_ended: bool = False
    """Whether rows may have columns that `columns` does not list: JSON lines, of which only the first were seen."""
    of_lines: bool = True
    """Whether rows are lines of text, of which the last may be blank."""
    quoted: bool = False
    """Whether a line break between two quotes ends no row."""
    format: str | None = None
    """The format, where the rows alone give it away because there is no header."""

    def type_of(self, name: str) -> pl.DataType:
        """Return the type that `scan` gives this column."""
        return self.columns.get(name, pl.String())


def raw_name(name: str) -> str:
    """Return the name that `scan` gives the file's column `name`: no file's column can collide with ours."""
    return f"raw:{name}"


def raw_column(name: str) -> pl.Expr:
    """Return the file's column `name` in a frame that `scan` gave."""
    return pl.col(raw_name(name))


def clipped(text: pl.Expr) -> pl.Expr:
    """Return the text cut to what a reject keeps."""
    return text.str.slice(0, CLIP)


def without_last_blank(rows: pl.LazyFrame, raw: RawFile) -> pl.LazyFrame:
    """Drop the last row if its line is blank: a file may end in an empty line. Blank lines elsewhere are rejects.

    To be done last: what waits for the next row is kept in memory, all of it where the steps behind are slower.
    """
    if not raw.of_lines:
        return rows
    is_last = pl.col("line").shift(-1).is_null()
    return rows.filter((is_last & (pl.col("rule") == "line: blank").fill_null(value=False)).not_())


def rewrite(values: pl.Series, doubtful: pl.Series, function: Callable[[str], str | None]) -> pl.Series:
    """Return `values` with `function` applied to the doubtful ones; nulls are never doubtful."""
    where = (doubtful & values.is_not_null()).arg_true()
    if where.is_empty():
        return values
    rewritten = pl.Series([function(value) for value in values.gather(where)], dtype=pl.String)
    return values.clone().scatter(where, rewritten)


def look_of(values: Sequence[object]) -> Look:
    """Return what the values of a text file's column are: "number" and "boolean" need one value and no exception."""
    present = [value for value in values if value is not None and str(value).strip()]
    if present and all(str(value).strip().lower() in {"true", "false"} for value in present):
        return "boolean"
    return "number" if present and all(_is_number(value) for value in present) else "text"


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return "_" not in str(value)
