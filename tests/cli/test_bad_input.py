"""Whatever is wrong with what the user gives: code 2 and one clear message, nothing half-written, no row lost.

A test that is expected to fail shows a fault that is known; its reason says which.
"""

import gzip
import io
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from click.testing import Result

from recsys_polars.models import KINDS
from recsys_polars.recipes.rank import METADATA_KEY
from tests.forging import forge

HEADER = "user_id,item_id,rating,event_time\n"
START = 1_262_304_000
RATINGS = ("5", "4", "3", "nan", "NaN", "inf", "-inf", "five", "", "  4 ", "4,5", "1e400", "-3", "99", "1_0", "True")
TIMES = (
    "0",
    "-1",
    "7258118400",
    "7258118400000",
    "1300000000",
    "2011-03-14 15:09:26",
    "yesterday",
    "",
    "1970-01-01",
    "2200-01-01",
    "1e30",
)
IDS = (
    *("a b", 'q"uo"te', "it's", "😀", "new\nline", "../../etc/passwd", "nul\x00l", "x" * 70_000, "é", "e\u0301"),
    *(" lead", "trail ", "'; DROP TABLE users;--", "-1", "NaN", "null", "None", "tab\tid", "cr\rid", "{}", "$[x]"),
    *("\ufeffbom", "%s%d", "C:\\x", "a,b", "\u202eabc"),
)


def rows(ratings: tuple[str, ...] = ("5",), times: tuple[str, ...] = (), n: int = 160) -> str:
    time = (lambda row: times[row % len(times)]) if times else (lambda row: str(START + row * 1000))
    return HEADER + "".join(f"u{row % 9},i{row % 7},{ratings[row % len(ratings)]},{time(row)}\n" for row in range(n))


def parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def interactions(**columns: Any) -> bytes:
    base = {"user_id": ["u"] * 40, "item_id": ["i"] * 40, "rating": [5.0] * 40, "event_time": [START] * 40}
    return parquet(pl.DataFrame({**base, **columns}))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Raw files: interactions


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.csv", b"", "expected rows, found an empty file"),
        ("x.csv", HEADER.encode(), "expected interactions, found none that can be used: no rows"),
        (
            "x.csv",
            b"user_id,item_id,date\nu,i,2020/1/2\n",
            "not a time (1 row, such as '2020/1/2' on line 2); times are",
        ),
        ("x.csv", b"a,b,c\n1,2,3\n", "found the columns a, b, c"),
        ("x.csv", b"user_id,rating,event_time\nu,5,1300000000\n", "generic: user_id"),
        ("x.csv.gz", gzip.compress(rows().encode())[:-40], "expected a whole compressed file"),
        ("x.parquet", interactions()[:-40], "expected a Parquet file, found a damaged one"),
        ("x.parquet", parquet(pl.DataFrame()), "found the columns"),
        ("x.parquet", interactions(user_id=[[1]] * 40), "user_id: expected text or whole numbers as ids, found List"),
        ("x.parquet", interactions(user_id=[b"\xff"] * 40), "user_id: expected text, found bytes"),
        ("x.parquet", interactions(user_id=pl.Series([None] * 40, dtype=pl.Null)), "user_id: expected text"),
        ("x.parquet", interactions(rating=[[5.0]] * 40), "rating: expected numbers, found List"),
        ("x.parquet", interactions(rating=[None] * 40), "rating: missing (40 rows, such as line 1)"),
        ("x.parquet", interactions(rating=[1e39] * 40), "rating: not finite (40 rows, such as '1e+39' on line 1)"),
        ("x.parquet", interactions(event_time=[True] * 40), "event_time: expected times"),
        ("x.parquet", interactions(event_time=[float("nan")] * 40), "DD.MM.YYYY; others want --time-format"),
        ("x.parquet", interactions(event_time=[2**63 - 1] * 40), "event_time: after tomorrow (40 rows, such as"),
        ("x.parquet", interactions(event_time=[-(2**63)] * 40), "event_time: before 1990 (40 rows, such as"),
        ("x.json", b'[{"user_id": 1}]', "expected one JSON object a line, found the beginning of a list"),
        ("x.jsonl", b'{"user_id": "u", "item', "expected one JSON object a line"),
        ("x.jsonl", b"{}\n{}\n", "expected interactions of a known format"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_what_was_expected(
    refuse: Callable[..., str], tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    raw, out = tmp_path / name, tmp_path / "store"
    raw.write_bytes(content)
    message = refuse("build-features", "--interactions", raw, "--out", out)
    assert str(raw) in message
    assert says in message
    assert not out.exists()


def test_a_mistyped_column_gets_a_hint(refuse: Callable[..., str], tmp_path: Path) -> None:
    raw = tmp_path / "x.csv"
    raw.write_text(rows().replace("user_id", "user_idd"))
    assert "did you mean user_idd?" in refuse("build-features", "--interactions", raw, "--out", tmp_path / "store")


def test_a_parquet_file_with_damaged_pages_is_not_called_a_gzip_file(
    refuse: Callable[..., str], tmp_path: Path
) -> None:
    raw = tmp_path / "x.parquet"
    content = interactions(user_id=[f"u{n}" for n in range(40)])
    raw.write_bytes(content[:50] + bytes(150) + content[200:])
    message = refuse("build-features", "--interactions", raw, "--out", tmp_path / "store")
    assert "expected a Parquet file" in message


def test_the_first_row_of_each_rule_is_shown_and_what_stands_there_harms_no_terminal(
    accept: Callable[..., str], tmp_path: Path
) -> None:
    """Whatever it holds it is one line of a table, and not a long one."""
    folder, hostile = tmp_path / "log", "red \x1b[31m\r\u202e" + "x" * 300
    folder.mkdir()
    (folder / "a\nb\x1b.csv").write_text(rows() + f'u1,i1,"{hostile}",{START}\nu1,,5,{START}\n\n,i1,5,{START}\n')
    (folder / "c.csv").write_text(HEADER + f"u1,i1,later,{START}\nu1,alone,5,{START}\n")
    options = ("--min-item-interactions", "2", "--out", tmp_path / "store")
    printed = accept("build-features", "--interactions", folder, *options)
    assert {sign for sign in printed if not sign.isprintable()} == {"\n"}
    by_rule = [re.split("  +", line, maxsplit=3) for line in printed.split("\n\n")[1].splitlines()[2:]]
    file = f"{folder}/a b .csv, line"
    assert sorted(by_rule, key=lambda words: words[2]) == [
        ["interactions", "1", "item_id: missing", f"{file} 163"],
        ["interactions", "1", "line: blank", f"{file} 164"],
        ["interactions", "2", "rating: not a number", f"{file} 162: 'red  [31m  {'x' * 28}…'"],
        ["filtered", "1", "user with fewer than 1 pairs, or item with fewer than 2"],
        ["interactions", "1", "user_id: missing", f"{file} 165"],
    ]


@pytest.mark.parametrize(
    ("content", "rejected"),
    [
        (rows(ratings=RATINGS), {"line: too many fields", "rating: missing", "rating: not a number"}),
        (rows(times=TIMES), {"event_time: before 1990", "event_time: after tomorrow", "event_time: not a time"}),
        (rows().replace("u3,", ",").replace("i2,", ","), {"user_id: missing", "item_id: missing"}),
    ],
    ids=["ratings", "times", "ids"],
)
def test_broken_rows_land_in_rejects_with_their_rule_and_every_row_is_counted(
    accept: Callable[..., str],
    manifest_of: Callable[[Path], dict[str, Any]],
    tmp_path: Path,
    content: str,
    rejected: set[str],
) -> None:
    raw, out = tmp_path / "x.csv", tmp_path / "store"
    raw.write_text(content)
    accept("build-features", "--interactions", raw, "--out", out)
    manifest = manifest_of(out)
    entry, read = manifest["rejects"]["interactions"], manifest["steps"][0]
    found = pl.read_parquet(out / "rejects" / "interactions-000001.parquet")
    assert rejected <= set(found["rule"])
    assert read["rows_in"] == 160
    assert found.height == entry["rows"] == read["rejected"] == 160 - read["rows_out"]


def test_broken_lines_and_mixed_types_of_json_are_counted(
    accept: Callable[..., str], manifest_of: Callable[[Path], dict[str, Any]], tmp_path: Path
) -> None:
    values = {"user_id": (1, "u", None, 2**70), "rating": (5, "5", None, "x", [5], True)}
    lines = [
        json.dumps({name: some[n % len(some)] for name, some in values.items()} | {"item_id": n % 7, "date": START + n})
        for n in range(120)
    ]
    raw, out = tmp_path / "x.jsonl", tmp_path / "store"
    raw.write_text("\n".join([*lines, '{"user_id": "u", "it', "", "[1]", "null", '"x"', *lines]) + "\n")
    accept("build-features", "--interactions", raw, "--out", out)
    read = manifest_of(out)["steps"][0]
    assert (read["rows_in"], read["rows_out"]) == (245, 2 * 120 * 3 // 4 // 3)
    assert set(pl.read_parquet(out / "rejects")["rule"]) >= {"line: blank", "line: not JSON", "line: not a JSON object"}


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_strange_ids_survive_the_whole_way(accept: Callable[..., str], tmp_path: Path, suffix: str) -> None:
    frame = pl.DataFrame(
        {
            "user_id": [IDS[n % len(IDS)] for n in range(300)],
            "item_id": [IDS[(n * 7 + n // 26) % len(IDS)] for n in range(300)],
            "event_time": [START + n for n in range(300)],
        }
    )
    raw, out, predictions = tmp_path / f"x.{suffix}", tmp_path / "store", tmp_path / "p.parquet"
    {"jsonl": frame.write_ndjson, "csv": frame.write_csv, "parquet": frame.write_parquet}[suffix](raw)
    accept("build-features", "--interactions", raw, "--out", out)
    accept("train", "--model", "popularity", "--store", out)
    accept("rank", "--users", "all", "--include-seen", "-k", "100", "--store", out, "--out", predictions)
    accept("evaluate", predictions, "--store", out)
    found = pl.read_parquet(predictions)
    assert set(found["user_id"]) == set(found["item_id"]) == set(IDS)
    assert names(tmp_path) == ["p.parquet", "store", raw.name]


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        (rows(ratings=("1",)), (), "--min-rating 4: expected some liked pairs before the test cut"),
        (rows(), ("--min-rating", "6"), "--min-rating 6: expected some liked pairs"),
        (rows(times=(str(START),)), (), "--split global-time: expected interactions before the test cut"),
        (rows(times=(str(START),)), ("--split", "user-time"), "--split user-time: expected interactions before"),
        (rows(n=1), (), "expected interactions before the test cut"),
        (rows(n=1), ("--split", "last-n"), "--split last-n: expected interactions before the test cut"),
        (rows(n=60), ("--split", "last-n", "--test-n", "1000000"), "--split last-n: expected interactions before"),
        (rows(), ("--test-fraction", "0.999"), "expected interactions before the test cut"),
    ],
)
def test_data_that_leave_nothing_to_learn_from_are_refused(
    refuse: Callable[..., str], tmp_path: Path, content: str, options: tuple[str, ...], says: str
) -> None:
    raw, out = tmp_path / "x.csv", tmp_path / "store"
    raw.write_text(content)
    assert says in refuse("build-features", "--interactions", raw, "--out", out, *options)
    assert not out.exists()


ONE_USER = HEADER + "".join(f"u,i{n},5,{START + n}\n" for n in range(20))
ONE_ITEM = HEADER + "".join(f"u{n},i,5,{START + n}\n" for n in range(20))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("content", "options"),
    [
        (rows(n=3), ()),
        (ONE_ITEM, ()),
        (rows(), ("--implicit",)),
        (rows(), ("--valid-fraction", "0")),
        (rows(), ("--valid-fraction", "0.999")),
        (rows(), ("--split", "last-n", "--test-n", "3")),
        (rows(), ("--test-fraction", "0", "--text", "none")),
        (rows(ratings=("-5", "-1", "9")), ("--min-rating", "0", "--memory", "1")),
    ],
    ids=["three rows", "one item", "implicit", "no valid", "all valid", "last-n", "no test, no text", "negative"],
)
def test_odd_but_usable_data_go_the_whole_way_or_are_refused(
    run: Callable[..., Result], tmp_path: Path, content: str, options: tuple[str, ...], kind: str
) -> None:
    go_the_whole_way(run, tmp_path, content, options, kind)


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind) if kind == "catboost" else kind for kind in KINDS],
)
def test_one_user_goes_the_whole_way_or_is_refused(run: Callable[..., Result], tmp_path: Path, kind: str) -> None:
    go_the_whole_way(run, tmp_path, ONE_USER, (), kind)


