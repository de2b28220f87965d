"""Runs at the same time on one store: who reads keeps what is read, who writes is alone or is refused in one line."""

import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result
from polars.testing import assert_frame_equal

from recsys_polars.artefacts import checked_file, generations, held_generation, staged
from recsys_polars.cli.main import main
from recsys_polars.disk import write_text
from recsys_polars.guards import SCRATCH, locked, scratch_folder
from recsys_polars.recipes.rank import RankSettings, rank
from tests.slow_ranking import rank_slowly

SLOW = """
import sys, time
from pathlib import Path
from recsys_polars.cli.main import main
from recsys_polars.recipes import {recipe}

publish = {recipe}.{function}

def slowly(*args, **kwargs):
    Path(sys.argv.pop()).touch()
    time.sleep(60)
    return publish(*args, **kwargs)

{recipe}.{function} = slowly
main(sys.argv[1:-1])
"""


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def log(tmp_path: Path) -> Path:
    file = tmp_path / "log.csv"
    rows = (
        f"u{u:03d},i{(u * 7 + n * 11) % 40:02d},5,{1_300_000_000 + n * 1000 + u}" for u in range(200) for n in range(9)
    )
    file.write_text("\n".join(["user_id,item_id,rating,event_time", *rows]))
    return file


@pytest.fixture
def store(log: Path, tmp_path: Path) -> Path:
    build(log, tmp_path / "store")
    assert run("train", "--model", "popularity", "--store", tmp_path / "store").exit_code == 0
    return tmp_path / "store"


def build(log: Path, store: Path, *words: object) -> None:
    assert run("build-features", "--interactions", log, "--out", store, *words).exit_code == 0


@pytest.fixture
def begin(tmp_path: Path):
    """Begin a command in another process; it stands still in the middle of its work until the test ends."""
    begun = []

    def begin_command(recipe: str, function: str, *words: object) -> None:
        sign = tmp_path / f"in the middle of {recipe}"
        program = SLOW.format(recipe=recipe, function=function)
        begun.append(subprocess.Popen([sys.executable, "-c", program, *map(str, words), str(sign)]))
        while not sign.exists():
            assert begun[-1].poll() is None, "ended too early"
            time.sleep(0.01)

    yield begin_command
    for process in begun:
        process.kill()
        process.wait()


def test_a_second_build_and_a_prune_are_refused_while_one_builds_and_the_store_is_read_and_trained_on(
    begin, log, store, tmp_path
) -> None:
    before = (store / "CURRENT").read_bytes()
    begin("build", "store_knowledge", "build-features", "--interactions", log, "--out", store)
    for words in (("build-features", "--interactions", log, "--out", store), ("store", "prune", "--store", store)):
        refused = run(*words)
        assert refused.exit_code == 2
        assert refused.stderr == f"Error: {store}: another run is writing there; wait for it to end\n"
    for words in (
        ("train", "--model", "popularity", "--store", store),
        ("rank", "--store", store, "--out", tmp_path / "p.parquet"),
        ("evaluate", tmp_path / "p.parquet", "--store", store),
        ("store", "verify", "--store", store),
    ):
        assert run(*words).exit_code == 0
    assert (store / "CURRENT").read_bytes() == before


def test_a_training_during_which_the_store_was_built_anew_leaves_a_model_that_is_stale(
    log, store, tmp_path, monkeypatch
) -> None:
    from recsys_polars.recipes import train

    publish = train.publish_model

    def after_three_builds(*args):
        for _ in range(3):
            build(log, store, "--min-rating", 3)
        return publish(*args)

    monkeypatch.setattr(train, "publish_model", after_three_builds)
    assert run("train", "--model", "popularity", "--store", store).exit_code == 0
    refused = run("rank", "--store", store, "--out", tmp_path / "p.parquet")
    assert refused.exit_code == 2
    assert "run recsys-polars train --model popularity again" in refused.stderr


def test_of_two_trainings_of_one_kind_the_second_is_refused(begin, store) -> None:
    store_of_models = store / "models" / "popularity"
    with locked(store_of_models):
        refused = run("train", "--model", "popularity", "--store", store)
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert f"{store_of_models}: another run is writing there" in refused.stderr


def test_what_a_ranking_reads_stays_through_builds_and_prunes_and_then_goes(log, store, tmp_path) -> None:
    whole, out = tmp_path / "whole.parquet", tmp_path / "p.parquet"
    rank(store, whole, RankSettings())
    process = rank_slowly(store, out, users_at_once=5)
    while not list(tmp_path.glob(".p.parquet.parts/*.parquet")):
        assert process.poll() is None, "ended too early"
        time.sleep(0.01)
    for _ in range(2):
        build(log, store)
        assert run("train", "--model", "popularity", "--store", store).exit_code == 0
    pruned = run("store", "prune", "--keep", 1, "--store", store)
    assert process.poll() is None
    assert f"{store / '000001'}: stays, a run is reading it" in pruned.stdout
    assert f"{store / 'models' / 'popularity' / '000001'}: stays, a run is reading it" in pruned.stdout
    assert generations(store) == ["000001", "000003"]
    assert process.wait() == 0
    assert_frame_equal(pl.read_parquet(out), pl.read_parquet(whole))
    assert run("store", "prune", "--keep", 1, "--store", store).exit_code == 0
    assert generations(store) == generations(store / "models" / "popularity") == ["000003"]


PUBLISH = """
import sys
from pathlib import Path
from recsys_polars.artefacts import staged

for number in range(int(sys.argv[2])):
    with staged(Path(sys.argv[1])) as stage:
        (stage.folder / "a").write_text(stage.generation)
        stage.add_file("a")
"""


def test_a_reader_always_gets_a_whole_generation_however_often_another_process_publishes(tmp_path) -> None:
    with staged(tmp_path) as stage:
        (stage.folder / "a").write_text(stage.generation)
        stage.add_file("a")
    process = subprocess.Popen([sys.executable, "-c", PUBLISH, str(tmp_path), "100"])
    seen = set()
    while process.poll() is None:
        name, manifest, held = held_generation(tmp_path)
        assert held is not None
        assert checked_file(tmp_path / name, "a", manifest).read_text() == name
        seen.add(name)
    assert process.wait() == 0
    assert len(seen) > 10


WRITE = """
import sys
from pathlib import Path
from recsys_polars.disk import write_text

for number in range(100):
    write_text(Path(sys.argv[1]), sys.argv[2] * 100)
"""


def test_a_text_that_two_processes_replace_all_the_time_is_of_the_one_or_of_the_other(tmp_path) -> None:
    file = tmp_path / "text"
    write_text(file, "a" * 100)
    writers = [subprocess.Popen([sys.executable, "-c", WRITE, str(file), letter]) for letter in "ab"]
    while any(writer.poll() is None for writer in writers):
        assert file.read_text() in {"a" * 100, "b" * 100}
    assert [writer.wait() for writer in writers] == [0, 0]
    assert [entry.name for entry in tmp_path.iterdir()] == ["text"]


KILLED = """
import os, signal, sys
from pathlib import Path
from recsys_polars.guards import scratch_folder

with scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("done")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_scratch_folders_of_killed_runs_go_with_the_next_and_those_in_use_stay(tmp_path) -> None:
    (tmp_path / "mine").mkdir()
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    (left,) = tmp_path.glob(f"{SCRATCH}*")
    with scratch_folder(tmp_path) as first, scratch_folder(tmp_path) as second:
        assert {entry.name for entry in tmp_path.iterdir()} == {"mine", first.name, second.name}
        assert not left.exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine"]
