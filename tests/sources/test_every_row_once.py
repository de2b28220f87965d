"""Nothing vanishes: each raw row comes out once, accepted or with a rule."""

import csv
import gzip
import io
import json
import math
from pathlib import Path

import polars as pl
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from recsys_polars.errors import InputError
from recsys_polars.sources import read_interactions, read_items, reading

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x00"), max_size=8)
RATINGS = st.sampled_from(["5", "0", "-1", "nan", "inf", "", "x", " 3 ", "1e99"])
TIMES = st.sampled_from(["1297512000", "1297512000000", "2011-02-12", "0", "", "soon", "9999999999999"])
ROWS = st.lists(st.tuples(TEXT, TEXT, RATINGS, TIMES), min_size=1, max_size=30)
NAMES = ("user_id", "item_id", "rating", "event_time")
FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def is_good(row: tuple[str, ...]) -> bool:
    user, item, rating, time = row
    try:
        finite = math.isfinite(float(rating)) and abs(float(rating)) < 1e38
    except ValueError:
        finite = False
    return bool(user and item and finite and time in {"1297512000", "1297512000000", "2011-02-12"})


@FEW
@given(rows=ROWS)
@example(rows=[("a\nb", 'say "x"', "5", "1297512000"), ("", "", "", "")])
def test_every_row_of_a_csv_comes_out_exactly_once(tmp_path: Path, rows: list[tuple[str, ...]]):
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([NAMES, *rows])
    (tmp_path / "x.csv").write_text(buffer.getvalue(), newline="")
    found = read_interactions(str(tmp_path / "x.csv")).files[0].rows.collect()
    assert found["line"].to_list() == list(range(2, len(rows) + 2))
    assert found["rule"].is_null().to_list() == [is_good(row) for row in rows]
    assert found["user_id"].fill_null("").to_list() == [row[0] for row in rows]
    assert found["item_id"].fill_null("").to_list() == [row[1] for row in rows]


@FEW
@given(rows=ROWS)
def test_every_line_of_json_comes_out_exactly_once(tmp_path: Path, rows: list[tuple[str, ...]]):
    text = "".join(json.dumps(dict(zip(NAMES, row, strict=True))) + "\n" for row in rows)
    (tmp_path / "x.jsonl").write_text(text)
    found = read_interactions(str(tmp_path / "x.jsonl")).files[0].rows.collect()
    assert found["line"].to_list() == list(range(1, len(rows) + 1))
    assert found["rule"].is_null().to_list() == [is_good(row) for row in rows]
    assert found["user_id"].fill_null("").to_list() == [row[0] for row in rows]


def test_rows_with_line_breaks_survive_where_polars_splits_the_file(tmp_path):
    frame = pl.DataFrame({"n": range(60_000)}).select(
        pl.format('u{}\n,"', "n").alias("user_id"), pl.format("i{}", "n").alias("item_id"), event_time=1297512000
    )
    frame.write_csv(tmp_path / "x.csv")
    found = read_interactions(str(tmp_path / "x.csv")).files[0].rows.collect()
    assert found["rule"].null_count() == 60_000
    assert found.sort("line")["user_id"].equals(frame["user_id"])


def parquet_bytes() -> bytes:
    buffer = io.BytesIO()
    rows = {"user_id": list("abcdefghi"), "item_id": range(9), "event_time": [1297512000] * 9, "emb": [[1.0, 2.0]] * 9}
    pl.DataFrame(rows).write_parquet(buffer)
    return buffer.getvalue()


SEEDS = (
    ("x.csv", b'user_id,item_id,rating,event_time\nu1,"i,1",5,1297512000\nu2,i2,4,2011-02-12\n'),
    ("x.json", b'{"user_id":"u1","item_id":"i1","rating":5.0,"timestamp":1297512000}\n' * 2),
    ("x.dat", b"1::2::3::1297512000\n1::3::4::1297512000\n"),
    ("x.json", b"{'asin': 'i1', 'title': '<b>T</b>', 'price': 3.5, 'categories': [['a', 'b']], 'description': '[]'}\n"),
    ("x.csv.gz", gzip.compress(b"user_id,item_id,rating,event_time\nu1,i1,5,1297512000\n" * 50)),
    ("x.parquet", parquet_bytes()),
    ("u.item", b"1|Toy|01-Jan-1995||x|0|1" + b"|0" * 17 + b"\n"),
)


@settings(FEW, max_examples=150)
@given(
    seed=st.sampled_from(SEEDS),
    edits=st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=3), st.integers(0, 4)), min_size=1, max_size=6),
)
def test_damaged_files_are_bad_input_or_rejects_and_never_a_traceback(tmp_path: Path, seed, edits):
    name, content = seed
    for place, insert, drop in edits:
        at = place % (len(content) + 1)
        content = content[:at] + insert + content[at + drop :]
    (tmp_path / name).write_bytes(content)
    for read in (read_interactions, read_items):
        try:
            file = read(str(tmp_path / name)).files[0]
            with reading(file.path):
                file.rows.collect()
        except InputError:
            pass
