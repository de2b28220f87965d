"""How the program behaves in a terminal, in a shell and in a log: bars, JSON lines, completion, typos."""

import fcntl
import json
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from recsys_polars.cli import steps
from recsys_polars.cli.main import COMMANDS, main
from recsys_polars.cli.shared import Command, as_typed, command_line
from recsys_polars.cli.steps import Bars, Pace, StepLines
from recsys_polars.cli.values import did_you_mean
from recsys_polars.cli.voice import Voice
from recsys_polars.models import NAMES

ROOT = Path(__file__).parents[2]
PROGRAM = "from recsys_polars.cli.main import main; main()"
IMPATIENT = f"from recsys_polars.cli import steps; steps.PATIENCE = 0; {PROGRAM}"
"""Shows bars from the beginning."""
WIDTH = 80
ALWAYS = {"time", "event", "command", "seconds", "peak_bytes"}
OF_STEPS = {"step", "done", "total", "unit"}
FIELDS = {
    "step_begun": ALWAYS | OF_STEPS,
    "step_progress": ALWAYS | OF_STEPS,
    "step_done": ALWAYS | OF_STEPS,
    "note": ALWAYS | {"message"},
    "warning": ALWAYS | {"message"},
    "summary": ALWAYS | {"message", "figures", "next"},
    "error": ALWAYS | {"message", "code", "traceback"},
    "stopped": ALWAYS | {"message", "code"},
}
"""What a line of each event has, as docs/logs.md says."""


def every_command() -> Iterator[tuple[str, click.Command]]:
    """All commands with the words that name them, those of groups too."""
    for name in COMMANDS:
        command = import_module(COMMANDS[name]).command
        yield name, command
        for below, one in getattr(command, "commands", {}).items():
            yield f"{name} {below}", one


ALL = dict(every_command())


def events(text: str) -> list[dict[str, Any]]:
    """The events of JSON lines, each checked for its fields."""
    found = [json.loads(line) for line in text.splitlines()]
    for one in found:
        assert set(one) == FIELDS[one["event"]], one
        assert datetime.now(UTC) >= datetime.fromisoformat(one["time"])
        assert one["seconds"] >= 0
        assert one["peak_bytes"] > 10_000_000
    return found


def in_terminal(words: list[str], *, stop: str = "", **environment: str) -> tuple[int, str]:
    """Run the program in a terminal and press Ctrl-C once it shows `stop`; return its exit code and what it showed."""
    process, terminal = pty.fork()
    if process == 0:
        os.execve(
            sys.executable,
            [sys.executable, "-c", IMPATIENT, *words],
            {**os.environ, "TERM": "xterm-256color", **environment},
        )
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, WIDTH, 0, 0))
    shown, deadline = b"", time.monotonic() + 600
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            read = os.read(terminal, 65536)
        except OSError:  # as Linux says that the other end has gone
            break
        if not read:
            break
        shown += read
        if stop and stop.encode() in shown:
            os.write(terminal, b"\x03")
            stop = ""
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), shown.decode()


# JSON lines


def test_every_command_that_works_takes_log_json_and_debug() -> None:
    workers = {name for name, command in ALL.items() if isinstance(command, Command)}
    assert workers == set(ALL) - {"store", "completion"}
    for name in workers:
        assert {"--log-json", "--debug"} <= {option for param in ALL[name].params for option in param.opts}


def test_every_command_says_all_in_json_lines_where_that_is_asked_for(
    run: Callable[..., Result], world: Any, store: Path, tmp_path: Path
) -> None:
    lists, at = tmp_path / "p.parquet", ("--store", store)
    jobs: Mapping[str, tuple[object, ...]] = {
        "build-features": ("--interactions", world.log, "--items", world.items, "--out", store),
        "audit-leaks": (store,),
        "tune": ("--model", "two-tower", "--trials", "1", *at),
        "train": ("--model", "two-tower", *at),
        "rank": ("--out", lists, *at),
        "evaluate": (lists, *at),
        "explain": ("u001", *at),
        "similar": ("i001", *at),
        "export": ("--to", "parquet", "--out", tmp_path / "vectors", *at),
        "store list": at,
        "store verify": at,
        "store prune": at,
    }
    assert set(jobs) == set(ALL) - {"demo", "store", "completion"}
    for name, words in jobs.items():
        result = run(*name.split(), "--log-json", *words)
        assert result.exit_code == 0, result.output
        found = events(result.stderr)
        assert {one["command"] for one in found} == {name}
        assert [one["event"] for one in found].count("summary") == 1
        assert found[-1]["event"] == "summary"
        assert all(isinstance(figure, int | float | None) for figure in found[-1]["figures"].values())
        begun, done = ([one["step"] for one in found if one["event"] == event] for event in ("step_begun", "step_done"))
        assert begun == done
        assert begun or name in {"explain", "similar", "store list", "store prune"}


