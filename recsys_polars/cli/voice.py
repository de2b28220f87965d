"""How a command speaks on stderr: prose for people, or with `--log-json` one JSON object a line for programs."""

import io
import json
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stderr
from datetime import UTC, datetime
from typing import Any, TextIO

import click

from recsys_polars.memory import amount, peak_bytes

_BEGINNINGS = {"warning": "Warning: ", "error": "Error: "}


def harmless(text: str) -> str:
    """Return the text without signs that a terminal obeys: names and values of hostile files stand in it."""
    return "".join(sign if sign.isprintable() or sign == "\n" else "?" for sign in text)


class Voice:
    """What a command says of its run.

    Attributes:
        as_json: whether in JSON lines, whose fields docs/logs.md has.
        command: its name, such as `store list`, once it is known.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.command = ""
        self._began = time.monotonic()
        self._stream: TextIO = sys.stderr or io.StringIO()  # none where a shell closed it

    def say(self, event: str, text: str, **fields: Any) -> None:
        """Say something: `fields` are for programs alone."""
        if self.as_json:
            self.write(event, message=harmless(text), **fields)
        else:
            click.echo(harmless(_BEGINNINGS.get(event, "") + text), err=True)  # above a bar, where there is one

    def write(self, event: str, *, seconds: float | None = None, **fields: Any) -> None:
        """Write a JSON line; `seconds` are those of the command so far unless they are of a step."""
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "event": event,
            "command": self.command,
            **fields,
            "seconds": round(time.monotonic() - self._began if seconds is None else seconds, 3),
            "peak_bytes": peak_bytes(),
        }
        click.echo(json.dumps(line), file=self._stream)

    def summary(self, text: str, figures: Mapping[str, float | None], following: str | None) -> None:
        """Say what was done, in one line; on a terminal the next command to run has a second one, to be copied."""
        if self.as_json:
            self.say("summary", text, figures=dict(figures), next=following)
            return
        said = f"{text}; {time.monotonic() - self._began:.1f} s and {amount(peak_bytes())} in all"
        if following:
            said += f"{chr(10) if self._stream.isatty() else '; '}next: {following}"
        self.say("summary", said)

    def misuse(self, error: click.ClickException) -> None:
        """Say what is wrong with the words of the command line."""
        if self.as_json:
            self.say("error", error.format_message(), code=error.exit_code, traceback=None)
        else:
            error.show(self._stream)

    def stopped(self, code: int) -> None:
        """Say that Ctrl-C was heard; a terminal has just shown it on a line that is still open."""
        begun = "\n" if self._stream.isatty() and not self.as_json else ""
        self.say("stopped", f"{begun}Stopped. What was there before is as it was.", code=code)

    @contextmanager
    def over_libraries(self) -> Iterator[None]:
        """Say what libraries warn of; in JSON, whatever else Python code writes to stderr, too."""
        strays = _Strays(self)
        with warnings.catch_warnings(), redirect_stderr(strays) if self.as_json else nullcontext():
            warnings.showwarning = lambda message, *_: self.say("warning", str(message))
            try:
                yield
            finally:
                strays.write("\n")


class _Strays(io.StringIO):
    """A stderr whose lines are said as warnings."""

    def __init__(self, voice: Voice) -> None:
        super().__init__()
        self._voice = voice

    def write(self, text: str) -> int:
        """Say the lines that are whole."""
        *lines, begun = f"{self.getvalue()}{text}".split("\n")
        self.seek(0)
        self.truncate()
        super().write(begun)
        for line in lines:
            if line.strip():
                self._voice.say("warning", line)
        return len(text)