def go_the_whole_way(
    run: Callable[..., Result], folder: Path, content: str, options: tuple[str, ...], kind: str
) -> None:
    raw, out, predictions = folder / "x.csv", folder / "store", folder / "p.parquet"
    raw.write_text(content)
    assert run("build-features", "--interactions", raw, "--out", out, *options).exit_code == 0
    trained = run("train", "--model", kind, "--store", out)
    assert trained.exit_code in {0, 2}, trained.output
    assert "Traceback" not in trained.stderr
    if trained.exit_code == 2:
        assert "expected" in trained.stderr
        return
    assert run("rank", "--store", out, "--users", "all", "--out", predictions).exit_code == 0
    judged = run("evaluate", predictions, "--store", out)
    assert judged.exit_code == (2 if "expected liked pairs in the test part" in judged.stderr else 0), judged.output


# Raw files: items


def items(**columns: Any) -> bytes:
    ids = [f"i{n:03}" for n in range(20)]
    return parquet(pl.DataFrame({"item_id": ids, "title": [f"alpha {n}" for n in range(20)], **columns}))


@pytest.mark.parametrize(
    ("name", "content", "options", "says"),
    [
        ("i.csv", b"", (), "expected rows, found an empty file"),
        ("i.csv", b"titel,x\na,b\n", (), "expected items of a known format"),
        ("i.csv", b"item_id,f\ni001,1\n", ("--item-feature", "nope"), "nope: expected a column"),
        ("i.csv", b"item_id,title\ni001,a\n", ("--item-feature", "title"), "title: expected a column outside"),
        ("i.parquet", items(title=[b"\xff"] * 20), (), "title: expected text, found bytes"),
        ("i.parquet", items(v_0=[1.0] * 20, v_1=[1.0] * 20, v_3=[1.0] * 20), (), "found no v_2"),
        ("i.parquet", items(v=[[1.0, 2.0]] * 20, v_0=[1.0] * 20, v_1=[1.0] * 20), (), "v: expected one vector"),
    ],
)
def test_an_items_file_that_cannot_be_used_is_named(
    refuse: Callable[..., str], world: Any, tmp_path: Path, name: str, content: bytes, options: Any, says: str
) -> None:
    raw, out = tmp_path / name, tmp_path / "store"
    raw.write_bytes(content)
    message = refuse("build-features", "--interactions", world.log, "--items", raw, "--out", out, *options)
    assert str(raw) in message or "--item-feature" in message or "item features" in message
    assert says in message