def test_the_figures_of_a_summary_are_those_of_the_line_and_the_next_command_is_a_field(
    run: Callable[..., Result], world: Any, tmp_path: Path
) -> None:
    out = tmp_path / "my store"
    words = ("build-features", "--interactions", world.log, "--items", world.items, "--out", out)
    summary = events(run("--log-json", *words).stderr)[-1]
    counted = {"users": 30, "items": 20, "train": 192, "valid": 23, "test": 25, "repeats": 0, "rejected": 0}
    counted |= {"items_without_metadata": 0, "unread_prices": 0}
    assert summary["figures"] == counted
    assert summary["message"] == f"{out}: 30 users, 20 items, pairs: 192 train, 23 valid, 25 test, 0 repeats"
    assert summary["next"] == f"recsys-polars train --model popularity --store '{out}'"


@pytest.mark.parametrize(
    ("words", "command", "says"),
    [
        (("--log-json", "tran"), "", "No such command 'tran'. Did you mean 'train' or 'rank'?"),
        (("train", "--log-json", "--modle", "mlp"), "train", "No such option '--modle'. Did you mean '--model'?"),
        (("train", "--log-json"), "train", "Missing option '--model'."),
        (("store", "verify", "--log-json", "--store", "nowhere"), "store verify", "expected a feature store"),
        (("rank", "--log-json", "--out", "x", "--memory", "2XB"), "rank", "found '2XB'"),
    ],
)
def test_errors_are_json_too_and_the_exit_code_stays(
    run: Callable[..., Result], words: tuple[str, ...], command: str, says: str
) -> None:
    result = run(*words)
    (error,) = events(result.stderr)
    assert (result.exit_code, result.stdout) == (2, "")
    assert (error["event"], error["code"], error["command"], error["traceback"]) == ("error", 2, command, None)
    assert says in error["message"]


def test_a_fault_of_ours_is_an_event_of_code_1_and_debug_adds_its_traceback(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, world: Any
) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("odd")

    monkeypatch.setattr("recsys_polars.recipes.keeping.list_store", fail)
    result = run("store", "list", "--store", world.store, "--log-json", "--debug")
    (error,) = events(result.stderr)
    assert (result.exit_code, error["code"]) == (1, 1)
    assert error["message"].startswith("RuntimeError: odd")
    assert "in fail" in error["traceback"]


def test_what_libraries_write_to_stderr_becomes_warnings(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, world: Any
) -> None:
    def chatter(*args: object) -> Any:
        warnings.warn("mind the gap", RuntimeWarning, stacklevel=2)
        sys.stderr.write("half a line, ")
        sys.stderr.write("\x1b[31mthe rest\nand a line that never ends")
        raise ValueError

    monkeypatch.setattr("recsys_polars.recipes.keeping.list_store", chatter)
    words = ("store", "list", "--store", world.store)
    told = [one["message"] for one in events(run(*words, "--log-json").stderr) if one["event"] == "warning"]
    assert told == ["mind the gap", "half a line, ?[31mthe rest", "and a line that never ends"]
    assert "Warning: mind the gap\n" in run(*words).stderr


def test_a_step_is_told_of_when_it_begins_now_and_then_and_when_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.5, 2.0, 2.5, 4.5, 5.0])
    written = list[tuple[object, ...]]()

    class Heard(Voice):
        def write(self, event: str, *, seconds: float | None = None, **fields: Any) -> None:
            written.append((event, *fields.values(), seconds))

    heard = Heard()
    monkeypatch.setattr(steps.time, "monotonic", lambda: next(clock))
    with StepLines(heard) as progress:
        for done in (0, 1, 2, 5):
            progress("rank", done, 9, "users")
        progress("write", 0, 0)
    assert written == [
        ("step_begun", "rank", 0, 9, "users", 0.0),
        ("step_progress", "rank", 2, 9, "users", 2.0),
        ("step_done", "rank", 5, 9, "users", 4.5),
        ("step_begun", "write", 0, None, None, 0.0),
        ("step_done", "write", 0, None, None, 0.5),
    ]


def test_a_step_that_fails_is_never_done() -> None:
    written = list[str]()

    class Heard(Voice):
        def write(self, event: str, *, seconds: float | None = None, **fields: Any) -> None:
            written.append(event)

    def fail() -> None:
        with StepLines(Heard()) as progress:
            progress("rank", 0, 9)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert written == ["step_begun"]


