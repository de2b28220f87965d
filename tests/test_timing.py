"""What a run took is kept beside what it made, and changes none of it."""

import json
import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recsys_polars.api.evaluate import evaluate
from recsys_polars.models.protocol import FitSettings
from recsys_polars.recipes import parts, silent, timing
from recsys_polars.recipes import rank as ranking
from recsys_polars.recipes.append import append_features
from recsys_polars.recipes.build import build_features
from recsys_polars.recipes.raw import BuildSettings
from recsys_polars.recipes.sides import RankSettings
from recsys_polars.recipes.timing import TIMINGS, StepTime, Stopwatch, Timing, read_timings
from recsys_polars.recipes.train import train
from recsys_polars.recipes.trained import name_of_training
from recsys_polars.recipes.verifying import verify_store
from recsys_polars.sealing import seal_of
from recsys_polars.store import open_store

FINE = {"made": "x", "seconds": 1.5, "peak_bytes": 7, "steps": [{"step": "a", "seconds": 1.0, "peak_bytes": 6}]}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    log = {"user_id": list("aabbabccab"), "item_id": list("xyxzzyxwww"), "rating": [5, 2, 4, 5, 3] * 2}
    file = tmp_path / "log.csv"
    pl.DataFrame(log).with_columns(event_time=1_700_000_000 + pl.int_range(10)).write_csv(file)
    return file


@pytest.fixture
def store(log: Path, tmp_path: Path) -> Path:
    return build_features(BuildSettings(interactions=str(log)), tmp_path / "store").path


def ranked(store: Path, out: Path) -> Path:
    train(store, "popularity", FitSettings())
    ranking.rank(store, out, RankSettings())
    return out


def test_a_stopwatch_adds_up_a_step_that_comes_again_and_passes_on_what_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, memory, told = [100.0], [5], list[tuple[Any, ...]]()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(timing, "peak_bytes", lambda: memory[0])
    watch = Stopwatch(lambda *news: told.append(news))
    now[0] += 2  # what comes before the first step is its own
    for step, seconds, peak in (("a", 0.25, 6), ("b", 10, 7), ("a", 0.5, 9)):
        for done in (0, 1):
            watch(step, done, 1, "rows")
        now[0] += seconds
        memory[0] = peak
    watch.keep(tmp_path, "it")
    assert read_timings(tmp_path) == {"it": Timing("it", 12.75, 9, [StepTime("a", 2.75, 9), StepTime("b", 10, 7)])}
    assert told == [(step, done, 1, "rows") for step in "aba" for done in (0, 1)]


def test_every_recipe_that_makes_something_keeps_what_it_took(store: Path, log: Path, tmp_path: Path) -> None:
    out = ranked(store, tmp_path / "p.parquet")
    trained = train(store, "popularity", FitSettings())
    more = tmp_path / "more.csv"
    more.write_text("user_id,item_id,rating,event_time\nd,x,5,1700000000\n")
    built = open_store(store)
    appended = append_features(store, [str(more)]).store
    timings = read_timings(store)
    assert set(timings) == {built.identity, name_of_training(trained), seal_of(out), appended.identity}
    for made, steps in {
        built.identity: ["read interactions", "read items", "sort by user", "cut and label", "build features"],
        appended.identity: ["read interactions", "read items", "sort by user", "cut and label", "build features"],
        name_of_training(trained): ["train"],
        seal_of(out): ["prepare", "rank"],
    }.items():
        assert [step.step for step in timings[str(made)].steps][: len(steps)] == steps


def test_an_append_of_what_was_there_already_keeps_nothing(store: Path, log: Path) -> None:
    before = (store / TIMINGS).read_bytes()
    append_features(store, [str(log)])
    assert (store / TIMINGS).read_bytes() == before


def test_what_is_made_has_the_same_bytes_whatever_it_took(store: Path, log: Path, tmp_path: Path) -> None:
    again = build_features(BuildSettings(interactions=str(log)), tmp_path / "again")
    assert again.identity == open_store(store).identity
    assert {file.name for file in (store / "000001").iterdir()} == set(again.manifest["files"]) | {"manifest.json"}
    for file in (store / "000001").iterdir():
        assert file.read_bytes() == (again.path / "000001" / file.name).read_bytes()
    lists = [ranked(path, tmp_path / f"{path.name}.parquet") for path in (store, again.path)]
    assert lists[0].read_bytes() == lists[1].read_bytes()