@pytest.mark.parametrize(
    ("content", "options"),
    [
        pytest.param(items(f=[1] * 20), ("--item-feature", "f", "--item-feature", "f")),
        pytest.param(items(title_len=[1] * 20), ("--item-feature", "title_len")),
        pytest.param(items(is_top20_brand=[1] * 20), ("--item-feature", "is_top20_brand")),
        pytest.param(items(source_row=[1] * 20), ("--item-feature", "source_row")),
        pytest.param(items(price=[[0.1, 0.2]] * 20), ()),
        (items(tfidf=[[1.0, 2.0]] * 20), ()),
        (items(v=[[0.0, 0.0]] * 20, **{"a/b": [[0.1, 0.2]] * 20}), ()),
        (items(brand=[{"a": 1}] * 20, description=[[["a"]]] * 20), ()),
        (items(f=[{"a": 1}] * 20, g=[[1, 2]] * 20), ("--item-feature", "f", "--item-feature", "g")),
        pytest.param(items(f=[1e300] * 20), ("--item-feature", "f")),
        pytest.param(items(f=[float("inf")] * 20), ("--item-feature", "f")),
        pytest.param(items(title=["the"] * 20), ()),
        (items(title=["!!!"] * 20), ()),
        (items(title=[None] * 20), ()),
    ],
)
def test_odd_items_build_with_one_line_on_stderr_or_are_refused_by_name(
    run: Callable[..., Result], world: Any, tmp_path: Path, content: bytes, options: tuple[str, ...]
) -> None:
    raw = tmp_path / "i.parquet"
    raw.write_bytes(content)
    words = ("--interactions", world.log, "--items", raw, "--out", tmp_path / "store", *options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # they would be lines on stderr
        result = run("build-features", *words)
    assert result.exit_code in {0, 2}, result.output
    assert result.stderr.count("\n") == 1
    assert "damaged" not in result.stderr


def test_repeated_and_conflicting_items_are_merged_and_counted(
    accept: Callable[..., str], world: Any, tmp_path: Path, manifest_of: Callable[[Path], dict[str, Any]]
) -> None:
    raw, out = tmp_path / "i.csv", tmp_path / "store"
    raw.write_text("item_id,title,price\n" + "i001,A b,1\ni001,A c,2\ni001,,\n,X,1\nelsewhere,Foo,x\n" * 5)
    accept("build-features", "--interactions", world.log, "--items", raw, "--out", out)
    steps = {step["name"]: step for step in manifest_of(out)["steps"]}
    read, merged = steps["read items"], steps["deduplicate items"]
    assert (read["rows_in"], read["rejected"], merged["merged"], merged["rows_out"]) == (25, 5, 18, 2)
    assert manifest_of(out)["counts"]["items"] == 21


# Options and paths


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--foo",), "No such option"),
        (("extra",), "unexpected extra argument"),
        (("--column", "user_id"), "expected OURS=THEIRS"),
        (("--column", "user_id=a", "--column", "user_id=b"), "expected user_id once"),
        (("--column", "userid=a"), "did you mean user_id?"),
        (("--column", "title=nope"), "--column title=nope: expected a column of that name in a file, found none"),
        (("--column", "rating=user_id"), "rating: not a number (240 rows, such as"),
        (("--column", "event_time=rating"), "event_time: before 1990 (240 rows, such as"),
        (("--format", "movielens"), "expected the movielens columns"),
        (("--format", "csv"), "is not one of"),
        (("--test-n", "0"), "0 is not in the range"),
        (("--test-fraction", "1"), "1.0 is not in the range"),
        (("--memory", "nonsense"), "expected an amount such as 500MB"),
        (("--memory", "0"), "expected more than nothing"),
        (("--item-feature", "f"), "expected --items too"),
        (("--items", "absent.csv"), "absent.csv: expected a file"),
        (("--interactions", "absent.csv"), "absent.csv: expected a file"),
        (("--interactions", "/dev/null"), "expected a regular file"),
        (("--min-rating", "nan"), "--min-rating"),
        pytest.param(("--valid-fraction", "nan"), "--valid-fraction"),
        pytest.param(("--test-fraction", "nan"), "--test-fraction"),
        pytest.param(("--min-rating=-inf",), "--min-rating"),
        pytest.param(("--interactions", "x" * 300), "x" * 300),
    ],
)
def test_wrong_options_of_a_build_are_refused(
    refuse: Callable[..., str], world: Any, tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    out = tmp_path / "store"
    assert says in refuse("build-features", "--interactions", world.log, "--out", out, *options)
    assert not out.exists()


@pytest.mark.parametrize(
    "where",
    [
        "file",
        "file/below",
        "foreign",
        pytest.param("link"),
        pytest.param("x" * 300),
    ],
)
def test_a_store_is_never_built_over_something_else(
    refuse: Callable[..., str], world: Any, tmp_path: Path, where: str
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "mine.txt").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    before = snapshot(tmp_path)
    refuse("build-features", "--interactions", world.log, "--out", tmp_path / where)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    "where",
    [
        "folder",
        pytest.param("file/below.parquet"),
        pytest.param("x" * 300),
        pytest.param("pipe"),
    ],
)
def test_predictions_never_replace_what_is_no_regular_file(
    refuse: Callable[..., str], world: Any, tmp_path: Path, where: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    os.mkfifo(tmp_path / "pipe")
    refuse("rank", "--store", world.store, "--model", "popularity", "--out", tmp_path / where)
    assert (tmp_path / "pipe").is_fifo()
    assert names(tmp_path) == ["file", "folder", "pipe"]


@pytest.mark.parametrize(
    "words",
    [
        ("train", "--model", "popularity"),
        ("rank", "--out", "p.parquet"),
        ("evaluate", "p.parquet"),
    ],
    ids=["train", "rank", "evaluate"],
)
@pytest.mark.parametrize("where", ["absent", "file", "folder"])
def test_what_is_no_store_is_named(
    refuse: Callable[..., str], tmp_path: Path, words: tuple[str, ...], where: str
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    assert f"{tmp_path / where}: expected a feature store" in refuse(*words, "--store", tmp_path / where)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "Missing option '--model'"),
        (("--model", "popularity"), "--model: expected one of catboost, mlp, two-tower, found popularity"),
        (("--model", "mlp", "--trials", "0"), "0 is not in the range x>=1"),
        (("--model", "mlp", "--store", "nowhere"), "nowhere: expected a feature store, found none"),
    ],
)
def test_wrong_options_of_a_search_are_refused(
    refuse: Callable[..., str], store: Path, words: tuple[str, ...], says: str
) -> None:
    before = snapshot(store)
    assert says in refuse("tune", "--store", store, *words)
    assert snapshot(store) == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "Missing option '--model'"),
        (("--model", "svd"), "'svd' is not one of 'popularity'"),
        (("--model", "mlp", "--seed", "-1"), "-1 is not in the range"),
        (("--model", "mlp", "--recipe", "mine"), "'mine' is not 'notebook'"),
        pytest.param(("--model", "mlp", "--seed", str(2**70)), "--seed"),
        pytest.param(("--model", "two-tower", "--seed", str(2**70)), "--seed"),
        pytest.param(("--model", "catboost", "--seed", str(2**70)), "--seed"),
        pytest.param(("--model", "catboost", "--memory", "1"), "--memory"),
        (("--model", "popularity", "--loss", "bce"), "--loss: expected no such option with popularity"),
        (("--model", "catboost", "--loss", "bpr"), "--loss: expected no such option with catboost"),
        (("--model", "mlp", "--negatives", "in-batch"), "--negatives: expected uniform or popular for mlp"),
        (("--model", "two-tower", "--negatives", "in-batch", "--loss", "bpr"), "--loss: expected softmax"),
        (("--model", "mlp", "--recipe", "notebook", "--history", "loo"), "--history: expected no such option"),
        (("--model", "popularity", "--seeds", "2"), "--seeds: expected no such option with popularity"),
        (("--model", "mlp", "--folds", "0"), "0 is not in the range x>=1"),
        (("--model", "mlp", "--history", "later"), "'later' is not one of 'loo', 'as-of'"),
    ],
)
def test_wrong_options_of_a_training_are_refused(
    refuse: Callable[..., str], world: Any, store: Path, words: tuple[str, ...], says: str
) -> None:
    before = snapshot(store)
    assert says in refuse("train", "--store", store, *words)
    assert snapshot(store) == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_may_be_asked_longer_than_the_catalogue(
    accept: Callable[..., str], world: Any, tmp_path: Path, kind: str
) -> None:
    out = tmp_path / "p.parquet"
    accept("rank", "--model", kind, "--store", world.store, "--include-seen", "-k", "100000", "--out", out)
    assert set(pl.read_parquet(out).group_by("user_id").len()["len"]) == {20}