def test_the_documentation_of_logs_has_every_event_and_field() -> None:
    text = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| `")]
    said = {name.strip("`"): set(re.findall(r"`(\w+)`", fields)) for name, fields, *_ in rows}
    assert {event: fields | ALWAYS for event, fields in said.items() if event in FIELDS} == FIELDS
    assert set(said) - set(FIELDS) == set()
    assert all(f"`{field}`" in text for field in ALWAYS)


# Bars


@pytest.mark.parametrize(
    ("news", "now", "says"),
    [
        ([(0, 0, 1000, "users"), (4, 400, 1000, "users")], 4, "40% of 1,000 users, 100/s, 0:00:06 left"),
        ([(0, 0, 1000, "users"), (4, 400, 1000, "users")], 7, "40% of 1,000 users, 100/s, 0:00:03 left"),
        ([(0, 0, 1000, "users"), (4, 400, 1000, "users")], 70, "40% of 1,000 users, 100/s, 0:00:00 left"),
        ([(0, 300, 1000, "users"), (10, 400, 1000, "users")], 10, "40% of 1,000 users, 10/s, 0:01:00 left"),
        ([(0, 0, 0, ""), (50, 1, 300, "trees"), (60, 101, 300, "trees")], 60, "34% of 300 trees, 10/s, 0:00:20 left"),
        ([(0, 0, 30, "trials"), (40, 1, 30, "trials")], 40, "3% of 30 trials, 0:19:20 left"),
        ([(0, 0, 0, "rows"), (10, 5_000_000, 0, "rows")], 11, "5,000,000 rows, 500,000/s, 0:00:11"),
        ([(0, 0, 0, "rows")], 2, "0:00:02"),
        ([(0, 0, 4, ""), (10, 1, 4, "")], 10, "25% of 4, 0:00:30 left"),
        ([(0, 0, 4, "")], 3, "0% of 4, 0:00:03"),
        ([(0, 0, 0, "")], 3723, "1:02:03"),
        ([(0, 0, 1, "")], 1, "0:00:01"),
    ],
)
def test_a_bar_says_how_much_how_fast_and_how_long(news: list[tuple[int, int, int, str]], now: int, says: str) -> None:
    pace = Pace("a step", began=0)
    for when, *told in news:
        pace.tell(*told, now=when)
    assert pace.described(now) == says


def test_a_terminal_sees_one_bar_in_one_line_and_a_pipe_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(steps, "PATIENCE", 0.0)
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.setenv("TERM", "xterm")

    def drawn() -> str:
        with Bars() as progress:
            progress("read", 0, 0)
            for done in range(3):
                progress("rank", done * 100_000, 1_000_000, "users")
                time.sleep(0.12)
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)

    assert drawn() == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    lines = [line for line in re.split(r"[\r\n]+", drawn()) if line.strip()]
    assert any(re.match(r"rank .*20% of 1,000,000 users, [\d,]+/s, 0:00:0\d left", line) for line in lines)
    assert all(len(line) <= WIDTH and line.startswith(("rank ", "read ")) for line in lines)


# A terminal


def test_a_terminal_has_the_next_command_on_a_line_of_its_own(world: Any, tmp_path: Path) -> None:
    out = tmp_path / "p.parquet"
    words = ["rank", "--model", "popularity", "--store", str(world.store), "--out", str(out)]
    code, shown = in_terminal(words)
    assert code == 0
    lines = shown.split("\r\n")
    assert lines[-2:] == [f"next: recsys-polars evaluate {out} --report report.html --store {world.store}", ""]


def test_nothing_is_coloured_where_no_color_is_set(world: Any) -> None:
    words = ["store", "verify", "--store", str(world.store)]
    colours = re.compile(r"\x1b\[[\d;]*3\d")
    assert colours.search(in_terminal(words)[1])
    shown = in_terminal(words, NO_COLOR="1")[1]
    assert "bytes" in shown
    assert not colours.search(shown)


def test_ctrl_c_is_one_line_and_code_130(tmp_path: Path) -> None:
    big = tmp_path / "big.csv"
    rows = (f"u{n % 9973},i{n % 2999},5,{1_262_304_000 + n}\n" for n in range(400_000))
    big.write_text("user_id,item_id,rating,event_time\n" + "".join(rows))
    words = ["build-features", "--interactions", str(big), "--out", str(tmp_path / "s"), "--memory", "1MB"]
    code, shown = in_terminal(words, stop="cut and label")
    assert code == 130
    assert shown.split("\r\n")[-2:] == ["Stopped. What was there before is as it was.", ""]
    assert "Traceback" not in shown


