"""Event times: numbers in four units, ISO 8601 text, dates and times of any type -> microseconds in UTC."""

from datetime import UTC, datetime, timedelta

import polars as pl

from recsys_polars.errors import InputError
from recsys_polars.sources.raw import RawFile, raw_column
from recsys_polars.tables import EventTime

EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
_BARELY_SECONDS = 10**11
_ISO = (
    r"^(?P<date>\d{4}-\d{2}-\d{2})"
    r"(?:[T ](?P<minute>\d{2}:\d{2})(?P<second>:\d{2})?(?:[.,](?P<fraction>\d+))?)?"
    r" ?(?:Z|z|UTC|(?P<sign>[+-])(?P<hours>\d{2}):?(?P<minutes>\d{2})?)?$"
)


def tomorrow() -> datetime:
    """Return this moment a day later: clocks and zones differ, but nothing happens later than that."""
    return datetime.now(UTC) + timedelta(days=1)


def event_time(raw: RawFile, name: str, *, latest: datetime) -> pl.Expr:
    """Return the raw column as `EventTime`; null where it is no time at all.

    Numbers, and text that is a number, are seconds, milliseconds, microseconds or nanoseconds since 1970: each value
    is in the unit in which it falls between 1990 and `latest`. One that falls there in no unit is read as seconds below
    1e11, else as milliseconds, and so stays out of the range. Text and times without a zone are UTC.

    Raises:
        InputError: for a column of a type that can't be a time.
    """
    dtype, column = raw.type_of(name), raw_column(name)
    if dtype == pl.String:
        return column.map_batches(lambda texts: _from_text(texts, latest), return_dtype=EventTime, is_elementwise=True)
    if dtype == pl.Date or (isinstance(dtype, pl.Datetime) and dtype.time_zone is None):
        return column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if isinstance(dtype, pl.Datetime):
        return column.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    if dtype.is_integer():
        return _from_number(column.cast(pl.Int64, strict=False), latest)
    if dtype.is_float() or dtype.is_decimal():
        return _from_number(column.cast(pl.Float64), latest)
    raise InputError(f"{raw.path}: {name}: expected times (numbers, ISO 8601 text, dates), found {dtype}")


def _from_text(texts: pl.Series, latest: datetime) -> pl.Series:
    text = pl.col("text").str.strip_chars()
    frame = texts.alias("text").to_frame().select(text, value=text.cast(pl.Int64, strict=False))
    frame = frame.select("text", time=_from_number(pl.col("value"), latest))
    if frame["time"].null_count() == frame["text"].null_count():
        return frame["time"].alias(texts.name)
    # Rare and dear, so only where a text is no whole number.
    value = pl.col("text").cast(pl.Float64, strict=False)
    other = frame.select(value=value, iso=_from_iso(pl.col("text")))
    time = other.select(pl.coalesce(_from_number(pl.col("value"), latest), "iso")).to_series()
    return frame["time"].fill_null(time).alias(texts.name)


def _from_number(value: pl.Expr, latest: datetime) -> pl.Expr:
    start, end = EARLIEST.timestamp(), latest.timestamp()
    # Clipped so that nothing out of range can wrap around into it: 1e17 microseconds is the year 5138.
    seconds, millis = value.clip(-_BARELY_SECONDS, _BARELY_SECONDS), value.clip(upper_bound=10**14)
    micros = (
        pl.when(value.is_between(start * 1e3, end * 1e3))
        .then(millis * 1_000)
        .when(value.is_between(start * 1e6, end * 1e6))
        .then(value)
        .when(value.is_between(start * 1e9, end * 1e9))
        .then(value // 1_000)
        .when(value < _BARELY_SECONDS)
        .then(seconds * 1_000_000)
        .when(value >= _BARELY_SECONDS)
        .then(millis * 1_000)
    )
    return micros.round().cast(pl.Int64, strict=False).cast(EventTime)


def _from_iso(text: pl.Expr) -> pl.Expr:
    parts = text.str.extract_groups(_ISO).struct
    iso = pl.concat_str(
        parts.field("date"),
        pl.lit("T"),
        parts.field("minute").fill_null("00:00"),
        parts.field("second").fill_null(":00"),
        pl.lit("."),
        parts.field("fraction").fill_null("0").str.slice(0, 6).str.pad_end(6, "0"),
        parts.field("sign").fill_null("+"),
        parts.field("hours").fill_null("00"),
        parts.field("minutes").fill_null("00"),
    )
    return iso.str.to_datetime("%Y-%m-%dT%H:%M:%S%.6f%z", time_unit="us", strict=False).dt.convert_time_zone("UTC")
