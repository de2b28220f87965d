"""Kinds of values on the command line: what they take, what they say of others, and how a shell completes them."""

import math
import re
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from recsys_polars.models import NAMES, is_own

_ALIKE = 0.75
"""Of `difflib`: one sign in four may be another."""
_LEAST = 3
"""Signs of a word, and of a name, of which one is part of the other."""


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """Return a sentence about the names that a word was meant to be; nothing where none is near.

    Near are names that begin with the word; else those that hold it, or that an option begins with; else lookalikes.
    """
    by_plain, plain = {name.lower().strip("-"): name for name in names}, word.lower().strip("-")
    long = [name for name in by_plain if min(len(plain), len(name)) >= _LEAST]
    alike = (
        [name for name in long if name.startswith(plain)]
        or [name for name in long if plain in name or (word.startswith("--") and plain.startswith(name))]
        or get_close_matches(plain, by_plain, cutoff=_ALIKE)
    )
    return f" Did you mean {' or '.join(repr(by_plain[name]) for name in alike)}?" if alike else ""


class OneOf(click.Choice[str]):
    """A choice that says which of its values was meant."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """Return the message for a value that is none of them."""
        return super().get_invalid_choice_message(value, ctx) + did_you_mean(str(value), self.choices)

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:  # noqa: ARG002
        """Return the message where there is none."""
        return f"Choose one of {', '.join(self.choices)}"


class ModelName(OneOf):
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
        said = click.Choice.get_invalid_choice_message(self, value, ctx)
        return f"{said[:-1]}, nor MODULE:CLASS of your own." + did_you_mean(str(value), self.choices)


def may_import(kind: str) -> str:
    """Have a model of the user's own found in the current folder too, and return its kind.

    Behind all that is installed, so that no file there passes for a library, and for nobody who names no such model.
    """
    if is_own(kind) and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    return kind


class Whole(click.IntRange):
    """A whole number in a range."""

    name = "n"

    def _describe_range(self) -> str:
        described = super()._describe_range()
        for bits in (31, 63):
            described = described.replace(f"<={2**bits - 1}", f"<2**{bits}")
        return described


class Finite(click.FloatRange):
    """A number in a range, and a number indeed."""

    name = "number"

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


class FileOr(click.ParamType[str]):
    """The name of a file, or one of some words; whatever needs the file says if it isn't there."""

    name = "path"

    def __init__(self, *words: str) -> None:
        self.words = words

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002
        """Return what help shows for the value."""
        return "|".join([*self.words, "FILE"]) if self.words else "PATH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the value, unless it is a word that was meant to be another one."""
        meant = "" if value in self.words else did_you_mean(value, self.words)
        if meant and not Path(value).exists():
            self.fail(f"expected {', '.join(self.words)} or a file, found {value!r}.{meant}", param, ctx)
        return str(value)

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Return what completes it: files first, for bash forgets what stands before them."""
        words = [CompletionItem(word) for word in self.words if word.startswith(incomplete)]
        return [CompletionItem(incomplete, type="file"), *words]