@pytest.mark.parametrize(
    "kind",
    [
        "popularity",
        *(pytest.param(kind) for kind in KINDS if kind != "popularity"),
    ],
)
def test_an_absurd_k_ranks_the_whole_catalogue(
    accept: Callable[..., str], world: Any, tmp_path: Path, kind: str
) -> None:
    accept("rank", "--model", kind, "--store", world.store, "-k", str(2**31 - 1), "--out", tmp_path / "p.parquet")


def test_lists_shorter_than_what_is_judged_are_refused(refuse: Callable[..., str], world: Any) -> None:
    message = refuse("evaluate", world.predictions, "--store", world.store, "-k", str(2**31 - 1))
    assert "found lists of 10; rank with -k 2147483647" in message


@pytest.mark.parametrize(
    ("option", "name", "content", "says"),
    [
        ("--users", "absent", None, "expected test, all or a file of ids, found no such file"),
        ("--users", "u.txt", b"", "expected ids, found none"),
        ("--users", "u.txt", b"\n\n", "expected ids, found none"),
        ("--users", "u.txt", b"\xff\xfe\x00", "expected UTF-8 text"),
        ("--users", "u.csv", b"", "expected ids in a column user_id"),
        ("--users", "u.csv", b"id\nu001\n", "expected ids in a column user_id"),
        ("--users", "u.parquet", b"PAR1", "expected a Parquet file, found a damaged one"),
        ("--candidates", "absent", None, "expected catalogue, train or a file of ids, found no such file"),
        ("--candidates", "c.txt", b"", "expected ids, found none"),
        ("--candidates", "c.txt", b"zzz\n", "expected ids of the catalogue, found none among 1"),
    ],
)
def test_files_of_ids_that_cannot_be_used_are_named_and_the_old_predictions_stay(
    refuse: Callable[..., str], world: Any, tmp_path: Path, option: str, name: str, content: bytes | None, says: str
) -> None:
    ids, out = tmp_path / name, tmp_path / "p.parquet"
    out.write_bytes(b"old")
    if content is not None:
        ids.write_bytes(content)
    message = refuse("rank", "--store", world.store, "--model", "mlp", "--out", out, option, ids)
    assert str(ids) in message
    assert says in message
    assert out.read_bytes() == b"old"
    assert set(names(tmp_path)) <= {"p.parquet", name}


