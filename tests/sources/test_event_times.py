import datetime as dt

import polars as pl
import pytest

from recsys_polars.errors import InputError
from recsys_polars.sources import read_interactions

DAY = dt.datetime(2018, 6, 17, tzinfo=dt.UTC)


def time_and_rule(tmp_path, values: pl.Series) -> tuple[dt.datetime | None, str | None]:
    path = tmp_path / "x.parquet"
    pl.DataFrame({"user_id": ["u"], "item_id": ["i"], "event_time": values}).write_parquet(path)
    return read_interactions(str(path)).files[0].rows.select("event_time", "rule").collect().row(0)


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
    ],
)
def test_text_is_a_number_in_four_units_or_iso_8601(tmp_path, text, time):
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
    ],
)
def test_what_lies_outside_of_1990_to_tomorrow_is_named(tmp_path, value, rule):
    dtype = pl.Int64 if value is None else None
    assert time_and_rule(tmp_path, pl.Series([value], dtype=dtype))[1] == rule


def test_whole_seconds_and_texts_may_be_mixed(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("user_id,item_id,date\nu,i,1529193600\nu,i,2018-06-17\nu,i,never\nu,i,\n")
    found = read_interactions(str(path)).files[0].rows.collect()
    assert found["event_time"].to_list() == [DAY, DAY, None, None]


def test_a_column_that_can_hold_no_time_is_bad_input(tmp_path):
    with pytest.raises(InputError, match=r"x\.parquet: event_time: expected times .* found Boolean"):
        time_and_rule(tmp_path, pl.Series([True]))