def test_ctrl_c_is_an_event_where_events_are_asked_for(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, world: Any
) -> None:
    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("recsys_polars.recipes.keeping.list_store", stop)
    words = ("store", "list", "--store", world.store)
    result = run(*words, "--log-json")
    (stopped,) = events(result.stderr)
    assert (result.exit_code, stopped["event"], stopped["code"]) == (130, "stopped", 130)
    assert run(*words).stderr == "Stopped. What was there before is as it was.\n"


# Help and typos


@pytest.mark.parametrize("name", ALL)
def test_help_has_an_example_and_fits_80_columns(run: Callable[..., Result], name: str) -> None:
    text = run(*name.split(), "--help").stdout
    assert f"  recsys-polars {name}" in text or f"(recsys-polars {name}" in text
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "RANGE" not in text


@pytest.mark.parametrize("words", [("--help",), ("store", "--help")])
def test_the_commands_of_a_group_are_told_in_whole_sentences(run: Callable[..., Result], words: tuple[str]) -> None:
    listed = run(*words).stdout.partition("Commands:\n")[2]
    assert listed
    assert "..." not in listed


OPTIONS = ("--users", "--out", "--candidates", "--min-rating", "--help", "--loss", "--store", "--clip", "-k")


@pytest.mark.parametrize(
    ("word", "names", "says"),
    [
        ("catbost", NAMES, " Did you mean 'catboost'?"),
        ("MLP", NAMES, " Did you mean 'mlp'?"),
        ("pop", NAMES, " Did you mean 'popularity'?"),
        ("two_tower", NAMES, " Did you mean 'two-tower'?"),
        ("svd", NAMES, ""),
        ("x", NAMES, ""),
        ("", NAMES, ""),
        ("build", COMMANDS, " Did you mean 'build-features'?"),
        ("trian", COMMANDS, " Did you mean 'train'?"),
        ("tower", NAMES, " Did you mean 'two-tower'?"),
        ("autos.parquet", NAMES, ""),
        ("gpu", ("auto", "cpu", "cuda"), ""),
        ("--output", OPTIONS, " Did you mean '--out'?"),
        ("--user", OPTIONS, " Did you mean '--users'?"),
        ("--rating", OPTIONS, " Did you mean '--min-rating'?"),
        ("--html", OPTIONS, ""),
        ("--input", OPTIONS, ""),
        ("--lr", OPTIONS, ""),
        ("--items", OPTIONS, ""),
        ("--n", OPTIONS, ""),
    ],
)
def test_a_typo_is_met_with_what_is_near_it_alone(word: str, names: tuple[str], says: str) -> None:
    assert did_you_mean(word, names) == says


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("evalute",), "Did you mean 'evaluate'?"),
        (("store", "lst"), "Did you mean 'list'?"),
        (("rank", "--canditates", "x"), "No such option '--canditates'. Did you mean '--candidates'?\n"),
        (("evaluate", "--html", "x"), "No such option '--html'.\n"),
        (("train", "--model", "catbost"), "Did you mean 'catboost'?"),
        (("build-features", "--split", "global"), "Did you mean 'global-time'?"),
        (("rank", "--out", "p", "--users", "tset"), "expected test, all or a file, found 'tset'. Did you mean 'test'?"),
        (("rank", "--out", "p", "--candidates", "cat"), "Did you mean 'catalogue'?"),
        (("completion", "bsh"), "Did you mean 'bash'"),
    ],
)
def test_typos_of_commands_options_and_values_are_answered(
    refuse: Callable[..., str], words: tuple[str, ...], says: str
) -> None:
    assert says in refuse(*words)


# Commands by the name they were called by


def test_a_launcher_is_named_as_it_was_typed(monkeypatch: pytest.MonkeyPatch, run: Callable[..., Result]) -> None:
    assert command_line("rank", "--out", "my lists", store=Path("s")) == "recsys-polars rank --out 'my lists' --store s"
    monkeypatch.setenv("RECSYS_POLARS_BIN", "bin/")
    assert command_line("train", "--model", "auto", store=Path("data/store")) == "bin/train --model auto"
    assert as_typed("recsys-polars tune") == "bin/tune"
    text = run("train", "--help").stdout
    assert text.startswith("Usage: bin/train [OPTIONS]\n")
    assert "  bin/train --model catboost\n" in text
    assert "recsys-polars" not in text
    assert "Try 'bin/train --help' for help." in run("train", "--nonsense").stderr


