"""What a kill -9 does to a store: `python -m benchmarks.kill [--n 200] [--seed 0]`.

Each command is begun on a small store and killed: half of the times at a random moment of the time that it takes, half
of the times just before one of its file operations (open to write, rename, remove, mkdir, rmdir, fsync), chosen at
random. Then the store must open and pass `store verify`, a reader must get every table, model and list as it was before
or as it would have been after, and the same command must run again, to the same bytes and the same files, those in the
temporary folder included. A kill ends a process; that a disk keeps what it was asked to keep, fsync is trusted for.

One process imports everything and does nothing else; every run is a fork of it, so that the time of a run is work.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from recsys_polars.artefacts import checked_file, current_generation
from recsys_polars.cli.main import COMMANDS as PROGRAMS
from recsys_polars.cli.main import main as program
from recsys_polars.disk import sha256
from recsys_polars.models import catboost, mlp, popularity, two_tower  # noqa: F401, imported before the forks
from recsys_polars.recipes import append, audit, build, evaluate, keeping, measure, rank, train  # noqa: F401
from recsys_polars.recipes.verifying import verify_store
from recsys_polars.sealing import is_sealed
from recsys_polars.store import open_store

SETUP = (
    "build-features --interactions old.csv --out store",
    "train --model popularity --store store",
    "train --model catboost --store store",
    "rank --model popularity --store store -k 3 --out lists.parquet",
)
COMMANDS = (
    "build-features --interactions new.csv --out store",
    "build-features --append more.csv --out store",
    "train --model popularity --folds 2 --store store",
    "train --model catboost --seed 7 --store store",
    "rank --model catboost --store store --out lists.parquet",
    "store prune --keep 1 --store store",
)
"""Each is run in a folder with old.csv, new.csv, more.csv, and what SETUP makes; one line adds a command."""
COLUMNS = ("kills", "before the end", "old seen", "new seen", "torn", "lost", "reruns failed", "left-overs")
USERS_OF_A_PART = 10
_EVENTS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir"}
_WRITES = os.O_WRONLY | os.O_RDWR


def main() -> int:
    """Kill, print the table; 1 where anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=200, help="kills of each command")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    for name in PROGRAMS:
        program.get_command(None, name)  # type: ignore[arg-type]
    rank.USERS_AT_ONCE = USERS_OF_A_PART
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = folder / "base"
        (base / "tmp").mkdir(parents=True)
        for part, n_users in (("old", 30), ("new", 35), ("more", 4)):
            (base / f"{part}.csv").write_text(_log(n_users), encoding="utf-8")
        for words in SETUP:
            _expect_success(base, words)
        width = max(map(len, COMMANDS))
        print("command".ljust(width), *COLUMNS, sep="  ")
        print("-" * width, *("-" * len(column) for column in COLUMNS), sep="  ")
        failed = 0
        for words in COMMANDS:
            counts = _kill_often(base, folder / "work", words, asked.n, random.Random(asked.seed))
            failed += sum(counts[column] for column in COLUMNS[4:])
            print(words.ljust(width), *(str(counts[column]).rjust(len(column)) for column in COLUMNS), sep="  ")
            sys.stdout.flush()
    return 1 if failed else 0


def _kill_often(base: Path, work: Path, words: str, n: int, chance: random.Random) -> Counter[str]:
    """Kill a command n times, each time in a copy of the same folder; count what came of it."""
    seconds, n_operations = [], 0
    for _ in range(3):
        _copy(base, work)
        began = time.perf_counter()
        _expect_success(work, words)
        seconds.append(time.perf_counter() - began)
    before, after = _forked(base, _state), _forked(work, _state)
    files = _files(work)
    _copy(base, work)
    n_operations = _forked(work, lambda: _operations_of(words))
    counts: Counter[str] = Counter()
    for number in range(n):
        _copy(base, work)
        if number % 2:
            child = _begin(work, lambda: _run(words))
            time.sleep(chance.uniform(0, statistics.median(seconds)))
            os.killpg(child, signal.SIGKILL)
        else:
            at = chance.randrange(n_operations)
            child = _begin(work, lambda at=at: _run_until(words, at))  # type: ignore[misc]
        status = os.waitpid(child, 0)[1]
        counts["kills"] += 1
        counts["before the end"] += os.WIFSIGNALED(status)
        _judge(work, words, (before, after), files, counts)
    return counts


