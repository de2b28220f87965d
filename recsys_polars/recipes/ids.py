"""Lists of ids that a user gives: one a line, or a column of a table."""

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from recsys_polars.errors import InputError
from recsys_polars.sources import check_parquet, check_text, reading
from recsys_polars.sources.files import printable

WORDS = {"--users": "test, all", "--candidates": "catalogue, train"}
"""What an option takes besides a file."""
_SEPARATORS = {".csv": ",", ".tsv": "\t"}


def given_ids(given: Path | str | Sequence[str], column: str, *, option: str) -> pl.Series:
    """Return the ids that a user gives, sorted and unique: those of a file, or themselves.

    Raises:
        InputError: as `read_ids`, or no ids at all.
    """
    if isinstance(given, Path | str):
        return read_ids(Path(given), column, option=option)
    if not given:
        raise InputError(f"{option}: expected ids, found none")
    return pl.Series(column, given, dtype=pl.String).unique().sort()


def read_ids(path: Path, column: str, *, option: str) -> pl.Series:
    """Return the ids of a file, sorted and unique.

    Args:
        path: Parquet, CSV or TSV with `column`; any other file has one id a line, blank lines left out.
        column: name of the column, and of the result.
        option: what the user calls the file by.

    Raises:
        InputError: no such file, a damaged or a swelling one, no such column, or no ids.
    """
    if not path.is_file():
        raise InputError(f"{option} {path}: expected {WORDS[option]} or a file of ids, found no such file")
    with reading(path):
        if path.suffix.lower() == ".parquet":
            check_parquet(path, [column])
        else:
            check_text(path)
    try:
        ids = _read(path, column)
    except pl.exceptions.PolarsError as error:
        reason = printable(str(error).partition("\n")[0], 300)
        raise InputError(f"{option} {path}: expected ids in a column {column}, found none ({reason})") from error
    if not (ids.dtype.is_integer() or ids.dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null)):
        raise InputError(f"{option} {path}: {column}: expected text or whole numbers as ids, found {ids.dtype}")
    ids = ids.cast(pl.String).drop_nulls().unique().sort()
    if ids.is_empty():
        raise InputError(f"{option} {path}: expected ids, found none")
    return ids


def _read(path: Path, column: str) -> pl.Series:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return pl.read_parquet(path, columns=[column], glob=False)[column]
    if suffix in _SEPARATORS:
        return pl.read_csv(path, columns=[column], infer_schema=False, separator=_SEPARATORS[suffix], glob=False)[
            column
        ]
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected UTF-8 text, one id a line ({error})") from error
    if column in re.split(r"[,;\t|]", lines[0].strip()):
        raise InputError(f"{path}: expected one id a line, found a table; name it .csv, .tsv or .parquet")
    return pl.Series(column, [line.removesuffix("\r") for line in lines if line.strip()], dtype=pl.String)
