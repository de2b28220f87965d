"""A path -> its raw rows, whatever type of file it is: told by the first bytes, then by the suffix."""

from pathlib import Path

from recsys_polars.errors import InputError
from recsys_polars.sources.delimited import open_delimited
from recsys_polars.sources.files import data_suffix, head_of
from recsys_polars.sources.headerless import open_headerless, shape_of
from recsys_polars.sources.json_lines import open_json_lines
from recsys_polars.sources.parquet import MAGIC, open_parquet
from recsys_polars.sources.raw import RawFile
from recsys_polars.sources.reading import reading

_JSON = (".json", ".jsonl", ".ndjson")


def open_raw(path: Path) -> RawFile:
    """Open a file: its first part is read (4 MB at most), its columns are known, its rows wait.

    Raises:
        InputError: where the file can't be read, is empty, or is none of Parquet, JSON lines and a text table.
    """
    with reading(path):
        head = head_of(path)
        if data_suffix(path) == ".parquet" or head.magic == MAGIC:
            return open_parquet(path)
        first = head.lines[head.first].lstrip()
        if first.startswith("["):
            raise InputError(f"{path}: expected one JSON object a line, found the beginning of a list")
        if first.startswith("{") or data_suffix(path) in _JSON:
            return open_json_lines(path, head)
        shape = shape_of(head)
        return open_headerless(path, head, shape) if shape else open_delimited(path, head)
