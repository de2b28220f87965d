"""Parquet columns that Polars panics on when it prints them, and the one kind of name that it can't open."""

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_polars.errors import InputError
from recsys_polars.sources import read_interactions, read_items, reading

NOON = 1_300_104_000
EDGES = [-(2**63), 2**63 - 1]


def interactions(path, times):
    n = len(times)
    pq.write_table(pa.table({"user_id": ["u"] * n, "item_id": ["i"] * n, "event_time": times}), path)
    return read_interactions(str(path)).files[0].rows.collect()


def items(path, **columns):
    pq.write_table(pa.table({"item_id": ["i"], **columns}), path)
    return read_items(str(path)).files[0].rows.collect()


@pytest.mark.parametrize("zone", ["+05:30", "-0800", "Mars/Olympus", "America/New_York", "UTC"])
@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("us", 10**6), ("ns", 10**9)])
def test_a_time_is_the_stored_moment_whatever_its_zone_is_called(tmp_path, capfd, zone, unit, factor):
    rows = interactions(tmp_path / "x.parquet", pa.array([NOON * factor], pa.timestamp(unit, zone)))
    assert rows["rule"].to_list() == [None]
    assert rows["event_time"].dt.epoch("s").to_list() == [NOON]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "times",
    [pa.array(EDGES, pa.timestamp(unit, zone)) for unit in ("ms", "us") for zone in (None, "UTC", "+05:30")]
    + [pa.array([-(2**31), 2**31 - 1], pa.date32())],
    ids=str,
)
def test_times_beyond_the_calendar_are_rejects_like_any_other(tmp_path, capfd, times):
    rows = interactions(tmp_path / "x.parquet", times)
    assert rows["rule"].to_list() == ["event_time: before 1990", "event_time: after tomorrow"]
    assert [found[:4] for found in rows["found"]] == ["0001", "9999"]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "value",
    [
        pa.array([[2**63 - 1]], pa.list_(pa.timestamp("us"))),
        pa.array([[2**63 - 1]], pa.list_(pa.timestamp("ms", "+01:00"), 1)),
        pa.array([{"a": [2**31 - 1]}], pa.struct([("a", pa.list_(pa.date32()))])),
    ],
    ids=str,
)
def test_times_within_lists_and_structs_are_read_as_the_numbers_that_they_are(tmp_path, capfd, value):
    number = 2**31 - 1 if pa.types.is_struct(value.type) else 2**63 - 1
    assert str(number) in items(tmp_path / "x.parquet", title=value)["title"].item()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("value", [pa.array([[b"\xff"]]), pa.array([{"a": [{"b": b"\xff"}]}])], ids=str)
def test_bytes_within_lists_and_structs_are_no_text(tmp_path, value):
    with pytest.raises(InputError, match="title: expected text, found bytes in a list or struct"):
        items(tmp_path / "x.parquet", title=value)


def test_a_footer_whose_pages_lie_outside_of_the_file_is_damaged(tmp_path, capfd):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"user_id": ["u"], "item_id": ["i"], "event_time": [NOON]}), path, compression="none")
    chunk, data = pq.read_metadata(path).row_group(0).column(2), path.read_bytes()
    size = chunk.total_compressed_size
    assert size < 2**13  # two bytes as a zigzag varint
    says = bytes([(2 * size & 127) | 128, 2 * size >> 7])
    negative = bytes([((2 * size - 1) & 127) | 128, (2 * size - 1) >> 7])
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    assert says in data[footer:]
    path.write_bytes(data[:footer] + data[footer:].replace(says, negative))
    with pytest.raises(InputError, match="expected a Parquet file, found a damaged one"):
        read_interactions(str(path))
    assert "panicked" not in capfd.readouterr().err


@pytest.mark.parametrize("kind", [pa.list_(pa.float32(), 0), pa.list_(pa.list_(pa.int8(), 0))], ids=str)
def test_arrays_of_no_width_are_no_values(tmp_path, capfd, kind):
    with pytest.raises(InputError, match="price: expected values, found arrays of width 0"):
        items(tmp_path / "x.parquet", price=pa.array([[]], kind))
    assert "panicked" not in capfd.readouterr().err


def test_a_file_whose_name_is_no_utf8_is_to_be_renamed(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff.csv")
    path.write_text("user_id,item_id,event_time\nu,i,1300104000\n")
    for pattern in (str(path), str(tmp_path), f"{tmp_path}/*.csv"):
        with pytest.raises(InputError, match="a file whose name is UTF-8"):
            read_interactions(pattern)


def test_a_stray_quote_is_named_as_what_is_wrong(write):
    file = read_interactions(write("x.csv", 'user_id,item_id,event_time\nu,5" i,1300104000\nu,i,1300104000\n')).files[0]
    with pytest.raises(InputError, match="a quote too many or too few"), reading(file.path):
        file.rows.collect()
