"""What no honest file needs and would exhaust memory: lines without an end, bytes that swell, a million columns.

A file is measured before its rows are read: text by decompressing it once, at a fraction of what parsing costs, and
Parquet by its footer.
"""

from collections.abc import Iterable
from itertools import accumulate, count
from math import inf
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from recsys_polars.errors import InputError
from recsys_polars.sources.files import open_bytes

MAX_LINE = 64 << 20
MAX_COLUMNS = 20_000
MAX_RATIO = 200
"""How many times its size a file may grow: logs grow 5 to 30 times, and 1,000 is what gzip can do at most."""
ALWAYS_FINE = 1 << 30
"""What a file of any size may grow to."""
MAX_ROW_GROUP = 4 << 30
_CHUNK = 1 << 20
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 12}
_TEXT_WIDTH = 16
"""Bytes of a text in memory, as a view into bytes that many may share."""


def check_text(
    path: Path,
    *,
    quoted: bool = False,
    max_line: int = MAX_LINE,
    always_fine: int = ALWAYS_FINE,
    max_total: float = inf,
) -> None:
    """Read a text file once, plain or compressed, in memory that doesn't depend on it.

    Args:
        path: the file.
        quoted: whether line breaks between two `"` end no line.
        max_line: bytes of a line; a megabyte more may pass.
        always_fine: bytes that it may decompress to, however small it is; beyond them `MAX_RATIO` holds.
        max_total: bytes that it may have, whatever its ratio.

    Raises:
        InputError: a line is longer, or the whole is larger.
    """
    allowed = max(always_fine, MAX_RATIO * path.stat().st_size)
    total = length = 0
    is_open = False
    with open_bytes(path) as file:
        while chunk := file.read(_CHUNK):
            total += len(chunk)
            length = 0 if _ends_a_line(chunk, quoted=quoted, is_open=is_open) else length + len(chunk)
            is_open ^= quoted and chunk.count(b'"') % 2 == 1
            if length > max_line:
                raise InputError(
                    f"{path}: expected lines of at most {_size(max_line)}, {_longest(path, max_line, quoted=quoted)}"
                )
            if total > allowed:
                raise InputError(
                    f"{path}: expected a file that decompresses to {MAX_RATIO} times its size at most, found more than "
                    f"{_size(allowed)} in {path.stat().st_size:,} bytes: decompress it first if it is what it should be"
                )
            if total > max_total:
                raise InputError(f"{path}: expected {_size(max_total)} of text at most, found more")


def _ends_a_line(chunk: bytes, *, quoted: bool, is_open: bool) -> bool:
    """Whether a line ends in the chunk: at a line break, outside of quotes where there are some."""
    start, place = 0, chunk.find(b"\n")
    while place >= 0:
        is_open ^= quoted and chunk.count(b'"', start, place) % 2 == 1
        if not is_open:
            return True
        start, place = place, chunk.find(b"\n", place + 1)
    return False


def _longest(path: Path, max_line: int, *, quoted: bool) -> str:
    """Say where the line begins that is too long; this runs once, on the way out."""
    begun, length, is_open = 1, 0, False
    with open_bytes(path) as file:
        for number in count(1):
            line = file.readline(max_line + 1)
            begun, length = (begun, length + len(line)) if is_open else (number, len(line))
            is_open ^= quoted and line.count(b'"') % 2 == 1
            if length > max_line or not line:
                break
    return f"found a longer one: line {begun:,}" + (", where a quote is not closed" if is_open else "")


def check_columns(path: Path, n_columns: int) -> None:
    """Refuse a file with more columns than any table has.

    Raises:
        InputError: it has.
    """
    if n_columns > MAX_COLUMNS:
        raise InputError(f"{path}: expected at most {MAX_COLUMNS:,} columns, found {n_columns:,}")


def check_parquet(
    path: Path, names: Iterable[str], *, always_fine: int = ALWAYS_FINE, max_group: int = MAX_ROW_GROUP
) -> None:
    """Refuse a Parquet file whose columns `names` become far larger in memory than the file is, going by its footer.

    A thousand million equal rows fit into a kilobyte; row groups of a few gigabytes are read as a whole.

    Raises:
        InputError: the columns are larger than `MAX_RATIO` allows, or a row group is larger than `max_group`.
    """
    groups = list(_group_sizes(_footer(path), set(names)))
    size, largest = path.stat().st_size, max(groups, default=0)
    if sum(groups) > max(always_fine, MAX_RATIO * size):
        raise InputError(
            f"{path}: expected columns that grow to {MAX_RATIO} times the file's size at most, "
            f"found {_size(sum(groups))} in {size:,} bytes"
        )
    if largest > max_group:
        raise InputError(
            f"{path}: expected row groups of {_size(max_group)} at most, found one of {_size(largest)}: "
            "write the file with smaller ones"
        )


def check_footer(path: Path) -> None:
    """Refuse a Parquet file whose footer names pages that don't lie in the file: Polars aborts on some of these.

    Raises:
        InputError: it does, or there is no footer to read.
    """
    footer, size = _footer(path), path.stat().st_size
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        for place in range(group.num_columns):
            chunk = group.column(place)
            length, start = chunk.total_compressed_size, chunk.data_page_offset
            if chunk.dictionary_page_offset is not None:  # which comes first; some writers say 0 for none
                start = min(start, chunk.dictionary_page_offset or start)
            if min(length, start, chunk.num_values, chunk.total_uncompressed_size) < 0 or start + length > size:
                raise InputError(
                    f"{path}: expected a Parquet file, found a damaged one ({chunk.path_in_schema}: its pages lie at "
                    f"{start:,}, {length:,} bytes, of {size:,})"
                )


def _footer(path: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: expected a Parquet file, found a damaged one ({str(error)[:200]})") from error


def _group_sizes(footer: pq.FileMetaData, names: set[str]) -> Iterable[int]:
    """Bytes of each row group in memory: the values or the pages, whatever is more."""
    paths = [footer.schema.column(place).path for place in range(footer.num_columns)]
    places = [place for place, path in enumerate(paths) if not names.isdisjoint(_parents(path))]
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        chunks = [group.column(place) for place in places]
        yield sum(
            max(chunk.num_values * _WIDTHS.get(chunk.physical_type, _TEXT_WIDTH), chunk.total_uncompressed_size)
            for chunk in chunks
        )


def _parents(path: str) -> Iterable[str]:
    """The columns that may hold the leaf `a.b.c`, whose names may have points in them: a, a.b and a.b.c."""
    return accumulate(path.split("."), "{}.{}".format)


def _size(n_bytes: float) -> str:
    return f"{n_bytes / (1 << 20):,.0f} MB"
