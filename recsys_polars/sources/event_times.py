"""Event times: numbers in four units, ISO 8601 and dotted text, dates and times -> microseconds in UTC."""

from datetime import UTC, datetime, timedelta

import polars as pl

from recsys_polars.errors import InputError
from recsys_polars.sources.files import printable
from recsys_polars.sources.raw import RawFile, raw_column
from recsys_polars.tables import EventTime

EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
_BARELY_SECONDS = 10**11
_ISO = (
    r"^(?P<date>\d{4}-\d{2}-\d{2})"
    r"(?:[T ](?P<minute>\d{2}:\d{2})(?P<second>:\d{2})?(?:[.,](?P<fraction>\d+))?)?"
    r" ?(?:Z|z|UTC|(?P<sign>[+-])(?P<hours>\d{2}):?(?P<minutes>\d{2})?)?$"
)
_DOTTED = r"^(?P<date>\d{1,2}\.\d{1,2}\.\d{4})(?: (?P<minute>\d{2}:\d{2})(?P<second>:\d{2})?)?$"
_SAMPLE = datetime(2001, 3, 2, 16, 5, 6, tzinfo=UTC)


def tomorrow() -> datetime:
    """Return this moment a day later: clocks and zones differ, but nothing happens later than that."""
    return datetime.now(UTC) + timedelta(days=1)


def check_time_format(time_format: str) -> None:
    """Check that a day can be written in this format and read back.

    Raises:
        InputError: Polars doesn't know it, it leaves out the day, month or year, or it names zones, which aren't read.
    """
    try:
        written = pl.Series([_SAMPLE]).dt.strftime(time_format)
        is_read = _in_format(written, time_format).dt.date().item() == _SAMPLE.date()
    except pl.exceptions.PolarsError:
        is_read = False
    if not is_read or "%Z" in time_format:
        raise InputError(
            "--time-format: expected one with day, month and year, such as '%d/%m/%Y %H:%M', zones as %z, "
            f"found {printable(time_format)!r}"
        )


def event_time(raw: RawFile, name: str, *, latest: datetime, time_format: str | None = None) -> pl.Expr:
    """Return the raw column as `EventTime`; null where it is no time at all.

    Numbers, and text that is a number, are seconds, milliseconds, microseconds or nanoseconds since 1970: each value
    is in the unit in which it falls between 1990 and `latest`. One that falls there in no unit is read as seconds below
    1e11, else as milliseconds, and so stays out of the range. Text and times without a zone are UTC. Other text is
    ISO 8601 or day first, `31.12.2024 18:30`; with `time_format` all text is in that format, and numbers are none.

    Raises:
        InputError: for a column of a type that can't be a time, or not one in this format.
    """
    dtype, column = raw.type_of(name), raw_column(name)
    if dtype == pl.String:
        return column.map_batches(
            lambda texts: _in_format(texts, time_format) if time_format else _from_text(texts, latest),
            return_dtype=EventTime,
            is_elementwise=True,
        )
    if dtype == pl.Date or (isinstance(dtype, pl.Datetime) and dtype.time_zone is None):
        return column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    if isinstance(dtype, pl.Datetime):
        return column.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    if time_format:
        raise InputError(f"{raw.path}: {name}: --time-format: expected text, found {dtype}")
    if dtype.is_integer():
        return _from_number(column.cast(pl.Int64, strict=False), latest)
    if dtype.is_float() or dtype.is_decimal():
        return _from_number(column.cast(pl.Float64), latest)
    raise InputError(f"{raw.path}: {name}: expected times (numbers, ISO 8601 text, dates), found {dtype}")


def _in_format(texts: pl.Series, time_format: str) -> pl.Series:
    times = texts.str.strip_chars().str.to_datetime(time_format, time_unit="us", strict=False)
    return times.dt.replace_time_zone("UTC") if times.dtype == pl.Datetime("us") else times


def _from_text(texts: pl.Series, latest: datetime) -> pl.Series:
    text = pl.col("text").str.strip_chars()
    frame = texts.alias("text").to_frame().select(text, value=text.cast(pl.Int64, strict=False))
    frame = frame.select("text", time=_from_number(pl.col("value"), latest))
    if frame["time"].null_count() == frame["text"].null_count():
        return frame["time"].alias(texts.name)
    # Rare and dear, so only where a text is no whole number.
    value = pl.col("text").cast(pl.Float64, strict=False)
    other = frame.select("text", value=value, iso=_from_iso(pl.col("text")))
    other = other.select("text", time=pl.coalesce(frame["time"], _from_number(pl.col("value"), latest), "iso"))
    if other["time"].null_count() > other["text"].null_count():
        unread = pl.when(pl.col("time").is_null()).then("text")
        other = other.select(time=pl.coalesce("time", _from_dotted(unread)))
    return other["time"].alias(texts.name)


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


def _from_dotted(text: pl.Expr) -> pl.Expr:
    parts = text.str.extract_groups(_DOTTED).struct
    minute, second = parts.field("minute").fill_null("00:00"), parts.field("second").fill_null(":00")
    dotted = pl.concat_str(parts.field("date"), pl.lit(" "), minute, second)
    return dotted.str.to_datetime("%d.%m.%Y %H:%M:%S", time_unit="us", strict=False).dt.replace_time_zone("UTC")
