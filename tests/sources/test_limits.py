"""What would exhaust memory is refused by name, before its rows are read; what only looks like it is read."""

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_polars.errors import InputError
from recsys_polars.sources import check_parquet, check_text, limits, read_interactions

MEGABYTE = 1 << 20
HEADER = "user_id,item_id,event_time\n"
ROW = "u1,i1,1297512000\n"


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.csv.zst", "x.jsonl.gz", "x.dat"])
def test_a_line_without_an_end_is_refused_with_its_number(write, name):
    path = write(name, HEADER + ROW + "x" * (4 * MEGABYTE))
    with pytest.raises(InputError, match=r"x\.\S+: expected lines of at most 2 MB, found a longer one: line 3$"):
        check_text(Path(path), max_line=2 * MEGABYTE)


def test_a_line_that_crosses_many_chunks_and_ends_in_time_is_fine(write):
    check_text(Path(write("x.csv", (HEADER + "x" * MEGABYTE + "\n") * 4)), max_line=2 * MEGABYTE)


def test_a_quote_that_is_never_closed_is_found_with_its_line_before_the_rest_becomes_one_field(write):
    path = Path(write("x.csv.gz", HEADER + ROW + 'u1,"i1,1\n' + ROW * 300_000))
    with pytest.raises(InputError, match="longer one: line 3, where a quote is not closed"):
        check_text(path, quoted=True, max_line=2 * MEGABYTE)
    check_text(path, max_line=2 * MEGABYTE)  # in a file without quoting it is a letter like any other


@given(
    lines=st.lists(
        st.sampled_from(["a", "b,c", '"d"', '"e\nf"', '"g""h"', "", '"\n\n"', "é"]), min_size=1, max_size=30
    ),
    chunk=st.integers(1, 7),
)
def test_quoted_text_whose_lines_are_short_passes_wherever_the_chunks_end(tmp_path_factory, lines, chunk):
    path = tmp_path_factory.mktemp("x") / "x.csv"
    path.write_text("\n".join(lines) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "_CHUNK", chunk)
        check_text(path, quoted=True, max_line=6 + 2 * chunk)


@pytest.mark.parametrize("n_members", [1, 5])
def test_an_archive_that_swells_is_refused_however_many_members_it_has(tmp_path, n_members):
    path = tmp_path / "x.csv.gz"
    path.write_bytes(gzip.compress(ROW.encode() * 100_000) * n_members)
    with pytest.raises(InputError, match="decompresses to 200 times its size at most, found more than"):
        check_text(path, always_fine=MEGABYTE)


@pytest.mark.parametrize("suffix", [".csv.gz", ".csv.zst"])
def test_an_archive_that_compresses_as_logs_do_is_read(write, suffix):
    rows = "".join(f"u{n * 7919 % 997},i{n % 89},{1297512000 + n}\n" for n in range(100_000))
    path = write(f"x{suffix}", HEADER + rows)
    check_text(Path(path), always_fine=MEGABYTE)
    assert read_interactions(path).files[0].rows.select(pl.len()).collect().item() == 100_000


def parquet(path: Path, *, rows: int, row_group: int) -> Path:
    one = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), ["u"])
    times = pa.array(np.full(rows, 1297512000))
    pq.write_table(pa.table({"user_id": one, "item_id": one, "event_time": times}), path, row_group_size=row_group)
    return path


def test_a_parquet_file_of_countless_equal_rows_is_refused(tmp_path):
    path = parquet(tmp_path / "x.parquet", rows=1_000_000, row_group=100_000)
    check_parquet(path, ["user_id", "item_id"])
    with pytest.raises(InputError, match="grow to 200 times the file's size at most, found 31 MB in"):
        check_parquet(path, ["user_id", "item_id"], always_fine=MEGABYTE)


def test_a_parquet_file_with_one_vast_row_group_is_asked_for_smaller_ones(tmp_path):
    path = parquet(tmp_path / "x.parquet", rows=1_000_000, row_group=1_000_000)
    with pytest.raises(InputError, match="row groups of 8 MB at most, found one of 31 MB: write the file with smaller"):
        check_parquet(path, ["user_id", "item_id"], max_group=8 * MEGABYTE)
    check_parquet(path, ["event_time"], max_group=8 * MEGABYTE)


def test_columns_that_are_not_read_do_not_count(tmp_path):
    path = tmp_path / "x.parquet"
    wide = pl.DataFrame({"user_id": ["u"] * 9, "a.b": [[0.0] * 50_000] * 9})
    wide.write_parquet(path)
    check_parquet(path, ["user_id"], max_group=1_000)
    with pytest.raises(InputError, match="row groups"):
        check_parquet(path, ["a.b"], max_group=1_000)


def test_a_million_columns_are_refused_at_once(write):
    header = ",".join(map(str, range(400_000)))
    with pytest.raises(InputError, match="at most 20,000 columns, found 400,000"):
        read_interactions(write("x.csv", f"{header}\n"))
    with pytest.raises(InputError, match="at most 20,000 columns, found 30,000"):
        read_interactions(write("x.jsonl", "{" + ", ".join(f'"x{n}": 1' for n in range(30_000)) + "}\n"))