def test_unknown_ids_of_a_file_are_counted(run: Callable[..., Result], world: Any, tmp_path: Path) -> None:
    ids = tmp_path / "c.txt"
    ids.write_text("i001\nzzz\n")
    out = tmp_path / "p.parquet"
    words = ("--candidates", ids, "--out", out)
    result = run("rank", "--store", world.store, "--model", "popularity", *words)
    assert "unknown" in result.stderr.removeprefix(str(out))


def test_without_test_users_rank_says_what_to_do(
    accept: Callable[..., str], refuse: Callable[..., str], world: Any, tmp_path: Path
) -> None:
    out, predictions = tmp_path / "store", tmp_path / "p.parquet"
    accept("build-features", "--interactions", world.log, "--out", out, "--test-fraction", "0")
    accept("train", "--model", "popularity", "--store", out)
    assert "use --users all" in refuse("rank", "--store", out, "--out", predictions)
    accept("rank", "--store", out, "--users", "all", "--out", predictions)
    assert "expected liked pairs in the test part" in refuse("evaluate", predictions, "--store", out)


# Damaged stores and models


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"../000001",
        b"000009",
        b"000001\n000001",
        pytest.param(b"0" * 3000),
        pytest.param(b"\xff\xfe"),
    ],
)
def test_a_damaged_current_is_named_and_a_build_mends_it(
    refuse: Callable[..., str], accept: Callable[..., str], world: Any, store: Path, content: bytes
) -> None:
    (store / "CURRENT").write_bytes(content)
    refuse("train", "--model", "popularity", "--store", store)
    accept("build-features", "--interactions", world.log, "--out", store)
    accept("train", "--model", "popularity", "--store", store)


@pytest.mark.parametrize(
    "change",
    [
        {"format_version": 99},
        {"format_version": "1"},
        {"files": {}},
        pytest.param({"files": None}),
        pytest.param({"blocks": None}),
        pytest.param({"blocks": []}),
        pytest.param({"blocks": ["zzz"]}),
    ],
    ids=str,
)
def test_a_manifest_of_another_version_or_shape_is_refused(
    refuse: Callable[..., str], world: Any, store: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    forge(store, lambda manifest: {**manifest, **change})
    refuse("train", "--model", "popularity", "--store", store)
    refuse("rank", "--model", "popularity", "--store", store, "--out", tmp_path / "p.parquet")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"{}", b"\xff\xff"])
def test_a_broken_manifest_is_named(refuse: Callable[..., str], store: Path, content: bytes) -> None:
    file = store / "000001" / "manifest.json"
    file.write_bytes(content)
    assert f"{file}: missing or damaged" in refuse("train", "--model", "popularity", "--store", store)


TABLES = ("labelled", "repeats", "item_features", "item_features_valid", "user_means")
UNREAD = "Store.scan trusts what lies there: a Polars error, code 1; the manifest has its bytes and sha256"


@pytest.mark.parametrize("table", TABLES)
def test_a_missing_table_is_named(refuse: Callable[..., str], store: Path, table: str) -> None:
    file = store / "000001" / f"{table}.parquet"
    file.unlink()
    assert str(file) in refuse("train", "--model", "mlp", "--store", store)


