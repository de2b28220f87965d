"""The README tells the truth about the tree and the commands."""

import re
from pathlib import Path

import click
import pytest

from recsys_polars.cli.main import COMMANDS, main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def tree() -> set[str]:
    """The paths of the tree in the README."""
    block = re.search(r"## Tree\n\n```\n(.*?)```", README, re.DOTALL)
    assert block
    paths, folder = set(), ""
    for line in block[1].splitlines():
        name = line.split()[0]
        folder = folder if line.startswith(" ") else ""
        paths.add(f"{folder}{name}")
        if not line.startswith(" ") and name.endswith("/"):
            folder = name
    return paths


def test_every_path_of_the_tree_exists() -> None:
    assert [path for path in tree() if not (ROOT / path).exists()] == []


def test_every_room_of_the_package_stands_in_the_tree() -> None:
    package = ROOT / "recsys_polars"
    folders = {f"{entry.name}/" for entry in package.iterdir() if (entry / "__init__.py").is_file()}
    modules = {entry.name for entry in package.glob("*.py") if entry.name != "__init__.py"}
    assert {f"recsys_polars/{name}" for name in folders | modules} <= tree()


def test_every_launcher_is_a_command_or_the_tests() -> None:
    assert {entry.name for entry in (ROOT / "bin").iterdir()} == {*COMMANDS, "test"} - {"completion"}


@pytest.mark.parametrize(
    "words", re.findall(r"^(?:\$ )?(?:bin/|\.venv/bin/recsys-polars )([a-z-]+(?: .*)?)$", README, re.MULTILINE)
)
def test_every_command_and_option_that_the_readme_shows_exists(words: str) -> None:
    if words.split()[0] == "test":
        return
    command: click.Command | None = main
    for word in words.split():
        if not word.startswith("-") and isinstance(command, click.Group):
            command = command.get_command(click.Context(command), word)
    assert command is not None
    known = {option for param in command.params for option in param.opts}
    assert {word for word in words.split() if word.startswith("-")} <= known
