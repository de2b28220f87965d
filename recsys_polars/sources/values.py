"""Single values: ids, numbers and text out of whatever type the file has them in."""

from collections.abc import Sequence
from typing import cast

import polars as pl

from recsys_polars.errors import InputError
from recsys_polars.sources.raw import RawFile, clipped, raw_column

_DECIMAL_COMMA = r"^(\d+),(\d{1,2})$"
Checks = Sequence[tuple[pl.Expr, str, pl.Expr]]


def as_text(raw: RawFile, name: str) -> pl.Expr:
    """Return the raw column as text; lists and structs as JSON, as they stand in a file of JSON lines.

    Dates and times within them are the numbers that they are stored as.

    Raises:
        InputError: for bytes, also within lists and structs.
    """
    dtype, column = raw.type_of(name), raw_column(name)
    if dtype == pl.String:
        return column
    if dtype.is_nested():
        column = column.cast(_with_numbers(raw, name, dtype))
        return pl.struct(column.alias("value")).struct.json_encode().str.json_path_match("$.value")
    if dtype == pl.Binary:
        raise InputError(f"{raw.path}: {name}: expected text, found bytes")
    return column.cast(pl.String)


def _with_numbers(raw: RawFile, name: str, dtype: pl.DataType) -> pl.DataType:
    """The type with numbers for dates and times, some of which Polars can't print."""
    if isinstance(dtype, pl.List):
        return pl.List(_with_numbers(raw, name, cast("pl.DataType", dtype.inner)))
    if isinstance(dtype, pl.Array):
        return pl.List(_with_numbers(raw, name, cast("pl.DataType", dtype.inner)))
    if isinstance(dtype, pl.Struct):
        return pl.Struct({f.name: _with_numbers(raw, name, cast("pl.DataType", f.dtype)) for f in dtype.fields})
    if dtype == pl.Binary:
        raise InputError(f"{raw.path}: {name}: expected text, found bytes in a list or struct")
    return pl.Int64() if dtype.is_temporal() else dtype


def id_text(raw: RawFile, name: str) -> pl.Expr:
    """Return ids as text, to the letter; an empty one is null. Whole numbers are their digits, whatever their type.

    Raises:
        InputError: for a column whose type can't be an id, as dates, lists and fractions can't.
    """
    dtype, column = raw.type_of(name), raw_column(name)
    if dtype.is_float():
        is_whole = column.is_finite() & (column == column.round()) & (column.abs() < 2.0**53)
        return pl.when(is_whole).then(column.cast(pl.Int64, strict=False).cast(pl.String))
    if not (dtype.is_integer() or dtype in (pl.String, pl.Categorical, pl.Enum)):
        raise InputError(f"{raw.path}: {name}: expected text or whole numbers as ids, found {dtype}")
    text = column.cast(pl.String)
    return pl.when(text != "").then(text)


def number(raw: RawFile, name: str) -> pl.Expr:
    """Return numbers as Float64; null where the text is none. NaN and the infinite stay as they are.

    `4,5` is 4.5, with one decimal or two: three could be thousands.

    Raises:
        InputError: for a column of dates, lists or the like.
    """
    dtype, column = raw.type_of(name), raw_column(name)
    if dtype == pl.String:
        text = column.str.strip_chars()
        value = text.cast(pl.Float64, strict=False)
        other = pl.when(value.is_null()).then(text)
        return value.fill_null(other.str.replace(_DECIMAL_COMMA, "$1.$2").cast(pl.Float64, strict=False))
    if not (dtype.is_numeric() or dtype in (pl.Boolean, pl.Null)):
        raise InputError(f"{raw.path}: {name}: expected numbers, found {dtype}")
    return column.cast(pl.Float64)


def first_broken(checks: Checks) -> tuple[pl.Expr, pl.Expr]:
    """Return the name of the first broken rule of each row and the text that breaks it; null where all hold.

    A check is (where it is broken, its name, the raw text). The line's own rule comes before all of them.
    """
    rule = pl.coalesce(pl.col("rule"), *(pl.when(broken).then(pl.lit(name)) for broken, name, _ in checks))
    found = pl.lit(None, pl.String)
    for broken, _, text in reversed(checks):
        found = pl.when(broken).then(clipped(text)).otherwise(found)
    return rule, pl.when(pl.col("rule").is_not_null()).then(pl.col("found")).otherwise(found)
