"""The pages of docs: their commands run, their links lead somewhere, and the reference is that of the code."""

import gzip
import json
import random
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from docs.make_reference import PAGE, reference
from recsys_polars.cli.main import COMMANDS, main
from recsys_polars.recipes import embedded

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
COMMAND_PAGES = ("tutorial.md", "how-to.md", "exact-ranking.md")
NOT_RUN = {"how-to.md": ["cuda", "spark"]}
"""Why blocks of commands aren't run, page by page: what they need isn't there."""
SHOWN_ONLY = {"text", "cron"}
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


def anchors(page: Path) -> set[str]:
    """What `#...` may name on a page: its headings, as GitHub writes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]*))?\)", page.read_text(encoding="utf-8"))
    missing = []
    for path, anchor in links:
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            missing.append(f"{path}#{anchor}")
    assert missing == []


def test_the_readme_lists_every_page() -> None:
    listed = set(re.findall(r"\]\(docs/([\w-]+\.md)\)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert {page.name for page in DOCS.glob("*.md")} <= listed


def test_the_reference_is_that_of_the_code() -> None:
    fresh = PAGE.read_text(encoding="utf-8") == reference()
    assert fresh, "docs/reference.md is stale: make it again with `python -m docs.make_reference`"


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    file: str
    """The name that the reader is to save it under; none for commands and for what they print."""
    text: str
    why_not: str
    """Why its commands aren't run; none where they are."""


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    fence = r"^(?:<!-- not run: ([^\n]+) -->\n)?```([\w-]*)(?: (\S+))?\n(.*?)^```$"
    found = re.findall(fence, (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [Block(language, file, text, why_not) for why_not, language, file, text in found]


def run_lines(text: str) -> str:
    """Run the commands of a block, one after another, and return what they print to stdout."""
    printed = []
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if not words or words == ["set", "-e"]:
            continue
        if words[0] == ".venv/bin/recsys-polars":
            words = words[1:]
        else:
            folder, _, name = words[0].rpartition("/")
            assert folder == "bin", line
            words[0] = name
        assert words[0] in COMMANDS, line
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, f"{line}\n{result.output}"
        printed.append(result.stdout)
    return "".join(printed)


def follow(page: str) -> None:
    """Do what a page says, in the current folder; what a table is headed by there, the commands before it print."""
    printed = ""
    for block in blocks(page):
        if block.file:
            Path(block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "sh" and not block.why_not:
            printed = run_lines(block.text)
        elif block.language == "python":
            exec(compile(block.text, page, "exec"), {})
        elif block.language == "text" and printed:
            heads = re.findall(r"^(.+)\n-[- ]+$", block.text, re.MULTILINE)
            seen = [line.split() for line in printed.splitlines()]
            assert [head for head in heads if head.split() not in seen] == []


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def small_films(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of the embedded data, some users of it, and what they rated."""
    sample = folder / "films"
    sample.mkdir()
    ratings = pl.read_parquet(embedded.FOLDER / "ratings.parquet")
    ratings = ratings.filter((pl.col("userId") % 25 == 0) | (pl.col("userId") == 292))
    films = pl.read_parquet(embedded.FOLDER / "movies.parquet")
    films = films.filter(pl.col("movieId").is_in(ratings["movieId"].implode()) | (pl.col("movieId") == 5952))
    ratings.write_parquet(sample / "ratings.parquet")
    films.write_parquet(sample / "movies.parquet")
    monkeypatch.setattr(embedded, "FOLDER", sample)


@pytest.fixture
def own_files(folder: Path) -> None:
    """The files that the how-to page speaks of, by its names."""
    chance = random.Random(0)
    names = ["lamp", "vase", *(f"thing{n}" for n in range(18))]
    events = [
        (f"c{user:02}", item, chance.choice([1, 3, 4, 5, 5]), 1_700_000_000 + chance.randrange(10**7))
        for user in range(30)
        for item in chance.sample(names, 8)
    ]
    rows = [f"{user},{item},{rating},{time}\n" for user, item, rating, time in events]
    (folder / "log.csv").write_text("customer,item_id,rating,date\n" + "".join(rows))
    (folder / "tonight.csv").write_text("customer,item_id,rating,date\nc00,lamp,5,1710100000\nnew,vase,4,1710100001\n")
    items = "".join(f"{name},A {name} of {n % 5} colours,{n}\n" for n, name in enumerate(names))
    (folder / "items.csv").write_text("item_id,title,stock\n" + items)
    np.save(folder / "clip.npy", np.random.default_rng(0).normal(size=(len(names), 4)).astype(np.float32))
    pl.DataFrame(events, schema=["user", "item", "plays", "time"], orient="row").write_parquet(folder / "plays.parquet")
    reviews = [
        {"user_id": user, "parent_asin": item, "rating": rating, "timestamp": time * 1_000}
        for user, item, rating, time in events
    ]
    metadata = [{"parent_asin": name, "title": name, "main_category": "All", "store": "S"} for name in names]
    for kind, rows_of_kind in (("reviews", reviews), ("meta", metadata)):
        (folder / kind).mkdir()
        with gzip.open(folder / kind / "all.jsonl.gz", "wt") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows_of_kind)


@pytest.mark.usefixtures("small_films")
def test_the_tutorial_can_be_followed() -> None:
    follow("tutorial.md")


@pytest.mark.usefixtures("own_files")
def test_the_how_to_can_be_followed() -> None:
    follow("how-to.md")


@pytest.mark.usefixtures("folder")
def test_the_example_of_exact_ranking_holds() -> None:
    follow("exact-ranking.md")


@pytest.mark.parametrize("page", COMMAND_PAGES)
def test_what_is_not_run_is_known(page: str) -> None:
    assert [block.why_not for block in blocks(page) if block.why_not] == NOT_RUN.get(page, [])
    assert {block.language for block in blocks(page) if not block.file} <= {"sh", "python", *SHOWN_ONLY}


@pytest.mark.skipif(shutil.which("git") is None, reason="found no git")
def test_git_ignores_what_the_commands_write_and_nothing_else(tmp_path: Path) -> None:
    shutil.copy(ROOT / ".gitignore", tmp_path)
    subprocess.run(("git", "init", "-q", tmp_path), check=True)
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = set(re.findall(r"--(?:out|report|json) ((?!\w+:)[a-z][\w./-]*\w)", text))
    assert {"preds.parquet", "preds/two-tower.parquet", "report.html", "data/shop", "vectors"} <= named
    written = {name if Path(name).suffix else f"{name}/file" for name in named | {"data/store", "data/demo"}}
    kept = {path.relative_to(ROOT).as_posix() for path in (ROOT / "data/movielens-small").iterdir()}
    words = ("git", "-C", tmp_path, "check-ignore", *sorted(written | kept))
    assert set(subprocess.run(words, capture_output=True, text=True, check=False).stdout.split()) == written
