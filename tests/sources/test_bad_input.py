"""What no rule for rows can mend: one message that names the file, what was expected and what was found."""

import gzip
import os
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from recsys_polars.errors import InputError
from recsys_polars.sources import find_files, read_interactions, read_items, reading

HEADER = "user_id,item_id,event_time\n"
ROW = "u1,i1,1297512000\n"


def collect(path: str) -> pl.DataFrame:
    file = read_interactions(path).files[0]
    with reading(file.path):
        return file.rows.collect()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", b"", "expected rows, found an empty file"),
        ("x.csv", b"\n \n", "expected rows, found only blank lines"),
        ("x.json.gz", gzip.compress(b""), "expected rows, found an empty file"),
        ("x.csv.gz", gzip.compress((HEADER + ROW * 99).encode())[:-12], "expected a whole compressed file"),
        ("x.csv.zst", pa.compress((HEADER + ROW).encode(), "zstd", asbytes=True)[:-3], "expected a whole compressed"),
        ("x.csv.gz", b"\x1f\x8bno gzip at all", "expected gzip or zstd data, found damaged bytes"),
        ("x.csv", HEADER.encode() + b"\xff\xfe,i1,1\n", "expected text in UTF-8, found other bytes"),
        ("x.csv", HEADER.encode("utf-16"), "expected text in UTF-8, found UTF-16"),
        ("x.json", b'{"user_id": "\xff", "item_id": "i", "date": 1}\n', "expected text in UTF-8"),
        ("x.csv", (HEADER + ROW + '"u"2,i1,1\n').encode(), 'line 3: expected a field whose quotes .* found "u"2'),
        ("x.csv", (HEADER + ROW + '"u,i1,1\n' + ROW).encode(), "line 3: expected a field whose quotes are closed"),
        ("x.csv.gz", gzip.compress((HEADER + '"u,i1,1\n').encode()), "line 2: expected a field whose quotes"),
        ("x.csv", b"user_id,user_id,item_id,date\n", "each column once in the header, found user_id more than once"),
        ("x.parquet", b"PAR1 but no more", "expected a Parquet file, found a damaged one"),
        ("x.parquet", b"a,b\n", "expected a Parquet file"),
        ("x.json", b"[{}]", "expected one JSON object a line, found the beginning of a list"),
        ("x.json", b"hello\n", "expected one JSON object a line, found hello"),
        ("x.json", b'{\n "a": 1\n}\n', r"expected one JSON object a line, found \{"),
    ],
)
def test_a_file_that_cannot_be_read_says_what_was_expected(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        collect(str(tmp_path / name))
    assert str(error.value).startswith(str(tmp_path / name))
    assert "\n" not in str(error.value)


def test_a_truncated_archive_is_found_before_its_rows_are_read(tmp_path):
    path = tmp_path / "x.csv.gz"
    rows = "".join(f"u{n * 7919 % 99991},i{n},1297512000\n" for n in range(400_000))
    path.write_bytes(gzip.compress((HEADER + rows).encode(), compresslevel=1)[:-100])
    with pytest.raises(InputError, match="was the download cut short"):
        read_interactions(str(path))


def test_a_file_that_has_gone_is_named(write):
    path = write("x.csv", HEADER + ROW)
    found = read_interactions(path)
    Path(path).unlink()
    with pytest.raises(InputError, match=r"x\.csv: no such file"), reading(path):
        found.files[0].rows.collect()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(write):
    path = write("x.csv", HEADER + ROW)
    Path(path).chmod(0)
    with pytest.raises(InputError, match=r"x\.csv: can't be read: permission denied"):
        read_interactions(path)


def test_a_full_disk_is_not_blamed_on_the_input():
    with pytest.raises(OSError, match="No space left"), reading("x.csv"):
        raise OSError(28, "No space left on device")


def test_an_unknown_format_lists_what_each_expects_and_what_was_found(write):
    path = write("x.csv", "usr,itm,day\na,b,c\n")
    with pytest.raises(InputError, match=r"amazon-2018: reviewerID, asin, .*generic: user_id .* found the columns usr"):
        read_interactions(path)


def test_wrong_columns_for_a_named_format_say_what_is_missing(write):
    path = write("x.csv", "reviewerID,asin,Overall,unixReviewTime\na,b,5,1\n")
    with pytest.raises(InputError, match=r"x\.csv: .* found no overall among .*: did you mean Overall\?"):
        read_interactions(path, format="amazon-2018")


def test_all_files_with_wrong_columns_are_named_at_once(write, tmp_path):
    write("a.csv", "x,y\n1,2\n")
    write("b.csv", "z,y\n1,2\n")
    with pytest.raises(InputError, match=r"a\.csv: .*; .*b\.csv: "):
        read_interactions(str(tmp_path / "*.csv"), format="generic")


def test_ratings_without_a_header_are_not_read_in_the_wrong_order(write):
    path = write("x.csv", "0000031887,A1KLRMWW2FWPL4,5.0,1297512000\n")
    with pytest.raises(InputError, match=r"expected amazon-2014, found .* looks like amazon-2018"):
        read_interactions(path, format="amazon-2014")


def test_two_columns_with_an_equal_claim_are_not_guessed(write):
    path = write("x.csv", "user,item_id,time,date\na,b,1,2\n")
    with pytest.raises(InputError, match=r"event_time: expected one column, found time and date: choose with --column"):
        read_interactions(path)


def test_files_of_two_formats_are_not_mixed(write, tmp_path):
    write("a.csv", HEADER + ROW)
    write("b.csv", "userId,movieId,rating,timestamp\n1,2,3,1297512000\n")
    with pytest.raises(InputError, match=r"files of one format, found .*a\.csv: generic; .*b\.csv: movielens"):
        read_interactions(str(tmp_path / "*.csv"))


def test_files_with_and_without_ratings_are_not_mixed(write, tmp_path):
    write("a.csv", HEADER + ROW)
    write("b.csv", "user_id,item_id,event_time,rating\nu,i,1297512000,3\n")
    with pytest.raises(InputError, match=r"rating: expected a column in every file or in none, found none in .*a\.csv"):
        read_interactions(str(tmp_path / "*.csv"))
    assert read_interactions(str(tmp_path / "*.csv"), implicit=True).implicit


def test_unknown_options_are_named_with_their_nearest_neighbour(write):
    with pytest.raises(
        InputError, match=r"did you mean amazon-2018\?; column: .* found usr_id: did you mean user_id\?"
    ):
        read_interactions("x", format="amazon2018", columns={"usr_id": "x"})


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("user_id", pl.Series([[1]]), "user_id: expected text or whole numbers as ids, found List"),
        ("item_id", pl.Series([b"x"]), "item_id: expected text, found bytes"),
        ("rating", pl.Series([["x"]]), "rating: expected numbers, found List"),
    ],
)
def test_a_column_of_an_impossible_type_is_named(tmp_path, column, values, message):
    row = {"user_id": ["u"], "item_id": ["i"], "rating": [1.0], "event_time": [1297512000]}
    pl.DataFrame(row | {column: values}).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(InputError, match=message):
        read_interactions(str(tmp_path / "x.parquet"))


