"""Writes docs/reference.md from the code: every command with its options, every table with its columns.

python -m docs.make_reference
"""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import dataframely as dy
import polars as pl

from recsys_polars import tables
from recsys_polars.cli.main import COMMANDS, main
from recsys_polars.cli.shared import PROGRAM

PAGE = Path(__file__).with_name("reference.md")
_COMMON = {"--log-json", "--debug", "--help"}
_HEAD = f"""# Reference

<!-- Made from the code by `python -m docs.make_reference`: change the code, not this page. -->

## Commands

`bin/NAME` in a checkout, where `bin/` has it, and `{PROGRAM} NAME` everywhere (`.venv/bin/{PROGRAM}` in a
checkout). Every command also takes `--log-json` (JSON lines on stderr, [logs.md](logs.md)), `--debug` (the traceback of
an error) and `-h`, `--help`. Exit codes: 0 done, 1 a fault of ours, 2 bad input or usage, 130 Ctrl-C.
"""
_TABLES = """## Tables

Parquet files; the contracts stand in `recsys_polars/tables.py`. A row of your files that breaks one is set aside by
`build-features`, with the rule; anywhere else it is an error. Columns beyond those below are vectors, `Array(Float32,
d)`. `item_features` is as of the test cut; `item_features_valid` has the same columns as of the valid one. item_vectors
and user_vectors are what `export` writes.
"""


def reference() -> str:
    """Return the whole page."""
    parts = [_HEAD, *(text for name in COMMANDS for text in _commands(name)), _TABLES, *map(_table, _contracts())]
    return "\n".join(part.rstrip() + "\n" for part in parts)


def _commands(name: str) -> Iterator[str]:
    """Yield the section of a command, or of each command of a group."""
    root = click.Context(main, info_name=PROGRAM)
    command = main.get_command(root, name)
    if command is None:
        raise LookupError(name)
    if not isinstance(command, click.Group):
        yield _command(name, command, root)
        return
    group = click.Context(command, info_name=name, parent=root)
    for word in command.list_commands(group):
        below = command.get_command(group, word)
        if below is not None:
            yield _command(f"{name} {word}", below, group)


def _command(name: str, command: click.Command, parent: click.Context) -> str:
    context = click.Context(command, info_name=name.split()[-1], parent=parent)
    params = [param for param in command.params if not _COMMON & set(param.opts)]
    arguments = " ".join(param.make_metavar(context) for param in params if isinstance(param, click.Argument))
    options = [_option(param, context) for param in params if isinstance(param, click.Option)]
    table = "\n".join(["| option | default | |", "|---|---|---|", *options]) if options else "No options of its own."
    return f"### {f'{name} {arguments}'.strip()}\n\n{_help(command)}\n\n{table}\n"


def _help(command: click.Command) -> str:
    """Return the help text; its examples, which click's sign keeps apart, as a block."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    return "\n\n".join(
        f"```\n{text.removeprefix(_KEPT).strip()}\n```" if text.startswith(_KEPT) else text for text in paragraphs
    )


_KEPT = "\b\n"


def _option(option: click.Option, context: click.Context) -> str:
    names = " / ".join([", ".join(option.opts), *([", ".join(option.secondary_opts)] if option.secondary_opts else [])])
    metavar = "" if option.is_flag else f" {option.make_metavar(context)}"
    extra = option.get_help_extra(context)
    default = "required" if option.required else f"`{extra['default']}`" if "default" in extra else ""
    notes = [option.help or "", *(["Repeated for several."] if option.multiple else [])]
    bounds = f" `{extra['range']}`" if "range" in extra else ""
    return "| " + " | ".join(_cell(text) for text in (f"`{names}{metavar}`", default, " ".join(notes) + bounds)) + " |"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|")


def _contracts() -> list[type[dy.Schema]]:
    """Every contract, in the order of the module."""
    return [
        value
        for value in vars(tables).values()
        if isinstance(value, type) and issubclass(value, dy.Schema) and value is not dy.Schema
    ]


def _table(contract: type[dy.Schema]) -> str:
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", contract.__name__).lower()
    rows = [
        f"| {column} | `{kind.dtype}` | {'key' if kind.primary_key else ''} | {_rule(kind)} |"
        for column, kind in contract.columns().items()
    ]
    return "\n".join(
        [f"### {name}", "", inspect.getdoc(contract) or "", "", "| | type | | |", "|---|---|---|---|", *rows]
    )


def _rule(column: Any) -> str:
    rules = ["may be null"] if column.nullable else []
    if getattr(column, "min_length", None):
        rules.append("not empty")
    if getattr(column, "min", None) is not None:
        rules.append(f"{column.min} or more")
    if getattr(column, "is_in", None):
        rules.append(", ".join(map(str, column.is_in)))
    if column.check:  # a rule in code: which of the words that we have does it let through?
        known = column.check["known"]
        rules.append(", ".join(f"`{part}`" for part in tables.PARTS if pl.select(known(pl.lit(part))).item()))
    return "; ".join(rules)


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
