"""Interactions: what users did, one parsed row per raw row, good or bad."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

import polars as pl

from recsys_polars.errors import InputError
from recsys_polars.sources.detecting import common_layout
from recsys_polars.sources.event_times import EARLIEST, check_time_format, event_time, tomorrow
from recsys_polars.sources.files import find_files
from recsys_polars.sources.formats import INTERACTIONS, ITEMS, Layout, Names, check_options, resolve
from recsys_polars.sources.opening import open_raw
from recsys_polars.sources.raw import RawFile, without_last_blank
from recsys_polars.sources.reading import ParsedFile, reading
from recsys_polars.sources.values import as_text, first_broken, id_text, number


@dataclass(frozen=True)
class ParsedInteractions:
    """Files of interactions: the columns of `Interactions`, then file String, line Int64, rule and found String."""

    files: list[ParsedFile]
    format: str
    implicit: bool
    mapped: frozenset[str]
    """Which of the mapped columns of ours were found in a file."""
    left_out: list[str]
    """Columns of the files that became nothing."""


def read_interactions(
    pattern: str,
    *,
    format: str = "auto",  # noqa: A002
    columns: Mapping[str, str] = MappingProxyType({}),
    implicit: bool = False,
    time_format: str | None = None,
) -> ParsedInteractions:
    """Open files of interactions; nothing but their beginnings is read.

    Args:
        pattern: a file, a glob or a folder, from which `INTERACTIONS.file_names` are taken if it has any.
        format: one of `FORMATS`.
        columns: ours -> theirs; those that a file lacks are ignored for that file.
        implicit: whether to leave ratings out. Where no file has any they are left out anyway.
        time_format: of times that are text, as strftime has it.

    Returns:
        One `ParsedFile` a file. A rule is broken where an id is missing, where a rating is no finite number in the
        format's range, and where an event time is none or lies outside of 1990 to tomorrow.

    Raises:
        InputError: where no file is found, one can't be opened, or lacks columns; where only some have ratings; for a
            format that no time has.
    """
    check_options(format, columns)
    if time_format is not None:
        check_time_format(time_format)
    paths = find_files(pattern, prefer=INTERACTIONS.file_names, avoid=ITEMS.file_names)
    raws = [open_raw(path) for path in paths]
    without = frozenset({"rating"}) if implicit else frozenset[str]()
    layout = common_layout(raws, INTERACTIONS, format, columns, without=without)
    names = [resolve(raw, INTERACTIONS, layout, columns) for raw in raws]
    no_ratings = implicit or not _have_ratings(raws, names)
    files = []
    for raw, ours in zip(raws, names, strict=True):
        with reading(raw.path):
            rows = _parsed(raw, layout, ours, implicit=no_ratings, time_format=time_format)
            files.append(ParsedFile(raw.path, rows))
    mapped = frozenset(o for o in INTERACTIONS.columns for raw in raws if columns.get(o) in raw.columns)
    used = {name for ours in names for theirs in ours.values() for name in theirs}
    left_out = [name for name in dict.fromkeys(name for raw in raws for name in raw.columns) if name not in used]
    return ParsedInteractions(files, layout.format, no_ratings, mapped, left_out)


def _have_ratings(raws: list[RawFile], names: list[Names]) -> bool:
    lacking = [str(raw.path) for raw, ours in zip(raws, names, strict=True) if "rating" not in ours]
    if lacking and len(lacking) < len(raws):
        raise InputError(f"rating: expected a column in every file or in none, found none in {', '.join(lacking)}")
    return not lacking


def _parsed(raw: RawFile, layout: Layout, names: Names, *, implicit: bool, time_format: str | None) -> pl.LazyFrame:
    theirs = {ours: columns[0] for ours, columns in names.items() if not (implicit and ours == "rating")}
    latest = tomorrow()
    text = {ours: as_text(raw, name) for ours, name in theirs.items()}
    rating = pl.lit(None, pl.Float64) if implicit else number(raw, theirs["rating"])
    rule, found = first_broken(
        [
            (pl.col("user_id").is_null(), "user_id: missing", text["user_id"]),
            (pl.col("item_id").is_null(), "item_id: missing", text["item_id"]),
            *([] if implicit else _rating_checks(text["rating"], layout)),
            *_time_checks(text["event_time"], latest),
        ]
    )
    values = raw.scan(tuple(dict.fromkeys(theirs.values()))).with_columns(
        id_text(raw, theirs["user_id"]).alias("user_id"),
        id_text(raw, theirs["item_id"]).alias("item_id"),
        rating.alias("rating"),
        event_time(raw, theirs["event_time"], latest=latest, time_format=time_format).alias("event_time"),
    )
    parsed = values.with_columns(rule.alias("rule"), found.alias("found")).select(
        "user_id",
        "item_id",
        _unsigned_zero(pl.col("rating").cast(pl.Float32)),
        # A time out of range is in `found`; here it could be one that Python has no date for.
        pl.when(pl.col("event_time").is_between(EARLIEST, latest)).then("event_time"),
        pl.lit(str(raw.path)).alias("file"),
        "line",
        "rule",
        "found",
    )
    return without_last_blank(parsed, raw)


def _unsigned_zero(rating: pl.Expr) -> pl.Expr:
    """0.0 for -0.0: ratings that tie must have the same bytes. Polars does away with a sum of 0.0."""
    return pl.when(rating == 0).then(pl.lit(0.0, pl.Float32)).otherwise(rating).alias("rating")


def _rating_checks(text: pl.Expr, layout: Layout) -> list[tuple[pl.Expr, str, pl.Expr]]:
    rating = pl.col("rating")
    checks = [
        (text.str.strip_chars().fill_null("") == "", "rating: missing", text),
        (rating.is_null() | rating.is_nan(), "rating: not a number", text),
        (rating.cast(pl.Float32).is_infinite(), "rating: not finite", text),
    ]
    if layout.rating_range:
        lowest, highest = layout.rating_range
        checks.append((rating < lowest, f"rating: below {lowest:g}", text))
        checks.append((rating > highest, f"rating: above {highest:g}", text))
    return checks


def _time_checks(text: pl.Expr, latest: datetime) -> list[tuple[pl.Expr, str, pl.Expr]]:
    time = pl.col("event_time")
    return [
        (text.str.strip_chars().fill_null("") == "", "event_time: missing", text),
        (time.is_null(), "event_time: not a time", text),
        (time < EARLIEST, "event_time: before 1990", text),
        (time > latest, "event_time: after tomorrow", text),
    ]