@pytest.mark.parametrize("damage", ["empty", "cut off", "another table", "fewer rows"])
@pytest.mark.parametrize("table", ["labelled", "item_features"])
def test_a_damaged_table_is_named(
    refuse: Callable[..., str], store: Path, tmp_path: Path, table: str, damage: str
) -> None:
    file = store / "000001" / f"{table}.parquet"
    content = file.read_bytes()
    damaged = {
        "empty": b"",
        "cut off": content[:-40],
        "another table": parquet(pl.DataFrame({"a": [1]})),
        "fewer rows": parquet(pl.read_parquet(file).head(10)),
    }
    file.write_bytes(damaged[damage])
    message = refuse("rank", "--model", "mlp", "--store", store, "--out", tmp_path / "p.parquet")
    assert str(file) in message


@pytest.mark.parametrize("damage", ["empty", "cut off", "text"])
@pytest.mark.parametrize("table", ["item_features", "user_means"])
def test_damaged_vectors_are_named(
    refuse: Callable[..., str], store: Path, tmp_path: Path, table: str, damage: str
) -> None:
    file = store / "000001" / f"{table}.safetensors"
    file.write_bytes({"empty": b"", "cut off": file.read_bytes()[:-40], "text": b"hello" * 9}[damage])
    message = refuse("rank", "--model", "mlp", "--store", store, "--out", tmp_path / "p.parquet")
    assert str(file) in message


@pytest.mark.parametrize("damage", ["gone", "empty", "cut off", "{}"])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("catboost", "trees.cbm"),
        ("catboost", "inputs.json"),
        ("mlp", "weights.safetensors"),
        ("mlp", "inputs.json"),
        ("two-tower", "weights.safetensors"),
        ("two-tower", "inputs.json"),
    ],
)
def test_a_damaged_model_is_named(
    refuse: Callable[..., str], store: Path, tmp_path: Path, kind: str, name: str, damage: str
) -> None:
    file = store / "models" / kind / "000001" / name
    content = file.read_bytes()
    file.unlink()
    if damage != "gone":
        file.write_bytes({"empty": b"", "cut off": content[: len(content) // 2], "{}": b"{}"}[damage])
    message = refuse("rank", "--model", kind, "--store", store, "--out", tmp_path / "p.parquet")
    assert str(file) in message


@pytest.mark.parametrize(
    "content",
    [b"bogus", b"../../x", pytest.param(b"\xff")],
)
def test_a_damaged_pointer_to_the_last_model_is_refused(
    refuse: Callable[..., str], store: Path, tmp_path: Path, content: bytes
) -> None:
    (store / "models" / "CURRENT").write_bytes(content)
    refuse("rank", "--store", store, "--out", tmp_path / "p.parquet")


def test_a_model_of_another_kind_is_refused(refuse: Callable[..., str], store: Path, tmp_path: Path) -> None:
    shutil.rmtree(store / "models" / "popularity")
    (store / "models" / "mlp").rename(store / "models" / "popularity")
    refuse("rank", "--model", "popularity", "--store", store, "--out", tmp_path / "p.parquet")


# Predictions


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda frame: frame.drop("score"), "found no score"),
        (lambda frame: pl.concat([frame, frame]), "primary_key"),
        (lambda frame: frame.with_columns(rank=pl.lit(1, pl.UInt32)), "primary_key"),
        (lambda frame: frame.with_columns(item_id=pl.lit("i001")), "expected unique pairs"),
        (lambda frame: frame.filter(pl.col("rank") != 2), "expected ranks 1, 2, .. n"),
        (lambda frame: frame.with_columns(pl.col("rank") - 1), "rank|min"),
        (lambda frame: frame.with_columns(pl.col("rank").cast(pl.Float64)), "rank: expected UInt32, found Float64"),
        (lambda frame: frame.with_columns(score=pl.lit(float("nan"), pl.Float32)), "score|nan"),
        (lambda frame: frame.with_columns(user_id=pl.lit(None, pl.String)), "user_id|nullability"),
        (lambda frame: frame.with_columns(user_id=pl.lit(1)), "user_id: expected String, found Int32"),
        (lambda frame: frame.with_columns(item_id=pl.format("{}{}", "user_id", "rank")), "items: expected at least"),
    ],
)
def test_predictions_that_break_their_contract_are_refused(
    refuse: Callable[..., str], world: Any, tmp_path: Path, change: Callable[[pl.DataFrame], pl.DataFrame], says: str
) -> None:
    change(pl.read_parquet(world.predictions)).write_parquet(tmp_path / "p.parquet")
    assert says in refuse("evaluate", tmp_path / "p.parquet", "--store", world.store)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PAR1" * 9])
