"""JSON lines as raw rows: one object a line, fields as text; lists and objects as their JSON.

Lines that are not strict JSON get a second chance: NaN and Infinity as Python writes them, and the printed Python dicts
of the 2014 Amazon metadata. Only those lines pay for it.
"""

import ast
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from recsys_polars.errors import InputError
from recsys_polars.sources.files import Head, printable
from recsys_polars.sources.raw import RawFile, clipped, look_of, raw_name, rewrite

MAX_LITERAL = 1_000_000
"""The longest line, in characters, tried as a printed Python dict: the parser needs some hundred times its size."""
_LONG_NUMBER = "[0-9]{19}"
_TOO_DEEP_OR_WRONG = (ValueError, TypeError, SyntaxError, MemoryError, RecursionError)


def open_json_lines(path: Path, head: Head) -> RawFile:
    """Open a file of JSON lines, plain or compressed. `line` counts lines from 1; columns are those of the first 1,000.

    Raises:
        InputError: where none of the first lines is a JSON object.
    """
    objects = [value for value in map(parse_loosely, head.lines) if isinstance(value, dict)]
    if not objects:
        found = printable(head.lines[head.first].strip())
        raise InputError(f"{path}: expected one JSON object a line, found {found}")
    values: dict[str, list[object]] = {}
    for value in objects:
        for name, item in value.items():
            values.setdefault(name, []).append(item)
    columns = {name: pl.String() for name in values}
    looks = {name: look_of(seen) for name, seen in values.items()}

    def scan(names: Sequence[str]) -> pl.LazyFrame:
        return _scan(path, {name: json_path(name) for name in names})

    return RawFile(path, columns, looks, scan, open_ended=True)


def _scan(path: Path, paths: Mapping[str, str]) -> pl.LazyFrame:
    probe = next(iter(paths.values()))
    text = pl.col("text").str.strip_prefix("\ufeff").str.strip_chars_start()
    strict = text.map_batches(lambda lines: strict_json(lines, probe), return_dtype=pl.String, is_elementwise=True)
    rule = (
        pl.when(text == "")
        .then(pl.lit("line: blank"))
        .when(pl.col("json").is_null())
        .then(pl.lit("line: not JSON"))
        .when(pl.col("json").str.starts_with("{").not_())
        .then(pl.lit("line: not a JSON object"))
    )
    lines = pl.scan_lines(path, name="text", glob=False, row_index_name="row", row_index_offset=1)
    return lines.with_columns(json=strict).select(
        *(pl.col("json").str.json_path_match(where).alias(raw_name(name)) for name, where in paths.items()),
        pl.col("row").cast(pl.Int64).alias("line"),
        rule.alias("rule"),
        pl.when(rule.is_not_null()).then(clipped(pl.col("text"))).alias("found"),
    )


def strict_json(lines: pl.Series, probe: str) -> pl.Series:
    """Return lines that Polars reads as JSON; null where a line can't be understood.

    A line in which `probe` (the path of the id) is found is fine as it is: that costs no second parse. Numbers beyond
    64 bits are quoted, as Polars would round them.
    """
    doubtful = lines.str.json_path_match(probe).is_null() | lines.str.contains(_LONG_NUMBER)
    if not doubtful.any():
        return lines
    repaired = rewrite(lines, doubtful, _repaired)
    broken = doubtful & repaired.str.json_path_match("$").is_null()
    return repaired.scatter(broken.arg_true(), None)


def _repaired(line: str) -> str | None:
    value = parse_loosely(line)
    return None if value is None else json.dumps(value)


def parse_loosely(text: str) -> Any:
    """Return the value of strict JSON, Python's JSON or a printed Python value; None if it is none of them.

    Numbers come as the text that stands there, NaN as None.
    """
    try:
        return json.loads(text, parse_float=str, parse_int=str, parse_constant=_constant)
    except (ValueError, RecursionError):
        return _printed_value(text)


def _printed_value(text: str) -> Any:
    if len(text) > MAX_LITERAL or not text.lstrip().startswith(("{", "[")):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = ast.literal_eval(text.strip())
        return json.loads(json.dumps(value), parse_float=str, parse_int=str, parse_constant=_constant)
    except _TOO_DEEP_OR_WRONG:
        return None


def _constant(name: str) -> str | None:
    return None if name == "NaN" else name


def json_path(name: str) -> str:
    """Return the JSON path of a top-level field.

    Raises:
        InputError: for a name that no path can hold.
    """
    quote = '"' if "'" in name else "'"
    if quote in name or "\\" in name:
        raise InputError(f"{name}: expected a field name without backslashes or both kinds of quotes")
    return f"$[{quote}{name}{quote}]"
