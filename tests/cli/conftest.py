"""The command-line program run in this process, and small raw files, stores and predictions to run it on."""

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from recsys_polars.cli.main import main
from recsys_polars.models import KINDS

HEADER = "user_id,item_id,rating,event_time\n"
START = 1_262_304_000
Run = Callable[..., Result]


@dataclass(frozen=True)
class World:
    """Raw files, and a store of them with every model trained and predictions of one."""

    log: Path
    items: Path
    store: Path
    predictions: Path


def invoke(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture(scope="session")
def run() -> Run:
    """Run the program; the result has exit_code, stdout and stderr."""
    return invoke


@pytest.fixture(scope="session")
def refuse() -> Callable[..., str]:
    """Run the program, which must refuse: code 2, nothing on stdout, one clear message, which is returned."""

    def run_refused(*args: object) -> str:
        result = invoke(*args)
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        assert result.stderr.count("Error: ") == 1
        assert "Traceback" not in result.stderr
        assert len(result.stderr) < 900
        return result.stderr

    return run_refused


@pytest.fixture(scope="session")
def accept() -> Callable[..., str]:
    """Run the program, which must do its work: code 0 and one line on stderr. Returns stdout."""

    def run_accepted(*args: object) -> str:
        result = invoke(*args)
        assert result.exit_code == 0, result.output
        assert result.stderr.count("\n") == 1
        assert result.stderr.endswith("\n")
        return result.stdout

    return run_accepted


def good_log(n_users: int = 30, n_items: int = 20, each: int = 8) -> str:
    chance = random.Random(0)
    rows = [
        f"u{user:03},i{item:03},{chance.choice([1, 2, 3, 4, 5, 5])},{START + chance.randrange(10**7)}\n"
        for user in range(n_users)
        for item in chance.sample(range(n_items), each)
    ]
    return HEADER + "".join(rows)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("world")
    made = World(*(folder / name for name in ("log.csv", "items.csv", "store", "preds.parquet")))
    made.log.write_text(good_log())
    made.items.write_text(
        "item_id,title,description,brand,category,price\n"
        + "".join(f"i{n:03},Title {n} alpha,words {n % 5} beta gamma,b{n % 3},c{n % 2},{n}.5\n" for n in range(20))
    )
    commands: list[tuple[object, ...]] = [
        ("build-features", "--interactions", made.log, "--items", made.items, "--out", made.store),
        *(("train", "--model", kind, "--store", made.store) for kind in KINDS),
        ("rank", "--model", "popularity", "--store", made.store, "--out", made.predictions),
    ]
    for command in commands:
        result = invoke(*command)
        assert result.exit_code == 0, result.output
    return made


@pytest.fixture
def store(world: World, tmp_path: Path) -> Path:
    """A store of one's own, to damage."""
    return Path(shutil.copytree(world.store, tmp_path / "store"))


@pytest.fixture(scope="session")
def manifest_of() -> Callable[[Path], dict[str, Any]]:
    """Read the manifest of a store's current generation."""

    def read(store: Path) -> dict[str, Any]:
        generation = (store / "CURRENT").read_text().strip()
        return dict(json.loads((store / generation / "manifest.json").read_text()))

    return read


@pytest.fixture(scope="session")
def left_overs() -> Callable[[Path], list[str]]:
    """Name what a command should have cleared away below a folder: staging folders, temporary files."""

    def find(folder: Path) -> list[str]:
        hidden = (path for path in folder.rglob("*") if path.name.startswith((".", "tmp")))
        return sorted(str(path.relative_to(folder)) for path in hidden if path.name not in {".lock", ".published"})

    return find
