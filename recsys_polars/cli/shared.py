"""What every command has: errors as one message, progress bars, sizes of memory."""

import errno
import math
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from recsys_polars.errors import ModelError, RecsysError
from recsys_polars.models import NAMES, is_own

BAD_INPUT = 2
_FAILURE = 1
_USERS_FAULT = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.EISDIR, errno.ENOTDIR, errno.ENOENT, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP),
}
_NO_ROOM = re.compile(r"no space left|quota exceeded|file too large|read-only file system", re.IGNORECASE)
_NAME = 500
"""Characters of a path that a message shows."""
LARGEST_K = 2**31 - 1
_DEBUG = click.Option(["--debug"], is_flag=True, help="Show the traceback of an error.")


class Command(click.Command):
    """A command whose errors are one message: code 2 for what the user can mend, 1 for what we must."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(_DEBUG)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        debug = ctx.params.pop("debug")
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click tells these its own way
        except Exception as error:
            if debug:
                raise
            code, message = _told(error)
            click.echo(f"Error: {_harmless(message)}", err=True)
            ctx.exit(code)


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


def _harmless(text: str) -> str:
    """Return the text without signs that a terminal obeys: names and values of hostile files stand in it."""
    return "".join(sign if sign.isprintable() or sign == "\n" else "?" for sign in text)


class Finite(click.FloatRange):
    """A number in a range, and a number indeed."""

    def _describe_range(self) -> str:
        return "" if self.min is None and self.max is None else super()._describe_range()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"expected a number, found {value!r}", param, ctx)
        return number


class Size(click.ParamType[int]):
    """An amount of memory: 500MB, 2GB, 1.5GiB, or bytes."""

    name = "size"
    _PATTERN = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes."""
        if isinstance(value, int):
            return value
        match = self._PATTERN.fullmatch(str(value).strip())
        if match is None:
            self.fail(f"expected an amount such as 500MB or 2GB, found {value!r}", param, ctx)
        number, unit, binary = match.groups()
        n_bytes = int(float(number) * (1024 if binary else 1000) ** " kmgt".index(unit.lower() or " "))
        if n_bytes < 1:
            self.fail(f"expected more than nothing, found {value!r}", param, ctx)
        return n_bytes


class ModelName(click.Choice[str]):
    """A kind of model, or MODULE:CLASS of the user's own."""

    def __init__(self) -> None:
        super().__init__(NAMES)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:  # noqa: ARG002
        """Return the choices."""
        return f"[{'|'.join(NAMES)}|MODULE:CLASS]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name."""
        return may_import(value) if is_own(str(value)) else super().convert(value, param, ctx)

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """Return what was expected."""
        return f"{super().get_invalid_choice_message(value, ctx)[:-1]}, nor MODULE:CLASS of your own."


def may_import(kind: str) -> str:
    """Have a model of the user's own found in the current folder too, and return its kind.

    Behind all that is installed, so that no file there passes for a library, and for nobody who names no such model.
    """
    if is_own(kind) and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    return kind


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

store_option = click.option(
    "--store", type=click.Path(path_type=Path), default=Path("data/store"), show_default=True, help="The feature store."
)
device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="auto: a GPU if there is one.",
)


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which engine does the work: `engine`, `spark_master` and `spark_conf`."""
    for option in reversed(
        [
            click.option("--engine", type=click.Choice(["local", "spark"]), default="local", show_default=True),
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


class Bars:
    """A bar on stderr for each step, once a command takes over two seconds; nothing where stderr is no terminal."""

    _PATIENCE = 2.0

    def __init__(self) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._timer = threading.Timer(self._PATIENCE, self._bars.start)
        self._task: TaskID | None = None
        self._step = ""

    def __enter__(self) -> Self:
        self._timer.daemon = True
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._bars.stop()

    def __call__(self, step: str, done: int, total: int) -> None:
        """See `recipes.Progress`. What has one part only pulses."""
        if self._task is None or step != self._step:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._step, self._task = step, self._bars.add_task(step)
        self._bars.update(self._task, completed=done, total=total if total > 1 else None)


def say(summary: str) -> None:
    """Print the summary line of a command."""
    click.echo(_harmless(summary), err=True)


def clipped(title: str, width: int = 26) -> str:
    """Return the beginning of a title, in one line: titles come from strangers."""
    printable = "".join(sign if sign.isprintable() else " " for sign in title)
    return printable if len(printable) <= width else f"{printable[: width - 1]}…"


def print_table(columns: list[str], rows: list[list[str]], *, to_the_right: bool = True) -> None:
    """Print a table to stdout, the first column to the left and the others to the right, or all to the left."""
    widths = [max(len(cell) for cell in cells) for cells in zip(columns, *rows, strict=True)]
    aligned = str.rjust if to_the_right else str.ljust
    for row in [columns, ["-" * width for width in widths], *rows]:
        cells = [
            row[0].ljust(widths[0]),
            *(aligned(cell, width) for cell, width in zip(row[1:], widths[1:], strict=True)),
        ]
        click.echo(_harmless("  ".join(cells).rstrip()))
