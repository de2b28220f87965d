import datetime as dt

import polars as pl
import pytest

from recsys_polars.errors import InputError
from recsys_polars.sources import read_interactions

DAY = dt.datetime(2018, 6, 17, tzinfo=dt.UTC)


def time_and_rule(tmp_path, values: pl.Series, **options: str) -> tuple[dt.datetime | None, str | None]:
    path = tmp_path / "x.parquet"
    pl.DataFrame({"user_id": ["u"], "item_id": ["i"], "event_time": values}).write_parquet(path)
    return read_interactions(str(path), **options).files[0].rows.select("event_time", "rule").collect().row(0)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("1529193600", DAY),
        ("1529193600000", DAY),
        ("1529193600000000", DAY),
        ("1529193600000000999", DAY),
        ("1.5291936e9", DAY),
        ("1529193600.25", DAY.replace(microsecond=250_000)),
        (" 2018-06-17 ", DAY),
        ("2018-06-17T00:00", DAY),
        ("2018-06-17 00:00:00.123456789", DAY.replace(microsecond=123_456)),
        ("2018-06-17T00:00:00Z", DAY),
        ("2018-06-17 02:30:00+02:30", DAY),
        ("2018-06-16T19:00:00.000-0500", DAY),
        ("17.06.2018", DAY),
        (" 17.6.2018 00:00", DAY),
        ("1.2.2018 03:04:05", dt.datetime(2018, 2, 1, 3, 4, 5, tzinfo=dt.UTC)),
    ],
)
def test_text_is_a_number_in_four_units_or_iso_8601_or_dotted(tmp_path, text, time):
    assert time_and_rule(tmp_path, pl.Series([text])) == (time, None)


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([DAY.date()]),
        pl.Series([DAY.replace(tzinfo=None)], dtype=pl.Datetime("ns")),
        pl.Series([DAY]).dt.convert_time_zone("Asia/Tokyo").dt.cast_time_unit("ms"),
        pl.Series([1529193600], dtype=pl.UInt32),
        pl.Series([1529193600000], dtype=pl.UInt64),
        pl.Series([1529193600.0]),
        pl.Series([1529193600000000000]),
    ],
)
def test_dates_times_and_numbers_of_any_type_are_microseconds_in_utc(tmp_path, values):
    assert time_and_rule(tmp_path, values) == (DAY, None)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (-5, "event_time: before 1990"),
        (631151999, "event_time: before 1990"),
        (4102444800, "event_time: after tomorrow"),
        (99_999_999_999, "event_time: after tomorrow"),
        (200_000_000_000, "event_time: before 1990"),
        (2**63 - 1, "event_time: after tomorrow"),
        (-(2**63), "event_time: before 1990"),
        (float("nan"), "event_time: not a time"),
        (float("inf"), "event_time: after tomorrow"),
        (None, "event_time: missing"),
        ("2018-02-30", "event_time: not a time"),
        ("2018-06-17T25:00", "event_time: not a time"),
        ("yesterday", "event_time: not a time"),
        ("17.06.18", "event_time: not a time"),
        ("31.02.2018", "event_time: not a time"),
        ("17.06.2018 25:00", "event_time: not a time"),
    ],
)
def test_what_lies_outside_of_1990_to_tomorrow_is_named(tmp_path, value, rule):
    dtype = pl.Int64 if value is None else None
    assert time_and_rule(tmp_path, pl.Series([value], dtype=dtype))[1] == rule


def test_whole_seconds_and_texts_may_be_mixed(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("user_id,item_id,date\nu,i,1529193600\nu,i,2018-06-17\nu,i,17.6.2018\nu,i,never\nu,i,\n")
    found = read_interactions(str(path)).files[0].rows.collect()
    assert found["event_time"].to_list() == [DAY, DAY, DAY, None, None]


def test_a_column_that_can_hold_no_time_is_bad_input(tmp_path):
    with pytest.raises(InputError, match=r"x\.parquet: event_time: expected times .* found Boolean"):
        time_and_rule(tmp_path, pl.Series([True]))


@pytest.mark.parametrize(
    ("text", "time_format", "found"),
    [
        (" 06/17/2018 12:00 AM", "%m/%d/%Y %I:%M %p", (DAY, None)),
        ("20180617", "%Y%m%d", (DAY, None)),
        ("17 Jun 2018 02:30 +0230", "%d %b %Y %H:%M %z", (DAY, None)),
        ("2018-06-17", "%d/%m/%Y", (None, "event_time: not a time")),
        ("1529193600", "%d/%m/%Y", (None, "event_time: not a time")),
        ("17/06/2018 00:00", "%d/%m/%Y", (None, "event_time: not a time")),
        ("17/06/1918", "%d/%m/%Y", (None, "event_time: before 1990")),
        (" ", "%d/%m/%Y", (None, "event_time: missing")),
    ],
)
def test_a_format_of_ones_own_alone_is_read(tmp_path, text, time_format, found):
    assert time_and_rule(tmp_path, pl.Series([text]), time_format=time_format) == found


@pytest.mark.parametrize("time_format", ["", "day", "%", "%Q", "%H:%M", "%m/%Y", "%d/%m/%Y %H", "%d/%m/%Y %H:%M %Z"])
def test_a_format_in_which_no_day_can_be_read_is_refused(tmp_path, time_format):
    with pytest.raises(
        InputError, match=f"--time-format: expected one with day, month and year.*found '{time_format}'"
    ):
        time_and_rule(tmp_path, pl.Series(["x"]), time_format=time_format)


def test_a_format_says_nothing_of_times_and_is_refused_for_numbers(tmp_path):
    assert time_and_rule(tmp_path, pl.Series([DAY]), time_format="%d/%m/%Y") == (DAY, None)
    with pytest.raises(InputError, match="--time-format: expected text, found Int64"):
        time_and_rule(tmp_path, pl.Series([20180617]), time_format="%Y%m%d")
