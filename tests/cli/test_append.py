"""`build-features --append` and `--strict`, as they are typed."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recsys_polars.store import open_store
from tests.forging import forge

HEADER = "user_id,item_id,rating,event_time\n"
GOOD = HEADER + "".join(f"u{n % 4},i{n % 5},{3 + n % 3},{1_262_304_000 + 1_000 * n}\n" for n in range(60))
MORE = HEADER + "u9,i1,5,1262305000\nu1,i7,5,1262399000\n"
ITEMS = "item_id,title,clip_0,clip_1\ni1,red hat,0.5,1\ni2,blue hat,0.25,2\n"


def files_of(store: Path) -> dict[str, bytes]:
    files = (file for file in store.rglob("*") if file.is_file() and file.name != ".lock")
    return {str(file.relative_to(store)): file.read_bytes() for file in files}


@pytest.fixture
def shop(tmp_path, accept):
    """A folder with log.csv, items.csv with vectors, and a store of them."""
    (tmp_path / "log.csv").write_text(GOOD)
    (tmp_path / "items.csv").write_text(ITEMS)
    arguments = ("--interactions", tmp_path / "log.csv", "--items", tmp_path / "items.csv")
    accept("build-features", *arguments, "--out", tmp_path / "store")
    return tmp_path


def test_what_was_read_before_is_passed_over_under_any_name(shop, accept) -> None:
    store, more = shop / "store", shop / "more.csv"
    more.write_text(MORE)
    (shop / "copy.csv").write_text(MORE)
    accept("build-features", "--append", more, "--append", shop / "copy.csv", "--out", store)
    assert open_store(store).manifest["steps"][0]["rows_in"] == 62
    before = files_of(store)
    accept("build-features", "--append", more, "--out", store)
    accept("build-features", "--append", shop / "log.csv", "--append", shop / "items.csv", "--out", store)
    assert files_of(store) == before


def test_files_without_a_row_bring_nothing(shop, run) -> None:
    empty, bare = shop / "empty.csv", shop / "bare.csv"
    empty.write_text(HEADER)
    bare.write_text("item_id,title,clip_0,clip_1\n")
    before = files_of(shop / "store")
    nothing = run("build-features", "--append", empty, "--append", bare, "--out", shop / "store")
    assert nothing.exit_code == 0
    assert f"nothing new in {empty}, {bare}" in nothing.stderr
    assert files_of(shop / "store") == before


def test_a_store_can_be_added_to_again_and_again_and_remembers_it(shop, accept) -> None:
    store = shop / "store"
    for number in (1, 2, 3):
        new = shop / f"more{number}.csv"
        new.write_text(f"{HEADER}new{number},i1,5,1262305000\n")
        accept("build-features", "--append", new, "--out", store)
    manifest = open_store(store).manifest
    assert [Path(entry["path"]).name for entry in manifest["inputs"]] == [
        *("log.csv", "items.csv", "more1.csv", "more2.csv", "more3.csv")
    ]
    assert manifest["appended"] == [
        {"to": f"{number:06}", "paths": [str(shop / f"more{number}.csv")]} for number in (1, 2, 3)
    ]
    assert manifest["parameters"]["items"] == str(shop / "items.csv")
    assert manifest["left_out_columns"] == []


def test_what_is_appended_has_the_times_of_the_store(tmp_path, accept, refuse) -> None:
    store, log, more = (tmp_path / name for name in ("store", "log.csv", "more.csv"))
    log.write_text(HEADER + "".join(f"u{n % 4},i{n % 5},5,06/{n + 1:02}/2018\n" for n in range(20)))
    more.write_text(HEADER + "u9,i1,5,06/30/2018\n")
    accept("build-features", "--interactions", log, "--time-format", "%m/%d/%Y", "--out", store)
    accept("build-features", "--append", more, "--out", store)
    manifest = open_store(store).manifest
    more.write_text(HEADER + "u9,i1,5,2018-06-30\n")
    assert "times are '%m/%d/%Y' alone" in refuse("build-features", "--append", more, "--out", store)
    assert manifest["parameters"]["time_format"] == "%m/%d/%Y"
    assert manifest["steps"][0]["rows_out"] == 21


def test_a_store_from_before_there_were_formats_of_times_is_added_to(shop, accept) -> None:
    def of_old(facts: dict[str, Any]) -> dict[str, Any]:
        del facts["parameters"]["time_format"]
        return facts

    forge(shop / "store", of_old)
    (shop / "more.csv").write_text(MORE)
    accept("build-features", "--append", shop / "more.csv", "--out", shop / "store")
    assert open_store(shop / "store").manifest["steps"][0]["rows_in"] == 62


def test_a_folder_of_both_kinds_is_told_apart_file_by_file(shop, accept) -> None:
    new = shop / "new"
    new.mkdir()
    (new / "tonight.csv").write_text(MORE)
    (new / "stuff.csv").write_text(ITEMS.replace("i1", "i8"))
    accept("build-features", "--append", new, "--out", shop / "store")
    steps = {step["name"]: step["rows_in"] for step in open_store(shop / "store").manifest["steps"]}
    assert (steps["read interactions"], steps["read items"]) == (62, 4)


def test_items_can_come_later_than_the_log_of_a_store_without_any(shop, accept, refuse) -> None:
    store = shop / "bare"
    accept("build-features", "--interactions", shop / "log.csv", "--out", store)
    (shop / "narrow.csv").write_text("item_id,title,clip_0,clip_1,clip_2\ni1,hat,1,2,3\n")
    both = ("--append", shop / "items.csv", "--append", shop / "narrow.csv")
    assert "expected the vectors and item features" in refuse("build-features", *both, "--out", store)
    accept("build-features", "--append", shop / "items.csv", "--out", store)
    assert open_store(store).manifest["parameters"]["items"] == str(shop / "items.csv")
    assert open_store(store).manifest["blocks"] == ["tfidf", "clip", "numeric"]


def test_models_of_the_store_before_are_stale(shop, accept, refuse) -> None:
    store = shop / "store"
    accept("train", "--model", "popularity", "--store", store)
    (shop / "more.csv").write_text(MORE)
    accept("build-features", "--append", shop / "more.csv", "--out", store)
    message = refuse("rank", "--model", "popularity", "--store", store, "--out", shop / "preds.parquet")
    assert "000001" in message
    assert "train" in message


REFUSED = {
    "other.csv": ("userId,movieId,rating,timestamp\n1,2,4,1262304000\n", "expected generic, as in the store, found"),
    "bare.csv": ("user_id,item_id,event_time\nu,i1,1262304000\n", "expected ratings, as in the store, found none"),
    "wide.csv": ("item_id,clip_0,clip_1,clip_2\ni1,1,2,3\n", "expected the vectors and item features of the store"),
    "plain.csv": ("item_id,title\ni1,hat\n", "found none"),
    "notes.csv": ("a,b\n1,2\n", "found neither: expected interactions of a known format"),
    "broken.csv.gz": ("\x1f\x8b words", "the download cut short?"),
    "bad.csv": (HEADER + "u,i1,5,6 May\n", "not a time (1 row, such as '6 May' on line 2)"),
    "bare items.csv": (
        "item_id,title,clip_0,clip_1\n,hat,1,2\n",
        "found none that can be used: item_id: missing (1 row",
    ),
    "when.csv": ("user_id,item_id,rating,when\nu,i1,5,1262304000\n", "expected interactions of a known format"),
    "lacking/notes.md": ("words", "expected a file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_does_not_fit_is_refused_and_the_store_left_as_it_was(shop, refuse, name) -> None:
    text, message = REFUSED[name]
    (shop / name).parent.mkdir(exist_ok=True)
    (shop / name).write_text(text, encoding="latin-1")
    (shop / "empty.csv").write_text(HEADER)
    before = files_of(shop / "store")
    path = (shop / name).parent if "/" in name else shop / name
    told = refuse("build-features", "--append", shop / "empty.csv", "--append", path, "--out", shop / "store")
    assert message in told
    assert str(path) in told
    assert files_of(shop / "store") == before


def test_ratings_are_refused_by_a_store_that_has_none(tmp_path, accept, refuse) -> None:
    rows = [line.split(",") for line in GOOD.splitlines()]
    (tmp_path / "log.csv").write_text("".join(f"{user},{item},{time}\n" for user, item, _, time in rows))
    (tmp_path / "more.csv").write_text(MORE)
    accept("build-features", "--interactions", tmp_path / "log.csv", "--out", tmp_path / "store")
    told = refuse("build-features", "--append", tmp_path / "more.csv", "--out", tmp_path / "store")
    assert "expected no ratings, as in the store, found some" in told


@pytest.mark.parametrize(
    "option", [("--min-rating", "4"), ("--items", "items.csv"), ("--split", "last-n"), ("--implicit",)]
)
def test_settings_beside_append_are_refused(shop, refuse, option) -> None:
    before = files_of(shop / "store")
    told = refuse("build-features", "--append", shop / "log.csv", *option, "--out", shop / "store")
    assert f"--append: expected no {option[0]} beside it" in told
    assert files_of(shop / "store") == before


def test_without_a_store_nothing_can_be_added_and_no_folder_appears(shop, refuse) -> None:
    told = refuse("build-features", "--append", shop / "log.csv", "--out", shop / "none")
    assert "expected a feature store, found none" in told
    assert not (shop / "none").exists()


@pytest.mark.parametrize("to", ["none", "store"])
def test_strict_names_file_line_and_rule_and_leaves_nothing_behind(shop, refuse, to) -> None:
    bad = shop / "bad.csv"
    bad.write_text(GOOD + "u1,i1,five,1262304000\nu1,,5,1262304000\n")
    before = files_of(shop / "store")
    option = "--append" if to == "store" else "--interactions"
    told = refuse("build-features", option, bad, "--strict", "--memory", "2KB", "--out", shop / to)
    assert "expected no rows that break a rule, found 2" in told
    assert f"{bad}, line 62: rating: not a number, found 'five'" in told
    assert f"{bad}, line 63: item_id: missing" in told
    assert files_of(shop / "store") == before
    assert not (shop / "none").exists()


def test_strict_is_about_items_too_and_lets_a_clean_file_pass(shop, accept, refuse) -> None:
    (shop / "bad.csv").write_text(ITEMS + ",no id,1,2\n")
    told = refuse("build-features", "--append", shop / "bad.csv", "--strict", "--out", shop / "store")
    assert f"{shop / 'bad.csv'}, line 4: item_id: missing" in told
    accept("build-features", "--append", shop / "bad.csv", "--out", shop / "store")
    (shop / "more.csv").write_text(MORE)
    accept("build-features", "--append", shop / "more.csv", "--strict", "--out", shop / "store")


def test_rejects_are_printed_by_rule_and_add_up_over_files(shop, accept) -> None:
    for name, rows in (("one.csv", "u1,i1,five,1262304000\n,i1,5,1262304000\n"), ("two.csv", "u1,i2,six,1262304000\n")):
        (shop / name).write_text(MORE + rows + f"{name},i1,5,1262304000\n")
        printed = accept_with_summary(accept, shop, name)
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert f"interactions 2 rating: not a number {shop / 'one.csv'}, line 4: 'five'" in lines
    assert f"interactions 1 user_id: missing {shop / 'one.csv'}, line 5" in lines


def test_what_each_file_brought_is_told_and_which_brought_nothing(shop, run) -> None:
    tonight, stuff, copy = shop / "tonight.csv", shop / "stuff.csv", shop / "a\ncopy\x1b.csv"
    tonight.write_text(MORE + "u1,i1,five,1262305000\nu1,,5,1262305000\n")
    stuff.write_text(ITEMS.replace("i1", "i8") + ",no id,1,2\n")
    copy.write_text(GOOD)
    (shop / "empty.csv").write_text(HEADER)
    files = [tonight, stuff, copy, shop / "empty.csv", tonight]
    appended = run("build-features", *(f"--append={file}" for file in files), "--out", shop / "store", "--log-json")
    assert appended.exit_code == 0, appended.output
    assert [line.split() for line in appended.stdout.split("\n\n")[0].splitlines() if "-----" not in line] == [
        ["appended", "rows_in", "rows_out", "rejected"],
        [str(tonight), "4", "2", "2"],
        [str(stuff), "3", "2", "1"],
    ]
    summary = json.loads(appended.stderr.splitlines()[-1])
    assert summary["message"].endswith(f"; appended 4 of 7 rows; nothing new in {shop}/a copy .csv, {shop}/empty.csv")
    brought = {name: summary["figures"][name] for name in ("appended", "appended_rejected", "passed_over")}
    assert brought == {"appended": 4, "appended_rejected": 3, "passed_over": 2}
    rows = {step["name"]: step["rows_in"] for step in open_store(shop / "store").manifest["steps"]}
    assert (rows["read interactions"], rows["read items"]) == (64, 5)


def test_of_many_files_the_first_are_shown(shop, run) -> None:
    for number in range(40):
        (shop / f"new{number:02}.csv").write_text(f"{HEADER}u{number},i1,5,1262305000\n")
    shown = run("build-features", "--append", shop / "new*.csv", "--out", shop / "store").stdout.split("\n\n")[0]
    assert [line.split("  ")[0] for line in shown.splitlines()[-2:]] == [f"{shop}/new29.csv", "and 10 more"]


def test_where_no_file_brings_anything_new_that_is_all_that_is_told(shop, run) -> None:
    for number in range(40):
        (shop / f"copy{number:02}.csv").write_text(GOOD)
    appended = run("build-features", "--append", shop / "copy*.csv", "--out", shop / "store")
    assert appended.stdout.startswith("step ")
    assert f"; nothing new in {shop}/copy00.csv, {shop}/copy01.csv, " in appended.stderr
    assert f"{shop}/copy29.csv and 10 more; " in appended.stderr
    assert "appended" not in appended.stderr


def test_items_of_which_no_metadata_says_anything_are_counted(shop, run, accept) -> None:
    assert open_store(shop / "store").manifest["counts"]["items_without_metadata"] == 3
    (shop / "more.csv").write_text(MORE)
    (shop / "bare.csv").write_text("item_id,title,clip_0,clip_1\ni0,,,\ni3,green hat,1,1\n")
    new = ("--append", shop / "more.csv", "--append", shop / "bare.csv")
    assert "; 3 items without metadata" in run("build-features", *new, "--out", shop / "store").stderr
    accept("build-features", "--interactions", shop / "log.csv", "--out", shop / "none")
    assert "items_without_metadata" not in open_store(shop / "none").manifest["counts"]


def test_prices_that_cannot_be_read_are_counted_and_one_is_shown(shop, run) -> None:
    store, items, more = shop / "store", shop / "prices.csv", shop / "more prices.csv"
    items.write_text("item_id,price\ni1,4.5\ni2,0\ni3,call\x1b us\ni4,\n,free\ni1,a lot\n")
    more.write_text("item_id,price\ni5,$5\ni6,at cost\n")
    first = run("build-features", "--interactions", shop / "log.csv", "--items", items, "--out", store)
    assert f"; 2 prices could not be read, such as 'call  us' ({items}, line 4); " in first.stderr
    appended = run("build-features", "--append", more, "--out", store, "--log-json")
    summary = json.loads(appended.stderr.splitlines()[-1])
    assert f"; 3 prices could not be read, such as 'call  us' ({items}, line 4)" in summary["message"]
    assert summary["figures"]["unread_prices"] == 3
    priced = open_store(store).scan("items").filter(pl.col("price").is_not_null()).select("item_id", "price")
    assert priced.collect().rows() == [("i1", 4.5), ("i5", 5.0)]
    (shop / "more.csv").write_text(MORE)
    assert "; 3 prices could not be read" in run("build-features", "--append", shop / "more.csv", "--out", store).stderr


def accept_with_summary(accept, shop: Path, name: str) -> str:
    return str(accept("build-features", "--append", shop / name, "--out", shop / "store"))


def test_a_store_may_have_signs_of_globs_in_its_name(shop, accept) -> None:
    store = shop / "st[o]re *?=x"
    accept("build-features", "--interactions", shop / "log.csv", "--memory", "2KB", "--out", store)
    (shop / "more.csv").write_text(MORE)
    accept("build-features", "--append", shop / "more.csv", "--memory", "2KB", "--out", store)
    accept("train", "--model", "popularity", "--store", store)
    accept("rank", "--store", store, "--out", store.with_name("[p]reds.parquet"))
    accept("evaluate", store.with_name("[p]reds.parquet"), "--store", store)
