"""A path -> its raw rows, whatever type of file it is: told by the first bytes, then by the suffix."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from recsys_polars.errors import InputError
from recsys_polars.sources.delimited import open_delimited
from recsys_polars.sources.files import Head, data_suffix, head_of
from recsys_polars.sources.headerless import open_headerless, shape_of
from recsys_polars.sources.json_lines import open_json_lines
from recsys_polars.sources.limits import check_columns, check_parquet, check_text
from recsys_polars.sources.parquet import MAGIC, open_parquet
from recsys_polars.sources.raw import RawFile
from recsys_polars.sources.reading import reading

_JSON = (".json", ".jsonl", ".ndjson")


def open_raw(path: Path) -> RawFile:
    """Open a file: its first part is read (4 MB at most), its columns are known, its rows wait.

    `scan` measures the file before it gives rows: see `limits`.

    Raises:
        InputError: where the file can't be read, is empty, is none of Parquet, JSON lines and a text table, or has too
            many columns.
    """
    with reading(path):
        head = head_of(path)
        is_parquet = data_suffix(path) == ".parquet" or head.magic == MAGIC
        raw = open_parquet(path) if is_parquet else _open_text(path, head)
        check_columns(path, len(raw.columns))

    def scan(names: Sequence[str]) -> pl.LazyFrame:
        if is_parquet:
            check_parquet(path, names)
        else:
            check_text(path, quoted=raw.quoted)
        return raw.scan(names)

    return replace(raw, scan=scan)


def _open_text(path: Path, head: Head) -> RawFile:
    first = head.lines[head.first].lstrip()
    if first.startswith("["):
        raise InputError(f"{path}: expected one JSON object a line, found the beginning of a list")
    if first.startswith("{") or data_suffix(path) in _JSON:
        return open_json_lines(path, head)
    shape = shape_of(head)
    return open_headerless(path, head, shape) if shape else open_delimited(path, head)
