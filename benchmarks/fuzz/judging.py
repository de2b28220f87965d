"""A case is run in this process; what came of it is judged."""

import gc
import json
import os
import random
import re
import resource
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner

from benchmarks.fuzz import artefacts, inputs, places
from benchmarks.fuzz.inputs import Case, Command
from recsys_polars.cli.main import main

MAX_PEAK = 4 << 30
MAX_MESSAGE = 2_000
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")
_MADE = {"store", "store2", "preds.parquet", "out.parquet"}
Maker = Callable[[random.Random, Path, Path], Case]


def _raw(make: Callable[[random.Random, Path], Case]) -> Maker:
    return lambda rng, folder, world: make(rng, folder)  # noqa: ARG005


KINDS: Mapping[str, tuple[int, Maker]] = {
    "interactions, text": (25, _raw(inputs.interactions_as_text)),
    "items, text": (15, _raw(inputs.items_as_text)),
    "gzip, zstd": (8, _raw(inputs.archives)),
    "interactions, Parquet types": (10, _raw(inputs.interactions_of_odd_types)),
    "items, Parquet types": (10, _raw(inputs.items_of_odd_types)),
    "Parquet, damaged": (8, _raw(inputs.damaged_parquet)),
    "items as interactions": (2, _raw(inputs.swapped)),
    "files, folders, pipes": (5, _raw(places.odd_places)),
    "hostile ids": (3, _raw(inputs.hostile_ids)),
    "stores, models, damaged": (5, artefacts.damaged_store),
    "manifests, changed": (4, artefacts.changed_manifest),
    "predictions, damaged": (3, artefacts.damaged_predictions),
    "lists of ids": (2, artefacts.lists_of_ids),
}
"""What is run, and how many of a hundred cases are of it."""
_ORDER = [kind for kind, (weight, _) in KINDS.items() for _ in range(weight)]


@dataclass(frozen=True)
class Verdict:
    """What came of a case; `finding` is empty where all is well."""

    number: int
    kind: str
    note: str
    code: int
    finding: str
    peak: int = 0
    commands: tuple[Command, ...] = ()


def kind_of(seed: int, number: int) -> str:
    """Return the kind of a case."""
    place = number % len(_ORDER)
    return random.Random(seed).sample(_ORDER, len(_ORDER))[place]


def make_world(folder: Path) -> None:
    """Build a valid store with a trained model, and predictions, which cases copy and damage."""
    rng = random.Random(0)
    store = ("--store", str(folder / "store"))
    for command in (
        inputs.build(inputs.valid_log(folder, rng), folder / "store", "--split", "user-time"),
        ("train", "--model", "popularity", *store),
        ("rank", *store, "--out", str(folder / "preds.parquet")),
    ):
        result = CliRunner().invoke(main, command)
        if result.exit_code:
            raise RuntimeError(f"{command}: {result.output}")


def judge(seed: int, number: int, folder: Path, world: Path) -> Verdict:
    """Make a case in an empty folder, run its commands, and look at codes, messages, files and memory."""
    kind = kind_of(seed, number)
    case = KINDS[kind][1](random.Random(f"{seed} {number}"), folder, world)
    before = _names(folder)
    _forget_peak()
    findings, codes = [], []
    for command in case.commands:
        code, finding = _run(command, folder)
        codes.append(code)
        findings += [finding] if finding else []
        if code and command[0] == "build-features":
            break
    findings += [f"written or removed: {name}" for name in sorted(_names(folder) ^ before)]
    peak = _peak()
    if peak > MAX_PEAK:
        findings.append(f"{peak >> 20:,} MB of memory")
    return Verdict(number, kind, case.note, max(codes), "; ".join(findings), peak, case.commands)


def _names(folder: Path) -> set[str]:
    """Return what lies in the folder of a case and nobody should write to, and in the working folder."""
    there = {f"{path.name} of {path.lstat().st_mtime_ns}" for path in folder.iterdir() if path.name not in _MADE}
    return there | {f"./{path.name}" for path in Path().iterdir()}


def _run(command: Command, folder: Path) -> tuple[int, str]:
    with _stderr_in(folder.parent / "stderr"):
        try:
            result = CliRunner().invoke(main, command)
            code, stdout, stderr, raised = result.exit_code, result.stdout, result.stderr, result.exception
        except BaseException as error:  # noqa: BLE001
            code, stdout, stderr, raised = 1, "", "", error
    stderr += (folder.parent / "stderr").read_text(errors="replace")
    finding = _fault(code, stdout, stderr, raised) or (_unbalanced(command) if not code else _half_made(command))
    gc.collect()
    return code, f"{command[0]}: {finding}" if finding else ""


@contextmanager
def _stderr_in(path: Path) -> Iterator[None]:
    """Catch what libraries write to the process's own stderr, past Python's."""
    kept = os.dup(2)
    with path.open("wb") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _fault(code: int, stdout: str, stderr: str, raised: BaseException | None) -> str:
    """Return what is wrong with how a command ended, or nothing."""
    if raised is not None and not isinstance(raised, SystemExit):
        return f"raised {type(raised).__name__}: {str(raised)[:300]}"
    if code not in (0, 2):
        return f"exit code {code}: {stderr[:300]}"
    if "Traceback" in stderr or "panicked" in stderr or "fault of ours" in stderr:
        return f"stderr: {stderr[:300]}"
    if _UNPRINTABLE.search(stderr + stdout):
        return f"signs that a terminal obeys: {(stderr + stdout)[:300]!r}"
    if code == 0 and stderr.count("\n") != 1:
        return f"expected one line on stderr: {stderr[:300]}"
    if code == 2 and (stderr.count("Error: ") != 1 or len(stderr) > MAX_MESSAGE):
        return f"expected one message: {stderr[:300]} ({len(stderr):,} characters)"
    return ""


def _unbalanced(command: Command) -> str:
    if command[0] != "build-features":
        return ""
    store = Path(command[command.index("--out") + 1])
    manifest = json.loads((store / (store / "CURRENT").read_text().strip() / "manifest.json").read_text())
    wrong = [
        step["name"]
        for step in manifest["steps"]
        if step["rows_in"] != step["rows_out"] + step["merged"] + step["rejected"]
        or min(map(int, (step["rows_out"], step["merged"], step["rejected"]))) < 0
    ]
    return f"rows don't add up: {wrong}" if wrong or not manifest["steps"] else ""


def _half_made(command: Command) -> str:
    out = Path(command[command.index("--out") + 1]) if "--out" in command else None
    return f"left {out.name} behind" if out and out.exists() else ""


def _forget_peak() -> None:
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) << 10


def limit_memory() -> None:
    """Have the system refuse memory before the machine runs out of it."""
    resource.setrlimit(resource.RLIMIT_AS, (3 * MAX_PEAK, 3 * MAX_PEAK))


def clear(folder: Path) -> None:
    """Remove the folder of a case, whatever lies there."""
    shutil.rmtree(folder, ignore_errors=True)
