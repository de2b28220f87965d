"""Text tables with a header (CSV, TSV and the like) as raw rows: every field as text, quotes as RFC 4180 has them."""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import polars as pl

from recsys_polars.errors import InputError
from recsys_polars.sources.files import Head, printable
from recsys_polars.sources.limits import check_columns
from recsys_polars.sources.raw import RawFile, clipped, look_of, raw_name

SEPARATORS = (",", "\t", ";", "|")
_SPARE = ("extra_0", "extra_1", "extra_2", "extra_3")


def open_delimited(path: Path, head: Head) -> RawFile:
    """Open a table with a header line, plain or compressed; the separator is the likeliest one in the header.

    `line` counts the header and then rows: it is the line of the file unless a field before it holds a line break.

    Raises:
        InputError: where the header has a name twice or spans several lines.
    """
    separator = max(SEPARATORS, key=head.lines[head.first].count)
    check_columns(path, head.lines[head.first].count(separator) + 1)
    table = _fields(head.lines[head.first :], separator)
    header = [name.strip() for name in next(table, [])]
    _check_header(path, header, head.lines[head.first])
    rows = [row for row in table if len(row) == len(header)]
    looks = {name: look_of([row[place] for row in rows]) for place, name in enumerate(header)}

    def scan(names: Sequence[str]) -> pl.LazyFrame:
        places = {name: f"field_{header.index(name)}" for name in names}
        return _scan(path, places, width=len(header), separator=separator, header_line=head.first)

    return RawFile(path, {name: pl.String() for name in header}, looks, scan, quoted=True)


def _fields(lines: Sequence[str], separator: str) -> Iterator[list[str]]:
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=separator)
    # A quote that never closes, or a field beyond the module's limit, ends the sample, not the file.
    with suppress(csv.Error):
        yield from reader


def _check_header(path: Path, header: Sequence[str], line: str) -> None:
    if any("\n" in name for name in header) or not header:
        raise InputError(f"{path}: expected a header on one line, found {printable(line)}")
    twice = sorted(printable(name) for name, times in Counter(header).items() if name and times > 1)
    if twice:
        raise InputError(
            f"{path}: expected each column once in the header, found {', '.join(twice[:9])} more than once"
        )


def _scan(path: Path, places: Mapping[str, str], *, width: int, separator: str, header_line: int) -> pl.LazyFrame:
    fields = [f"field_{place}" for place in range(width)]
    # Spare columns catch what stands beyond the header's width: Polars would cut it off without a word.
    rows = pl.scan_csv(
        path,
        glob=False,
        separator=separator,
        has_header=False,
        skip_lines=header_line + 1,
        schema={name: pl.String() for name in (*fields, *_SPARE)},
        missing_columns="insert",
        truncate_ragged_lines=True,
        row_index_name="row",
        row_index_offset=header_line + 2,
    )
    extra = pl.concat_str(_SPARE, separator=separator, ignore_nulls=True)
    has_extra = pl.any_horizontal(pl.col(_SPARE).is_not_null())
    is_blank = pl.all_horizontal(pl.col([*places.values(), *_SPARE]).is_null())
    rule = pl.when(has_extra).then(pl.lit("line: too many fields")).when(is_blank).then(pl.lit("line: blank"))
    return rows.select(
        *(pl.col(place).alias(raw_name(name)) for name, place in places.items()),
        pl.col("row").cast(pl.Int64).alias("line"),
        rule.alias("rule"),
        pl.when(has_extra).then(clipped(extra)).alias("found"),
    )