def _judge(work: Path, words: str, states: tuple[Any, Any], files: list[str], counts: Counter[str]) -> None:
    before, after = states
    found = _forked(work, _state)
    if found is None:
        counts["lost"] += 1
    elif any(found[part] not in {before[part], after[part]} for part in found):
        counts["torn"] += 1
    else:
        counts["old seen" if found == before else "new seen"] += 1
    status = os.waitpid(_begin(work, lambda: _run(words)), 0)[1]
    counts["reruns failed"] += status != 0 or _forked(work, _state) != after
    counts["left-overs"] += _files(work) != files


def _state() -> dict[str, str]:
    """What a reader gets, by part; an error where anything is damaged."""
    store = open_store(Path("store"))
    if verify_store(store.path).damage:
        raise ValueError("damaged")
    of_model = {path.name: path for path in store.models_folder.iterdir() if (path / "CURRENT").is_file()}
    parts: dict[str, Any] = {kind: _files_of(path) for kind, path in of_model.items()}
    parts["store"] = _files_of(store.path)
    parts["trained last"] = (store.models_folder / "CURRENT").read_text(encoding="utf-8")
    parts["lists"] = sha256(Path("lists.parquet")) if is_sealed(Path("lists.parquet")) else "damaged"
    return {name: json.dumps(part, sort_keys=True) for name, part in parts.items()}


def _files_of(path: Path) -> dict[str, str]:
    """The sha256 of every file of the current generation, as it lies there."""
    generation, manifest = current_generation(path)
    return {name: sha256(checked_file(path / generation, name, manifest)) for name in manifest["files"]}


def _files(work: Path) -> list[str]:
    """The paths below a folder, generations without their numbers: a killed publish may have taken one."""
    return sorted(re.sub(r"\d{6}", "N", str(path.relative_to(work))) for path in work.rglob("*"))


def _run(words: str) -> int:
    try:
        program.main(words.split())
    except SystemExit as left:
        return int(left.code or 0)


def _run_until(words: str, at: int) -> int:
    """Run, and be killed before the file operation of this number."""
    seen = 0

    def watch() -> None:
        nonlocal seen
        if seen == at:
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1

    _watch_operations(watch)
    return _run(words)


def _operations_of(words: str) -> int:
    seen: list[int] = []
    _watch_operations(lambda: seen.append(1))
    _run(words)
    return len(seen)


def _watch_operations(watch: Callable[[], None]) -> None:
    """Call `watch` before each file operation of this process from now on."""
    fsync = os.fsync

    def watched_fsync(descriptor: int) -> None:
        watch()
        fsync(descriptor)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _EVENTS or (event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES):
            watch()

    os.fsync = watched_fsync
    sys.addaudithook(hook)


def _begin(work: Path, job: Callable[[], Any]) -> int:
    """Fork a process group of its own that does a job in a folder; return its id."""
    child = os.fork()
    if child:
        with suppress(OSError):  # whichever of the two comes first
            os.setpgid(child, child)
        return child
    code = 1
    try:
        os.setpgid(0, 0)
        os.chdir(work)
        tempfile.tempdir = os.environ["TMPDIR"] = str(work / "tmp")
        with (work.parent / "log.txt").open("a") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        code = job() or 0
    except SystemExit as left:
        code = int(left.code or 0)
    except BaseException as error:  # noqa: BLE001, a fork must not return into the caller
        os.write(2, f"{error!r}\n".encode())
    finally:
        os._exit(code)


def _forked(work: Path, job: Callable[[], Any]) -> Any:
    """What a job comes to in a folder, done by a fork; None where it fails."""
    answer = work.parent / "answer.json"
    answer.unlink(missing_ok=True)

    def tell() -> int:
        answer.write_text(json.dumps(job()), encoding="utf-8")
        return 0

    os.waitpid(_begin(work, tell), 0)
    return json.loads(answer.read_text(encoding="utf-8")) if answer.is_file() else None


def _expect_success(work: Path, words: str) -> None:
    if os.waitpid(_begin(work, lambda: _run(words)), 0)[1]:
        raise SystemExit(f"{words}: failed\n{(work.parent / 'log.txt').read_text(encoding='utf-8')[-2000:]}")


def _copy(base: Path, work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(base, work)


def _log(n_users: int) -> str:
    """Ratings of a few users, one of them without an item, so that there are rejects."""
    chance = random.Random(n_users)
    rows = [
        f"u{user:03},i{item:03},{chance.choice([1, 3, 4, 5, 5])},{1_262_304_000 + chance.randrange(10**7)}"
        for user in range(n_users)
        for item in chance.sample(range(20), 8)
    ]
    return "\n".join(["user_id,item_id,rating,event_time", *rows, "u1,,5,1262304000\n"])


if __name__ == "__main__":
    sys.exit(main())
