"""The good paths of the commands: exit code 0, results to files and tables to stdout, one summary line to stderr."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import Result

from recsys_polars.cli.main import COMMANDS
from recsys_polars.models import KINDS
from recsys_polars.store import open_store

PROGRAM = [sys.executable, "-c", "from recsys_polars.cli.main import main; main()"]
CONTRACT: dict[str, dict[str, Any]] = {
    "build-features": {
        "--interactions": None,
        "--items": None,
        "--format": "auto",
        "--column": {},
        "--item-feature": (),
        "--min-rating": 4.0,
        "--implicit": False,
        "--split": None,
        "--test-fraction": 0.1,
        "--test-n": 1,
        "--valid-fraction": 0.1,
        "--text": "tfidf",
        "--clip": None,
        "--images": None,
        "--text-dim": None,
        "--memory": 2_000_000_000,
        "--engine": "local",
        "--spark-master": None,
        "--out": "data/store",
    },
    "audit-leaks": {"store": Path("data/store")},
    "train": {
        "--store": Path("data/store"),
        "--device": "auto",
        "--seed": 42,
        "--recipe": None,
        "--history": None,
        "--negatives": None,
        "--loss": None,
        "--folds": None,
        "--seeds": None,
    },
    "tune": {"--trials": 20, "--store": Path("data/store"), "--device": "auto", "--seed": 42},
    "rank": {
        "--model": None,
        "--store": "data/store",
        "-k": 10,
        "--users": "test",
        "--candidates": "catalogue",
        "--exclude-seen": None,
        "--device": "auto",
        "--memory": 2_000_000_000,
        "--engine": "local",
        "--spark-master": None,
    },
    "evaluate": {"--store": Path("data/store"), "-k": 10, "--users": "test", "--json": None, "--report": None},
}
"""The options of the contract that have a default."""


def options_of(name: str) -> dict[str, Any]:
    command = import_module(COMMANDS[name]).command
    required = [param for param in command.params if param.required]
    context = command.make_context(name, [word for param in required for word in _words(param)])
    return {option: context.params.get(param.name) for param in command.params for option in param.opts}


def _words(param: Any) -> list[str]:
    word = param.type.choices[0] if hasattr(param.type, "choices") else "x"
    return [param.opts[0], word] if param.param_type_name == "option" else [word]


@pytest.mark.parametrize("name", CONTRACT)
def test_options_and_their_defaults_are_those_of_the_contract(name: str) -> None:
    found = options_of(name)
    assert {option: found[option] for option in CONTRACT[name]} == CONTRACT[name]


@pytest.mark.parametrize("words", [["--help"], ["-h"], *([name, "--help"] for name in COMMANDS)])
def test_help_goes_to_stdout(run: Callable[..., Result], words: list[str]) -> None:
    result = run(*words)
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")
    assert result.stderr == ""


def test_the_help_of_the_program_names_every_command(run: Callable[..., Result]) -> None:
    assert all(name in run("--help").stdout for name in COMMANDS)


def test_the_version_is_printed(run: Callable[..., Result]) -> None:
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, "recsys-polars, version 0.1.0\n")


def test_help_and_typing_errors_wait_for_no_heavy_library() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from recsys_polars.cli.main import COMMANDS, main\n"
        "for name in COMMANDS:\n"
        "    assert CliRunner().invoke(main, [name, '--help']).exit_code == 0\n"
        "    assert CliRunner().invoke(main, [name, '--nonsense']).exit_code == 2\n"
        "print(sorted({'torch', 'catboost', 'sklearn', 'scipy'} & set(sys.modules)))"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_build_prints_what_became_of_every_row_and_one_summary_line(
    run: Callable[..., Result], world: Any, tmp_path: Path, manifest_of: Callable[[Path], dict[str, Any]]
) -> None:
    out = tmp_path / "store"
    result = run("build-features", "--interactions", world.log, "--items", world.items, "--out", out)
    assert result.exit_code == 0
    assert result.stderr.startswith(f"{out}: 30 users, 20 items, pairs: 192 train, 23 valid, 25 test, 0 repeats; ")
    assert result.stderr.count("\n") == 1
    steps = manifest_of(out)["steps"]
    assert all(step["rows_in"] == step["rows_out"] + step["merged"] + step["rejected"] for step in steps)
    printed = [line.split() for line in result.stdout.splitlines()[2:]]
    columns = ("rows_in", "rows_out", "merged", "rejected")
    assert [line[-4:] for line in printed] == [[f"{step[column]:,}" for column in columns] for step in steps]


@pytest.mark.parametrize("kind", KINDS)
def test_train_says_where_the_model_lies_and_prints_nothing_else(
    run: Callable[..., Result], store: Path, kind: str
) -> None:
    result = run("train", "--model", kind, "--store", store)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith(f"{store / 'models' / kind}: trained in ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("kind", "asked", "settled"),
    [
        ("two-tower", {"history": "as-of", "negatives": "in-batch"}, {"loss": "softmax"}),
        ("mlp", {"negatives": "popular", "loss": "bpr"}, {"history": "loo"}),
        ("catboost", {"history": "as-of"}, {"negatives": "uniform", "loss": None}),
    ],
)
def test_the_manifest_of_a_model_says_what_it_was_trained_with(
    accept: Callable[..., str], store: Path, kind: str, asked: dict[str, str], settled: dict[str, str]
) -> None:
    words = [word for name, value in asked.items() for word in (f"--{name}", value)]
    accept("train", "--model", kind, "--store", store, *words)
    manifest = json.loads((store / "models" / kind / "000002" / "manifest.json").read_text())
    assert {name: manifest["settings"][name] for name in asked | settled} == asked | settled


def test_train_tells_what_it_measured_on_folds_and_seeds(run: Callable[..., Result], store: Path) -> None:
    result = run("train", "--model", "two-tower", "--store", store, "--folds", "2", "--seeds", "2")
    assert result.exit_code == 0
    folds = json.loads((store / "models" / "two-tower" / "000002" / "manifest.json").read_text())["folds"]
    told = f"; MAP@10 {folds['mean']:.4f} +- {folds['spread']:.4f} over 2 folds by 2 seeds; "
    assert told in result.stderr
    assert len(folds["figures"]) == 4


def test_train_takes_up_what_tune_found_until_the_store_is_built_again(
    run: Callable[..., Result], accept: Callable[..., str], world: Any, store: Path
) -> None:
    tuned = run("tune", "--model", "two-tower", "--trials", "2", "--store", store)
    assert (tuned.exit_code, tuned.stdout) == (0, "")
    assert tuned.stderr.startswith(f"{store / 'models' / 'two-tower.tuned.json'}: MAP@10 0.")
    assert "the best of 2 trials, 0." in tuned.stderr
    train = ("train", "--model", "two-tower", "--store", store)
    assert "with what 2 trials of tune found" in run(*train).stderr
    accept("build-features", "--interactions", world.log, "--out", store)
    again = f"recsys-polars tune --model two-tower --store {store}"
    assert f"without what tune found on another build of the store (run {again} again)" in run(*train).stderr


@pytest.mark.parametrize("kind", KINDS)
def test_rank_writes_sorted_full_lists_and_prints_nothing_else(
    run: Callable[..., Result], world: Any, tmp_path: Path, kind: str
) -> None:
    out = tmp_path / "new" / "preds.parquet"
    result = run("rank", "--model", kind, "--store", world.store, "--out", out, "-k", "3")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith(f"{out}: {kind}, top 3 of 20 items for 17 users of the test part (0 of them cold")
    predictions = pl.read_parquet(out)
    assert predictions.equals(predictions.sort("user_id", "rank"))
    assert predictions["rank"].to_list() == [1, 2, 3] * 17
    assert [path.name for path in out.parent.iterdir()] == ["preds.parquet"]


def test_rank_takes_the_model_trained_last(accept: Callable[..., str], store: Path, tmp_path: Path) -> None:
    accept("train", "--model", "two-tower", "--store", store)
    accept("train", "--model", "popularity", "--store", store)
    accept("rank", "--store", store, "--out", tmp_path / "last.parquet")
    accept("rank", "--store", store, "--out", tmp_path / "named.parquet", "--model", "popularity")
    assert pl.read_parquet(tmp_path / "last.parquet").equals(pl.read_parquet(tmp_path / "named.parquet"))


def test_seen_items_are_left_out_unless_asked_for_or_trained_by_the_notebooks_recipe(
    accept: Callable[..., str], store: Path, tmp_path: Path
) -> None:
    def lengths(*options: str) -> set[int]:
        accept("rank", "--model", "popularity", "--store", store, "--out", tmp_path / "p", "-k", "1000", *options)
        return set(pl.read_parquet(tmp_path / "p").group_by("user_id").len()["len"])

    assert max(lengths()) < 20
    assert lengths("--include-seen") == {20}
    accept("train", "--model", "popularity", "--store", store, "--recipe", "notebook")
    assert lengths() == {20}
    assert max(lengths("--exclude-seen")) < 20


def test_users_and_candidates_may_be_files_with_repeats_and_strangers(
    run: Callable[..., Result], world: Any, tmp_path: Path
) -> None:
    users, candidates, out = tmp_path / "u.txt", tmp_path / "c.csv", tmp_path / "p.parquet"
    users.write_text("u002\nu001\nu002\n\nnobody\n")
    candidates.write_text("item_id\ni003\ni001\ni003\n")
    words = ("--users", users, "--candidates", candidates, "--include-seen")
    result = run("rank", "--model", "mlp", "--store", world.store, "--out", out, *words)
    assert result.exit_code == 0
    assert (
        "top 2 of 2 items for 3 users (1 of them cold, served by popularity, users unknown to the store: 1)"
        in result.stderr
    )
    predictions = pl.read_parquet(out)
    assert predictions["user_id"].unique().sort().to_list() == ["nobody", "u001", "u002"]
    assert predictions["item_id"].unique().sort().to_list() == ["i001", "i003"]


@pytest.mark.parametrize("kind", KINDS)
def test_lists_are_the_same_in_one_byte_of_memory(
    accept: Callable[..., str], world: Any, tmp_path: Path, kind: str
) -> None:
    for memory in ("1", "2GB"):
        accept(
            "rank", "--model", kind, "--store", world.store, "--out", tmp_path / memory, "--memory", memory, "-k", "15"
        )
    assert pl.read_parquet(tmp_path / "1").equals(pl.read_parquet(tmp_path / "2GB"))


def test_evaluate_prints_a_table_and_writes_strict_json(accept: Callable[..., str], world: Any, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    table = accept("evaluate", world.predictions, "--store", world.store, "--json", figures).splitlines()
    assert table[0].split()[:3] == ["model", "P@10", "MAP@10"]
    assert table[2].startswith("popularity ")

    def refuse_constant(name: str) -> None:
        pytest.fail(f"JSON has no {name}")

    assert json.loads(figures.read_text(), parse_constant=refuse_constant)["k"] == 10


def test_evaluate_gives_a_row_to_each_of_several_files(accept: Callable[..., str], world: Any, tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    accept("rank", "--model", "mlp", "--store", world.store, "--out", other)
    table = accept("evaluate", world.predictions, other, world.predictions, "--store", world.store)
    assert sum(line.startswith(("popularity", "mlp", "preds")) for line in table.splitlines()[2:5]) == 3


def test_evaluate_says_how_many_users_have_no_list_and_score_0(
    run: Callable[..., Result], world: Any, tmp_path: Path
) -> None:
    labelled = open_store(world.store).scan("labelled").collect()
    one, users = tmp_path / "one.parquet", labelled.filter(part="test", label=1)["user_id"]
    pl.read_parquet(world.predictions).filter(user_id=users[0]).write_parquet(one)
    result = run("evaluate", world.predictions, one, "--store", world.store, "--report", tmp_path / "r.html")
    n_users = int(result.stderr.split()[0])
    assert f"; {one}: {n_users - 1} of these users have no list and score 0; " in result.stderr
    assert result.stderr.count("have no list") == 1
    assert f"{n_users - 1} in one" in (tmp_path / "r.html").read_text()


def test_a_folder_stands_for_its_predictions_by_name(accept: Callable[..., str], world: Any, tmp_path: Path) -> None:
    for name in ("b.parquet", "a.parquet", ".c.parquet", "d.txt"):
        (tmp_path / name).write_bytes(world.predictions.read_bytes())
    table = accept("evaluate", tmp_path, "--store", world.store).splitlines()
    assert [line.split()[0] for line in table[2:4]] == ["a", "b"]
    assert table[4] == ""


def test_a_folder_without_predictions_is_told(refuse: Callable[..., str], world: Any, tmp_path: Path) -> None:
    message = refuse("evaluate", tmp_path, "--store", world.store)
    assert f"{tmp_path}: expected predictions, found a folder without *.parquet files" in message


@pytest.mark.parametrize("option", ["--report", "--json"])
def test_evaluate_does_not_write_over_what_it_judges(
    refuse: Callable[..., str], world: Any, tmp_path: Path, option: str
) -> None:
    file = tmp_path / "z.parquet"
    file.write_bytes(world.predictions.read_bytes())
    (tmp_path / "link").symlink_to(file)
    for output in (file, tmp_path / "link"):
        message = refuse("evaluate", world.predictions, tmp_path, "--store", world.store, option, output)
        assert f"{option}: expected a file of its own, found {output}, which is one of the predictions" in message
    assert file.read_bytes() == world.predictions.read_bytes()


def test_without_arguments_the_embedded_set_lands_in_the_default_store(
    run: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    manifest_of: Callable[[Path], dict[str, Any]],
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("build-features")
    assert result.exit_code == 0
    assert result.stderr.startswith("data/store: 671 users, 9,")
    assert manifest_of(tmp_path / "data" / "store")["parameters"]["split"] == "user-time"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_rebuilt_store_refuses_its_old_models_and_predictions(
    accept: Callable[..., str], refuse: Callable[..., str], world: Any, store: Path, tmp_path: Path
) -> None:
    accept("build-features", "--interactions", world.log, "--out", store)
    assert "run recsys-polars train --model mlp again" in refuse(
        "rank", "--model", "mlp", "--store", store, "--out", tmp_path / "p.parquet"
    )
    assert "rank again" in refuse("evaluate", world.predictions, "--store", store)
    accept("train", "--model", "mlp", "--store", store)
    accept("rank", "--store", store, "--out", tmp_path / "p.parquet")
    accept("evaluate", tmp_path / "p.parquet", "--store", store)


def test_piped_commands_show_no_bars_and_no_colours(world: Any, tmp_path: Path) -> None:
    words = ["rank", "--store", str(world.store), "--model", "popularity", "--out", str(tmp_path / "p.parquet")]
    done = subprocess.run([*PROGRAM, *words], capture_output=True, check=True)
    assert done.stdout == b""
    assert done.stderr.startswith(str(tmp_path / "p.parquet").encode())
    assert (done.stderr.count(b"\n"), done.stderr.count(b"\r"), done.stderr.count(b"\x1b")) == (1, 0, 0)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_stopped_build_leaves_the_old_store_whole_and_the_next_one_clears_up(
    accept: Callable[..., str],
    left_overs: Callable[[Path], list[str]],
    world: Any,
    store: Path,
    tmp_path: Path,
    sent: signal.Signals,
    code: int,
) -> None:
    big = tmp_path / "big.csv"
    rows = (f"u{n % 9973},i{n % 2999},5,{1_262_304_000 + n}\n" for n in range(400_000))
    big.write_text("user_id,item_id,rating,event_time\n" + "".join(rows))
    words = [*PROGRAM, "build-features", "--interactions", str(big), "--out", str(store)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, text=True, **pipes) as build:
        while not list(store.glob(".staging-*/*")) and build.poll() is None:
            time.sleep(0.002)
        build.send_signal(sent)
        stdout, stderr = build.communicate()
    assert (build.returncode, stdout) == (code, "")
    assert stderr == ("Stopped. What was there before is as it was.\n" if sent == signal.SIGINT else "")
    assert (store / "CURRENT").read_text().strip() == "000001"
    assert bool(left_overs(store)) == (sent == signal.SIGKILL)
    accept("rank", "--store", store, "--model", "popularity", "--out", tmp_path / "p.parquet")
    accept("build-features", "--interactions", world.log, "--out", store)
    assert left_overs(store) == []


def test_what_a_killed_ranking_left_is_cleared_by_the_next(
    accept: Callable[..., str], world: Any, tmp_path: Path
) -> None:
    (tmp_path / ".p.parquet.parts").mkdir()
    for name in ("job.json", "000000.parquet", "unfinished"):
        (tmp_path / ".p.parquet.parts" / name).write_bytes(b"of another run")
    accept("rank", "--store", world.store, "--model", "popularity", "--out", tmp_path / "p.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["p.parquet"]
