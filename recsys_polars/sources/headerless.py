"""Text files without a header, known by their first line: MovieLens 100K, 1M and 10M, and Amazon's ratings only."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from recsys_polars.sources.files import Head, open_bytes
from recsys_polars.sources.limits import check_text
from recsys_polars.sources.raw import RawFile, clipped, look_of, raw_name


@dataclass(frozen=True)
class Shape:
    """A kind of file without a header: how its lines look and what its fields are, in the words of its format."""

    format: str
    separator: str
    names: tuple[str, ...]
    line: re.Pattern[str]
    """What the whole first line has to match."""
    small: bool = False
    """A catalogue of some thousand lines that may be in Latin-1: read by Python, when it is collected."""


_RATINGS = ("userId", "movieId", "rating", "timestamp")
_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
_MAX_SMALL = 256 << 20
_FLAGGED = ("movieId", "title", "release_date", "video_release_date", "imdb_url", *(f"genre {g}" for g in _GENRES))
_USER, _ASIN, _STARS = r"A[0-9A-Z]{9,20}", r"[0-9B][0-9A-Z]{9}", r"\d(?:\.\d+)?,\d+"
SHAPES = (
    Shape("movielens", "\t", _RATINGS, re.compile(r"\d+\t\d+\t\d+(?:\.\d+)?\t\d+")),
    Shape("movielens", "::", _RATINGS, re.compile(r"\d+::\d+::\d+(?:\.\d+)?::\d+")),
    Shape("movielens", "|", _FLAGGED, re.compile(r"\d+\|(?:[^|]*\|){4}[01](?:\|[01]){18}"), small=True),
    Shape("movielens", "::", ("movieId", "title", "genres"), re.compile(r"\d+::.+::.*"), small=True),
    Shape(
        "amazon-2014", ",", ("reviewerID", "asin", "overall", "unixReviewTime"), re.compile(f"{_USER},{_ASIN},{_STARS}")
    ),
    Shape(
        "amazon-2018", ",", ("asin", "reviewerID", "overall", "unixReviewTime"), re.compile(f"{_ASIN},{_USER},{_STARS}")
    ),
)


def shape_of(head: Head) -> Shape | None:
    """Return the shape that the first line fits, if it fits one."""
    line = head.lines[head.first].strip(" \r")
    return next((shape for shape in SHAPES if shape.line.fullmatch(line)), None)


def open_headerless(path: Path, head: Head, shape: Shape) -> RawFile:
    """Open a file of this shape, plain or compressed. `line` counts lines from 1. Nothing is quoted in such files.

    The 19 flags of the 100K catalogue give one more column, `genres`, as later releases write it: `Action|Comedy`.
    """
    rows = [line.split(shape.separator) for line in head.lines]
    samples = {name: [row[place] for row in rows if place < len(row)] for place, name in enumerate(shape.names)}
    names = [name for name in shape.names if not name.startswith("genre ")]
    names += ["genres"] if shape.names == _FLAGGED else []

    def scan(wanted: Sequence[str]) -> pl.LazyFrame:
        return _scan(path, shape, wanted)

    looks = {name: look_of(samples.get(name, [])) for name in names}
    return RawFile(path, {name: pl.String() for name in names}, looks, scan, format=shape.format)


def _scan(path: Path, shape: Shape, wanted: Sequence[str]) -> pl.LazyFrame:
    if shape.small:
        lines = pl.defer(lambda: _small_lines(path), schema={"line": pl.Int64, "text": pl.String})
    else:
        lines = pl.scan_lines(path, name="text", glob=False, row_index_name="line", row_index_offset=1)
    text = pl.col("text").str.strip_prefix("\ufeff").str.strip_suffix("\r")
    rule = (
        pl.when(text.str.strip_chars() == "")
        .then(pl.lit("line: blank"))
        .when(pl.col("fields").list.len() != len(shape.names))
        .then(pl.lit("line: wrong number of fields"))
    )
    return lines.with_columns(fields=text.str.split(shape.separator)).select(
        *(_field(name, shape).alias(raw_name(name)) for name in wanted),
        pl.col("line").cast(pl.Int64),
        rule.alias("rule"),
        pl.when(rule.is_not_null()).then(clipped(text)).alias("found"),
    )


def _field(name: str, shape: Shape) -> pl.Expr:
    fields = pl.col("fields")
    if name != "genres" or name in shape.names:
        return fields.list.get(shape.names.index(name), null_on_oob=True)
    flags = {genre: fields.list.get(_FLAGGED.index(f"genre {genre}"), null_on_oob=True) == "1" for genre in _GENRES}
    return pl.concat_str(
        [pl.when(flag).then(pl.lit(genre)) for genre, flag in flags.items()], separator="|", ignore_nulls=True
    )


def _small_lines(path: Path) -> pl.DataFrame:
    check_text(path, max_total=_MAX_SMALL)
    with open_bytes(path) as file:
        content = file.read()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return pl.DataFrame({"line": range(1, len(lines) + 1), "text": lines}, schema={"line": pl.Int64, "text": pl.String})
