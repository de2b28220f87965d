"""`completion`."""

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from recsys_polars.cli.shared import PROGRAM
from recsys_polars.cli.values import OneOf

SHELLS = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@click.command("completion")
@click.argument("shell", metavar="SHELL", type=OneOf(SHELLS))
@click.pass_context
def command(ctx: click.Context, /, *, shell: str) -> None:
    """Print a script for tab completion.

    \b
    eval "$(recsys-polars completion bash)"      # in ~/.bashrc
    eval "$(recsys-polars completion zsh)"       # in ~/.zshrc, after compinit
    recsys-polars completion fish | source       # in ~/.config/fish/config.fish

    A shell then completes commands, options, names of models, and files.
    """
    variable = f"_{PROGRAM.replace('-', '_')}_COMPLETE".upper()  # click's own name for it
    click.echo(SHELLS[shell](ctx.find_root().command, {}, PROGRAM, variable).source())
