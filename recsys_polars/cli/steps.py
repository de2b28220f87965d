"""What is told of long steps: a bar on a terminal, JSON lines where they are asked for, nothing elsewhere."""

import sys
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from recsys_polars.cli.voice import Voice

PATIENCE = 2.0
"""Seconds that a command may take before there are bars."""
PERIOD = 2.0
"""Seconds between two JSON lines about one step."""


@dataclass
class Pace:
    """How far a step is, and how fast it goes.

    Attributes:
        step: its name.
        began: when it was first told of, in seconds of `time.monotonic`.
        told: when it was last told of.
        done: what is done.
        total: of how many; 0: nobody knows.
        unit: what is counted; "" where that needs no word.
        paced: what was done, and when, as its total became known: what its speed is measured from.
    """

    step: str
    began: float
    told: float = 0.0
    done: int = 0
    total: int = 0
    unit: str = ""
    paced: tuple[int, float] | None = None

    def tell(self, done: int, total: int, unit: str, *, now: float) -> None:
        """Take note of news."""
        known = total > 1
        if self.paced is None or (known and not self.total):  # reading comes before counting
            self.paced = done, now
        self.done, self.total, self.unit, self.told = done, total if known else 0, unit, now

    def described(self, now: float) -> str:
        """Return it in words: 43 % of 600,000 users, 12,345/s, 0:00:27 left."""
        done_before, since = self.paced or (0, self.began)
        per_second = (self.done - done_before) / max(self.told - since, 1e-9)
        unit = f" {self.unit}" if self.unit else ""
        words = []
        if self.total:
            words.append(f"{self.done / self.total:.0%} of {self.total:,}{unit}")
        elif self.unit and self.done:
            words.append(f"{self.done:,}{unit}")
        if self.unit and per_second >= 0.1:
            words.append(f"{per_second:,.{0 if per_second >= 10 else 1}f}/s")
        if self.total and per_second > 0:
            left = (self.total - self.done) / per_second - (now - self.told)
            words.append(f"{_clock(max(left, 0))} left")
        else:
            words.append(_clock(now - self.began))
        return ", ".join(words)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


class Bars:
    """One bar, of the step at work, once a command takes over two seconds; nothing where stderr is no terminal."""

    def __init__(self) -> None:
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),
            _PaceColumn(table_column=Column(no_wrap=True)),
            console=Console(stderr=True),
            transient=True,
            expand=True,
            refresh_per_second=4,
            disable=not sys.stderr.isatty(),
        )
        self._timer = threading.Timer(PATIENCE, self._bars.start)
        self._lock = threading.Lock()
        self._pace: Pace | None = None
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        self._timer.daemon = True
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._timer.join()  # it may be about to start them
        self._bars.stop()

    def __call__(self, step: str, done: int, total: int, unit: str = "") -> None:
        """See `recipes.Progress`. What has no parts only pulses."""
        now = time.monotonic()
        with self._lock:
            if self._pace is None or step != self._pace.step:
                if self._pace is not None:
                    self._bars.remove_task(self._task)
                self._pace = Pace(step, began=now)
                self._task = self._bars.add_task(step, total=None, pace=self._pace)
            self._pace.tell(done, total, unit, now=now)
            self._bars.update(self._task, completed=done, total=self._pace.total or None)


class _PaceColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Return what stands behind the bar."""
        return Text(task.fields["pace"].described(time.monotonic()))


class StepLines:
    """JSON lines of each step: begun, how far it is every two seconds if there are news, done."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        self._lock = threading.Lock()
        self._pace: Pace | None = None
        self._written = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._pace is not None:
            self._write("step_done", self._pace, time.monotonic())

    def __call__(self, step: str, done: int, total: int, unit: str = "") -> None:
        """See `recipes.Progress`."""
        now = time.monotonic()
        with self._lock:
            if self._pace is None or step != self._pace.step:
                if self._pace is not None:
                    self._write("step_done", self._pace, now)
                self._pace = Pace(step, began=now)
                self._pace.tell(done, total, unit, now=now)
                self._write("step_begun", self._pace, now)
            self._pace.tell(done, total, unit, now=now)
            if now - self._written >= PERIOD:
                self._write("step_progress", self._pace, now)

    def _write(self, event: str, pace: Pace, now: float) -> None:
        self._written = now
        self._voice.write(
            event,
            step=pace.step,
            done=pace.done,
            total=pace.total or None,
            unit=pace.unit or None,
            seconds=now - pace.began,
        )
