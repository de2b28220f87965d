"""What every command has: errors as one message, options of the same name and kind, tables and summary lines."""

import errno
import os
import re
import shlex
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from recsys_polars.cli.values import OneOf, Size, did_you_mean
from recsys_polars.cli.voice import Voice, harmless
from recsys_polars.errors import ModelError, RecsysError
from recsys_polars.reporting.words import clipped as clipped

if TYPE_CHECKING:
    from recsys_polars.cli.steps import Bars, StepLines

PROGRAM = "recsys-polars"
LOG_JSON = "--log-json"
BAD_INPUT = 2
_FAILURE = 1
_USERS_FAULT = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.EISDIR, errno.ENOTDIR, errno.ENOENT, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP),
}
_NO_ROOM = re.compile(r"no space left|quota exceeded|file too large|read-only file system", re.IGNORECASE)
_NAME = 500
"""Characters of a path that a message shows."""
_ADVICE = re.compile(rf"\b(run|with) {PROGRAM} (?=[a-z-]+ --)")
"""How errors name commands, in which a path or an id may have the same words."""
LARGEST_K = 2**31 - 1
DEFAULT_STORE = Path("data/store")
LAUNCHERS = "RECSYS_POLARS_BIN"
"""Environment variable by which a launcher says how the user wrote its folder, as `bin/`."""


def as_typed(text: str) -> str:
    """Return a text that names commands as they would be typed by this user: `bin/train` where that is how it began."""
    launchers = os.environ.get(LAUNCHERS)
    return text.replace(f"{PROGRAM} ", launchers) if launchers else text


def _advice_as_typed(text: str) -> str:
    """Return an error that names commands as they would be typed, and everything else as it is."""
    launchers = os.environ.get(LAUNCHERS)
    return _ADVICE.sub(lambda found: f"{found[1]} {launchers}", text) if launchers else text


class _Context(click.Context):
    """Knows how its command was typed."""

    @property
    def command_path(self) -> str:
        """The words that usage lines begin with."""
        return as_typed(super().command_path)