def test_fractions_are_no_ids_but_whole_floats_are(tmp_path):
    rows = {"user_id": [7.0, 7.5, float("nan")], "item_id": [1, 2, 3], "event_time": [1297512000] * 3}
    pl.DataFrame(rows).write_parquet(tmp_path / "x.parquet")
    found = read_interactions(str(tmp_path / "x.parquet")).files[0].rows.collect()
    assert found["user_id"].to_list() == ["7", None, None]
    assert found["found"].to_list() == [None, "7.5", "NaN"]


class TestFindFiles:
    def test_a_glob_gives_its_files_sorted(self, tmp_path):
        for name in ("b.csv", "a.csv", "c.txt"):
            (tmp_path / name).touch()
        assert [path.name for path in find_files(str(tmp_path / "*.csv"))] == ["a.csv", "b.csv"]

    def test_a_name_with_brackets_is_taken_as_it_is(self, tmp_path):
        (tmp_path / "x[1].csv").write_text(HEADER + ROW)
        assert collect(str(tmp_path / "x[1].csv")).height == 1

    def test_a_folder_gives_data_files_and_no_others(self, tmp_path):
        for name in ("part.parquet", "_SUCCESS", ".x.csv", "README.md", "meta_X.json.gz"):
            (tmp_path / name).touch()
        assert [path.name for path in find_files(str(tmp_path), avoid=("meta*",))] == ["part.parquet"]

    @pytest.mark.parametrize("pattern", ["none.csv", "*.csv", "folder", os.devnull])
    def test_nothing_found_is_bad_input(self, tmp_path, monkeypatch, pattern):
        monkeypatch.chdir(tmp_path)
        Path("folder").mkdir()
        with pytest.raises(InputError, match=f"^{pattern}: expected .*, found none".replace("*.csv", r"\*\.csv")):
            find_files(pattern)


def test_an_unmatched_mapping_is_no_error_here(write):
    found = read_items(write("x.csv", "item_id,title\ni,t\n"), columns={"brand": "maker", "user_id": "title"})
    assert found.mapped == frozenset()