def test_errors_name_commands_as_they_are_typed_and_folders_as_they_are(
    monkeypatch: pytest.MonkeyPatch, refuse: Callable[..., str], store: Path, tmp_path: Path
) -> None:
    nowhere = tmp_path / "recsys-polars copy" / "store"
    monkeypatch.setenv("RECSYS_POLARS_BIN", "bin/")
    assert "found 'recsys-polars x'" in refuse("explain", "recsys-polars x", "--model", "popularity", "--store", store)
    shutil.rmtree(store / "models")
    for typed, launchers in (("recsys-polars ", ""), ("../my bin/\\1", "../my bin/\\1")):
        monkeypatch.setenv("RECSYS_POLARS_BIN", launchers)
        told = refuse("rank", "--store", nowhere, "--out", tmp_path / "p.parquet")
        assert told.startswith(f"Error: {nowhere}: expected a feature store, found none; ")
        assert told.endswith(f"build one with {typed}build-features --out '{nowhere}'\n")
        told = refuse("rank", "--store", store, "--out", tmp_path / "p.parquet")
        assert told.endswith(f"found none; run {typed}train --model KIND first\n")
        for name in ("recsys-polars copy/s", "my recsys-polars train", "run recsys-polars train"):
            told = refuse("rank", "--store", name, "--out", "p.parquet")
            assert told.startswith(f"Error: {name}: expected a feature store, found none; ")
            assert told.endswith(f"build one with {typed}build-features --out '{name}'\n")


def test_launchers_say_how_they_were_called(tmp_path: Path) -> None:
    """The installation is left out: the stamp says that it is there, and the program prints what it is told."""
    launcher = tmp_path / "bin" / "demo"
    launcher.parent.mkdir()
    shutil.copy(ROOT / "bin" / "demo", launcher)
    (launcher.parent / "train").symlink_to("demo")
    program = tmp_path / ".venv" / "bin" / "recsys-polars"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "$RECSYS_POLARS_BIN" "$@"\n')
    program.chmod(0o755)
    for name in ("constraints.txt", "pyproject.toml"):
        (tmp_path / name).write_text("x\n")
    wanted = subprocess.run(
        ["sh", "-c", "cat constraints.txt pyproject.toml | cksum"], cwd=tmp_path, capture_output=True
    )
    (tmp_path / ".venv" / "installed").write_bytes(wanted.stdout)
    for typed in ("bin/train", str(launcher.parent / "train")):
        done = subprocess.run([typed, "-k", "3"], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout == f"{typed.removesuffix('train')} train -k 3\n"


# Completion


def completed(*words: str) -> list[str]:
    """What a shell is offered for the last word."""
    environment = {
        "_RECSYS_POLARS_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["recsys-polars", *words]),
        "COMP_CWORD": str(len(words)),
    }
    result = CliRunner().invoke(main, [], env=environment)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("tr",), ["plain,train"]),
        (("store", "ver"), ["plain,verify"]),
        (("train", "--model", "ca"), ["plain,catboost"]),
        (("rank", "--model", "p"), ["plain,popularity"]),
        (("train", "--mo"), ["plain,--model"]),
        (("rank", "--log"), ["plain,--log-json"]),
        (("rank", "--users", "a"), ["file,a", "plain,all"]),
        (("rank", "--out", "pre"), ["file,pre"]),
        (("build-features", "--interactions", "log"), ["file,log"]),
        (("build-features", "--append", "log"), ["file,log"]),
        (("evaluate", "pre"), ["file,pre"]),
        (("completion", "f"), ["plain,fish"]),
    ],
)
def test_words_are_completed(words: tuple[str, ...], offered: list[str]) -> None:
    assert completed(*words) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_calls_the_program_and_is_understood(
    run: Callable[..., Result], tmp_path: Path, shell: str
) -> None:
    script = run("completion", shell).stdout
    assert f"_RECSYS_POLARS_COMPLETE={shell}_complete" in script
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} to read it")
    (tmp_path / "script").write_text(script)
    subprocess.run([shell, "-n", tmp_path / "script"], check=True)


def test_bash_completes_the_name_of_a_model(run: Callable[..., Result], tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    program = tmp_path / "recsys-polars"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{PROGRAM}" "$@"\n')
    program.chmod(0o755)
    (tmp_path / "script").write_text(run("completion", "bash").stdout)
    asked = (
        "source ./script; COMP_WORDS=(recsys-polars train --model ca); COMP_CWORD=3; "
        '_recsys_polars_completion ./recsys-polars; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run([bash, "-c", asked], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "catboost\n"