def test_a_ranking_that_was_taken_up_again_has_no_time_of_the_whole(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(store, "popularity", FitSettings())
    monkeypatch.setattr(ranking, "USERS_AT_ONCE", 1)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(parts.Parts, "join", interrupt)
        with pytest.raises(KeyboardInterrupt):
            ranking.rank(store, tmp_path / "p.parquet", RankSettings(users="all"))
    before = (store / TIMINGS).read_bytes()
    ranking.rank(store, tmp_path / "p.parquet", RankSettings(users="all"))
    assert (store / TIMINGS).read_bytes() == before
    assert evaluate([tmp_path / "p.parquet"], store).runs["popularity"]["rank_seconds"] is None
    ranking.rank(store, tmp_path / "p.parquet", RankSettings(users="all"))
    assert evaluate([tmp_path / "p.parquet"], store).runs["popularity"]["rank_seconds"] > 0


def test_the_latest_time_counts_and_lines_that_are_not_ours_are_passed_over(tmp_path: Path) -> None:
    lines = [
        *(FINE, FINE | {"seconds": 2.5}),
        *({}, [], 1, None, FINE | {"steps": None}, FINE | {"steps": [1]}, FINE | {"seconds": "x", "made": "y"}),
        *(FINE | {"made": "y", "seconds": bad} for bad in (float("nan"), float("inf"), -1, None, 10**400)),
        *(FINE | {"made": "y", "peak_bytes": bad} for bad in (float("inf"), -1, 1 << 63, "x")),
    ]
    texts = [json.dumps(line).encode() for line in lines]
    (tmp_path / TIMINGS).write_bytes(b"\n".join([b"\xff\xfe", b"[" * 100_000, *texts, b'{"made": "z", "seco']))
    assert read_timings(tmp_path) == {"x": Timing("x", 2.5, 7, [StepTime("a", 1.0, 6)])}


def test_of_a_long_file_the_end_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys_polars.recipes.timing._READ", 300)
    for made in ("first", "last"):
        Stopwatch(silent).keep(tmp_path, made)
        with (tmp_path / TIMINGS).open("a") as file:
            file.write("x" * 100 + "\n")
    assert set(read_timings(tmp_path)) == {"last"}


def test_after_a_line_that_was_cut_off_the_next_one_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(timing.os, "write", lambda file, text: write(file, text[:20]))
    with pytest.warns(UserWarning, match="what this run took isn't kept: No space left on device"):
        Stopwatch(silent).keep(tmp_path, "cut")
    monkeypatch.setattr(timing.os, "write", write)
    Stopwatch(silent).keep(tmp_path, "whole")
    assert set(read_timings(tmp_path)) == {"whole"}


def test_nothing_is_written_into_a_pipe_that_somebody_reads(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / TIMINGS)
    reader = os.open(tmp_path / TIMINGS, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.warns(UserWarning, match="isn't kept: expected a file"):
        Stopwatch(silent).keep(tmp_path, "it")
    assert os.read(reader, 10) == b""
    os.close(reader)
    assert read_timings(tmp_path) == {}


def test_times_that_may_not_be_read_are_unknown_and_no_reason_to_fail(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = ranked(store, tmp_path / "p.parquet")
    opened = Path.open

    def refuse(path: Path, *args: Any, **options: Any) -> Any:
        if path.name == TIMINGS:
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **options)

    monkeypatch.setattr(Path, "open", refuse)
    run = evaluate([out], store).runs["popularity"]
    assert run["rank_seconds"] is None
    assert run["train_seconds"] > 0


def test_lists_of_another_program_have_no_time(store: Path, tmp_path: Path) -> None:
    train(store, "popularity", FitSettings())
    rows = {"user_id": ["a"], "rank": [1], "item_id": ["x"], "score": [1.0]}
    schema = {"user_id": pl.String, "rank": pl.UInt32, "item_id": pl.String, "score": pl.Float32}
    pl.DataFrame(rows, schema).write_parquet(tmp_path / "theirs.parquet")
    (store / TIMINGS).write_text(json.dumps(FINE | {"made": ""}))
    assert evaluate([tmp_path / "theirs.parquet"], store).runs["theirs"]["rank_seconds"] is None


def test_a_ranking_is_said_to_take_what_is_kept_of_it(store: Path, tmp_path: Path) -> None:
    train(store, "popularity", FitSettings())
    figures = ranking.rank(store, tmp_path / "p.parquet", RankSettings())
    assert evaluate([tmp_path / "p.parquet"], store).runs["popularity"]["rank_seconds"] == figures["rank_seconds"]


@pytest.mark.parametrize("there", ["link", "folder", "nothing"])
def test_where_nothing_can_be_kept_a_warning_says_so_and_the_work_is_done(there: str, tmp_path: Path) -> None:
    store = tmp_path / "store"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    if there != "nothing":
        store.mkdir()
    if there == "link":
        (store / TIMINGS).symlink_to(elsewhere)
    if there == "folder":
        (store / TIMINGS).mkdir()
    with pytest.warns(UserWarning, match=r"timings\.jsonl: what this run took isn't kept: "):
        Stopwatch(silent).keep(store, "it")
    assert elsewhere.read_text() == "mine"
    assert read_timings(store) == {}


def test_a_store_with_times_is_whole(store: Path) -> None:
    assert (store / TIMINGS).is_file()
    assert verify_store(store).damage == []
    (store / TIMINGS).unlink()
    (store / TIMINGS).symlink_to(store / "CURRENT")
    assert "found a symbolic link" in verify_store(store).damage[0]
