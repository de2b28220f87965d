"""`audit-leaks`: a table and one line where nothing leaks; code 2 and every leak where something does."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result


def test_an_honest_store_passes_with_a_line_a_check(accept: Callable[..., str], world: Any) -> None:
    lines = accept("audit-leaks", world.store).splitlines()
    assert lines[0].split() == ["check", "compared", "found"]
    names = ["cuts", "rows before the valid cut", "rows before the test cut", "pairs", "column price"]
    assert [name for name in names if not any(line.startswith(name) for line in lines[2:])] == []
    assert "LEAK" not in "".join(lines)


@pytest.fixture(scope="module")
def leaking(run: Callable[..., Result], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a column that counts all rows of each item."""
    folder, chance = tmp_path_factory.mktemp("leaking"), random.Random(1)
    rows = [(f"u{chance.randrange(200)}", int(chance.paretovariate(0.5)) % 400, time) for time in range(4000)]
    log = "".join(f"{user},{item},{1_600_000_000 + time}\n" for user, item, time in rows)
    (folder / "log.csv").write_text(f"user_id,item_id,event_time\n{log}")
    counts = "".join(f"{item},{sum(row[1] == item for row in rows)}\n" for item in range(400))
    (folder / "items.csv").write_text(f"item_id,sold\n{counts}")
    words = ("--interactions", folder / "log.csv", "--items", folder / "items.csv", "--item-feature", "sold")
    assert run("build-features", *words, "--out", folder / "store").exit_code == 0
    return folder / "store"


def test_a_leak_is_code_2_marked_in_the_table_and_told(run: Callable[..., Result], leaking: Path) -> None:
    result = run("audit-leaks", leaking)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {leaking}: expected nothing of the time after a cut, found ")
    assert "items: sold: expected no statistic over test interactions and earlier ones" in result.stderr
    (line,) = [line for line in result.stdout.splitlines() if "test interactions" in line]
    assert line.startswith("column sold")
    assert "LEAK: share " in line


def test_the_table_is_the_same_on_every_run(run: Callable[..., Result], leaking: Path) -> None:
    assert run("audit-leaks", leaking).stdout == run("audit-leaks", leaking).stdout


def test_what_is_no_store_is_refused(refuse: Callable[..., str], tmp_path: Path) -> None:
    assert "expected a feature store, found none" in refuse("audit-leaks", tmp_path)
