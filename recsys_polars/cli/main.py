"""`recsys-polars COMMAND`: finds the command, imports it alone."""

import os
from importlib import import_module
from importlib.metadata import version
from typing import cast

import click

# Threads that spin long at a barrier starve each other where the machine has other work; threads that sleep at once
# wake late on a quiet one. Figures: docs/experiments.md. Read by OpenMP when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

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


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("recsys-polars"), prog_name="recsys-polars")
def main() -> None:
    """From raw interaction logs to ranked lists.

    Build a feature store, train rankers on it, rank the whole catalogue for every user, and judge the lists.
    """