class Command(click.Command):
    """A command whose errors are one message: code 2 for what the user can mend, 1 for what we must."""

    context_class = _Context

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        json_lines = "Write JSON lines to stderr: events, not bars and prose."
        self.params += [
            click.Option([LOG_JSON], is_flag=True, expose_value=False, help=json_lines),  # `main` has taken it out
            click.Option(["--debug"], is_flag=True, help="Show the traceback of an error."),
        ]

    def get_help(self, ctx: click.Context) -> str:
        """Return the text with its examples."""
        return as_typed(super().get_help(ctx))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words; of an option that isn't there, only near ones were meant."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            options = [name for param in self.params for name in (*param.opts, *param.secondary_opts)]
            meant = did_you_mean(error.option_name, [name for name in options if name.startswith("--")])
            raise click.NoSuchOption(error.option_name, f"{error.message}{meant}", ctx=ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        debug = ctx.params.pop("debug")
        voice = _voice(ctx)
        voice.command = name_of(ctx)
        try:
            with voice.over_libraries():
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click tells these its own way
        except Exception as error:
            if debug and not voice.as_json:
                raise
            code, message = _told(error)
            voice.say(
                "error", _advice_as_typed(message), code=code, traceback=traceback.format_exc() if debug else None
            )
            ctx.exit(code)


def name_of(ctx: click.Context | None) -> str:
    """Return the name of the command at work, such as `store list`; "" where there is none yet."""
    if ctx is None or ctx.parent is None:
        return ""
    return f"{name_of(ctx.parent)} {ctx.info_name}".strip()


def _voice(ctx: click.Context) -> Voice:
    return ctx.find_root().ensure_object(Voice)


def _told(error: Exception) -> tuple[int, str]:
    if isinstance(error, RecsysError) and not isinstance(error, ModelError):
        return BAD_INPUT, str(error)
    if isinstance(error, OSError) and error.errno in _USERS_FAULT:
        name = str(error.filename or "writing")  # one that is too long is what the error is about
        return BAD_INPUT, f"{name[:_NAME]}{' ...' if len(name) > _NAME else ''}: {error.strerror}"
    no_room = _NO_ROOM.search(str(error))  # libraries wrap what the system said in errors of their own
    if no_room:
        return BAD_INPUT, f"writing: {no_room[0].lower()}"
    if isinstance(error, ModelError):
        return _FAILURE, f"{error} (--debug shows where)"
    return _FAILURE, f"{type(error).__name__}: {error} (a fault of ours; --debug shows where)"


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

store_option = click.option(
    "--store", type=click.Path(path_type=Path), default=DEFAULT_STORE, show_default=True, help="The feature store."
)
device_option = click.option(
    "--device",
    type=OneOf(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="auto: a GPU if there is one.",
)


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which engine does the work: `engine`, `spark_master` and `spark_conf`."""
    for option in reversed(
        [
            click.option(
                "--engine",
                type=OneOf(["local", "spark"]),
                default="local",
                show_default=True,
                help="What does the work.",
            ),
            click.option("--spark-master", metavar="URL", help="Default: the environment's, else local[*]."),
            click.option(
                "--spark-conf", multiple=True, metavar="KEY=VALUE", callback=_conf, help="A setting of Spark."
            ),
        ]
    ):
        command = option(command)
    return command


def _conf(ctx: click.Context, param: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str]:
    conf = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not (key and sign):
            raise click.BadParameter(f"expected KEY=VALUE, found {pair!r}", ctx=ctx, param=param)
        conf[key] = value
    return conf


def spark_settings(engine: str, master: str | None, conf: dict[str, str], **places: str | None) -> Any:
    """Return the `SparkSettings` that were asked for; None for the local engine.

    Args:
        engine: `local` or `spark`.
        master: what only Spark has a use for.
        conf: the same.
        places: by option, paths or URIs; the latter are Spark's.
    """
    from recsys_polars.spark.files import as_path, is_uri
    from recsys_polars.spark.session import SparkSettings

    if engine == "spark":
        return SparkSettings(master, conf)
    if master or conf:
        raise click.UsageError(f"{'--spark-master' if master else '--spark-conf'}: expected --engine spark too")
    for option, place in places.items():
        if place and (is_uri(place) or str(as_path(place)) != str(Path(place))):
            raise click.UsageError(f"--{option} {place}: expected a path, found a URI, which --engine spark reads")
    return None


def memory_option(what: str) -> Decorator:
    """Return the option that bounds the memory of `what`."""
    return click.option("--memory", type=Size(), default="2GB", show_default=True, help=what)


def long_steps() -> "AbstractContextManager[Bars | StepLines]":
    """Return what is told of long steps: bars on a terminal, JSON lines where they are asked for."""
    from recsys_polars.cli.steps import Bars, StepLines  # what draws them isn't loaded for help

    voice = _voice(click.get_current_context())
    return StepLines(voice) if voice.as_json else Bars()


def note(text: str) -> None:
    """Say what was done on the way."""
    _voice(click.get_current_context()).say("note", text)


def say(text: str, figures: Mapping[str, float | None] = MappingProxyType({}), *, following: str | None = None) -> None:
    """Print the summary line of a command.

    Args:
        text: what was done.
        figures: the same in numbers, for programs.
        following: the command to run next; see `command_line`.
    """
    _voice(click.get_current_context()).summary(text, figures, following)


def command_line(name: str, *words: object, store: str | Path = DEFAULT_STORE) -> str:
    """Return the line that runs a command as this user would type it, with the store where it isn't the default."""
    elsewhere = [] if Path(store) == DEFAULT_STORE else ["--store", store]
    return as_typed(f"{PROGRAM} {name} ") + shlex.join(map(str, (*words, *elsewhere)))


def print_table(columns: list[str], rows: list[list[str]], *, to_the_right: bool = True) -> None:
    """Print a table to stdout, the first column to the left and the others to the right, or all to the left."""
    widths = [max(len(cell) for cell in cells) for cells in zip(columns, *rows, strict=True)]
    aligned = str.rjust if to_the_right else str.ljust
    for row in [columns, ["-" * width for width in widths], *rows]:
        cells = [
            row[0].ljust(widths[0]),
            *(aligned(cell, width) for cell, width in zip(row[1:], widths[1:], strict=True)),
        ]
        click.echo(harmless("  ".join(cells).rstrip()))