def test_what_is_no_parquet_file_of_predictions_is_named(
    refuse: Callable[..., str], world: Any, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "p.parquet"
    file.write_bytes(content)
    assert f"{file}: expected a Parquet file of predictions" in refuse("evaluate", file, "--store", world.store)


@pytest.mark.parametrize(
    "metadata",
    [
        b"{}",
        b'{"model": [1]}',
        b'{"generation": 5}',
        *(
            pytest.param(text)
            for text in (b"", b"{", b"[]", b"null", b'{"train_seconds": "x"}', b'{"train_seconds": null}')
        ),
    ],
)
def test_odd_metadata_of_predictions_are_taken_or_refused(
    run: Callable[..., Result], world: Any, tmp_path: Path, metadata: bytes
) -> None:
    table = pq.read_table(world.predictions).replace_schema_metadata({METADATA_KEY: metadata})
    pq.write_table(table, tmp_path / "p.parquet")
    result = run("evaluate", tmp_path / "p.parquet", "--store", world.store)
    assert result.exit_code in {0, 2}, result.output


def test_predictions_without_rows_score_nothing(accept: Callable[..., str], world: Any, tmp_path: Path) -> None:
    pl.read_parquet(world.predictions).clear().write_parquet(tmp_path / "p.parquet")
    assert " .0000 [.0000 .0000]" in accept("evaluate", tmp_path / "p.parquet", "--store", world.store)


def test_a_file_of_predictions_may_be_given_five_times(accept: Callable[..., str], world: Any) -> None:
    accept("evaluate", *[world.predictions] * 5, "--store", world.store)


@pytest.mark.parametrize(
    "where",
    [
        pytest.param("absent/f.json"),
        pytest.param("file/f.json"),
    ],
)
def test_a_json_file_that_cannot_be_written_is_named_before_anything_is_printed(
    run: Callable[..., Result], world: Any, tmp_path: Path, where: str
) -> None:
    (tmp_path / "file").write_text("mine")
    result = run("evaluate", world.predictions, "--store", world.store, "--json", tmp_path / where)
    assert (result.exit_code, result.stdout == "") in {(0, False), (2, True)}, result.output


# Disks that are full

ON_SMALL_DISKS = """
    import contextlib, json, shutil, subprocess, sys
    from pathlib import Path
    from click.testing import CliRunner
    from recsys_polars.cli.main import main

    disk, log, items, store = map(Path, sys.argv[1:5])

    def files():
        return {str(p): p.read_bytes() for p in disk.rglob("*") if p.is_file() and p.name not in {".lock", "filling"}}

    def on_a_full_disk(*words):
        with contextlib.suppress(OSError), (disk / "filling").open("wb", buffering=0) as filling:
            while filling.write(bytes(1024)):
                pass
        return of(*words)

    def of(*words):
        before = files()
        result = CliRunner().invoke(main, [str(word) for word in words])
        return {"code": result.exit_code, "message": result.stderr, "is as it was": files() == before}

    def build():
        return of("build-features", "--interactions", log, "--items", items, "--out", disk / "store")

    def train(kind):
        shutil.copytree(store, disk / "store")
        return on_a_full_disk("train", "--store", disk / "store", "--model", kind)

    def rank():
        (disk / "p.parquet").write_bytes(b"old")
        return on_a_full_disk("rank", "--store", store, "--model", "popularity", "--out", disk / "p.parquet")

    told = {}
    for job in sys.argv[5:]:
        size, name, *words = job.split()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], check=True)
        told[job] = {"build": build, "train": train, "rank": rank}[name](*words)
        subprocess.run(["umount", "-l", disk], check=True)
    print(json.dumps(told))
"""
JOBS = ("4k build", "40k build", "80k build", "2m train popularity", "2m train mlp", "2m train catboost", "16k rank")
NO_ROOM = "'No space left' comes as a Polars, safetensors or CatBoost error: code 1"


@pytest.fixture(scope="module")
def told_on_small_disks(world: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each of JOBS came to on a disk of its size, mounted where nobody else sees it; skips without the right."""
    ways = [["unshare", "--user", "--map-root-user", "--mount"], ["unshare", "--mount"]]
    way = next((way for way in ways if shutil.which("unshare") and _works([*way, "mount", "-t", "tmpfs", "x"])), None)
    if way is None:
        pytest.skip("no right to mount a small disk")
    words = [tmp_path_factory.mktemp("disk"), world.log, world.items, world.store, *JOBS]
    program = [sys.executable, "-c", textwrap.dedent(ON_SMALL_DISKS), *map(str, words)]
    done = subprocess.run([*way, *program], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def _works(words: list[str]) -> bool:
    return subprocess.run([*words, "/mnt"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    "job",
    [
        pytest.param("4k build"),
        pytest.param("40k build"),
        pytest.param("80k build"),
        "2m train popularity",
        pytest.param("2m train mlp"),
        pytest.param("2m train catboost"),
        "16k rank",
    ],
)
def test_a_full_disk_is_told_as_such_and_everything_stays_as_it_was(
    told_on_small_disks: dict[str, dict[str, Any]], job: str
) -> None:
    told = told_on_small_disks[job]
    assert (told["code"], told["is as it was"]) == (2, True), told
    assert "no space left" in told["message"].lower()
    assert "log.csv" not in told["message"]
