"""`recsys-polars COMMAND`: finds the command, imports it alone, and says how it ended."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn, cast

import click
from click.exceptions import NoSuchCommand

from recsys_polars.cli.shared import LOG_JSON, PROGRAM, name_of
from recsys_polars.cli.values import did_you_mean
from recsys_polars.cli.voice import Voice

# Threads that spin long at a barrier starve each other where the machine has other work; threads that sleep at once
# wake late on a quiet one. Figures: docs/experiments.md. Read by OpenMP when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

STOPPED = 130
"""The exit code after Ctrl-C, as shells have it."""
COMMANDS = {
    "demo": "recsys_polars.cli.demo",
    "build-features": "recsys_polars.cli.build_features",
    "audit-leaks": "recsys_polars.cli.audit_leaks",
    "tune": "recsys_polars.cli.tune",
    "train": "recsys_polars.cli.train",
    "rank": "recsys_polars.cli.rank",
    "evaluate": "recsys_polars.cli.evaluate",
    "explain": "recsys_polars.cli.explain",
    "similar": "recsys_polars.cli.similar",
    "export": "recsys_polars.cli.export",
    "store": "recsys_polars.cli.store",
    "completion": "recsys_polars.cli.completion",
}
"""Where the `command` of each name is defined."""


class Commands(click.Group):
    """Imports a command when it is named: help and typing errors shouldn't wait for torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names, in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return the command of a name, if there is one."""
        if cmd_name not in COMMANDS:
            return None
        return cast("click.Command", import_module(COMMANDS[cmd_name]).command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is named first, and the words after it."""
        try:
            return super().resolve_command(ctx, args)
        except NoSuchCommand as error:
            raise NoSuchCommand(args[0], error.message + did_you_mean(args[0], COMMANDS), ctx=ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; Ctrl-C is no accident."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.ensure_object(Voice).stopped(STOPPED)
            ctx.exit(STOPPED)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,  # noqa: ARG002
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: ARG002
        **extra: Any,
    ) -> NoReturn:
        """Run the program; what is wrong with its words is said as everything else is."""
        words = sys.argv[1:] if args is None else list(args)
        voice = Voice(as_json=LOG_JSON in words)  # wherever it stands, and before any other word can be wrong
        words = [word for word in words if word != LOG_JSON]
        try:
            code = super().main(words, PROGRAM, complete_var, standalone_mode=False, **{"obj": voice, **extra})
        except click.ClickException as error:
            code = error.exit_code
            voice.command = name_of(getattr(error, "ctx", None))
            voice.misuse(error)
        except click.Abort:  # Ctrl-C before there was a command
            code = STOPPED
        sys.exit(code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name=PROGRAM, prog_name=PROGRAM)
def main() -> None:
    """From raw interaction logs to ranked lists.

    Build a feature store, train rankers on it, rank the whole catalogue for every user, and judge the lists.

    \b
    recsys-polars build-features --interactions log.csv --items items.csv
    recsys-polars train --model auto
    recsys-polars rank --out preds.parquet
    recsys-polars evaluate preds.parquet
    recsys-polars COMMAND --help
    """
