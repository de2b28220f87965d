"""What each step of a recipe took: kept in the store, a line a run, beside the files that hold no time.

    STORE/timings.jsonl   {"made": ..., "seconds": ..., "peak_bytes": ..., "steps": [{"step": ..., ...}]}

Equal inputs give equal stores and lists, so that no time can stand in them. This file is for people: `evaluate` alone
reads it, and whoever changes or removes it changes no other result.
"""

import errno
import json
import math
import os
import stat
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from recsys_polars.memory import peak_bytes
from recsys_polars.recipes import Progress

TIMINGS = "timings.jsonl"
_READ = 1 << 22
"""Bytes of the file that are read: its end, some 5,000 runs."""
_MOST_STEPS = 100
"""Of a run; ours have ten at most."""


class StepTime(NamedTuple):
    """What a step took.

    Attributes:
        step: its name, as progress is told of it.
        seconds: that it was at work, all times together.
        peak_bytes: the most memory that the process had had by its end, steps and runs before it included.
    """

    step: str
    seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Timing:
    """What a run took.

    Attributes:
        made: the name of what came of it; see `Stopwatch.keep`.
        seconds: of the recipe, without the start of Python.
        peak_bytes: the most memory that the process had had by its end.
        steps: in their order.
    """

    made: str
    seconds: float
    peak_bytes: int
    steps: Sequence[StepTime]


class Stopwatch:
    """Takes the time of each step that it is told of, and passes on what it is told.

    A step lasts until another one is told of; the first has what came before it too, the last what comes after it.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._began = self._since = time.perf_counter()
        self._step: str | None = None
        self._steps: dict[str, StepTime] = {}
        self._seconds: float | None = None

    def __call__(self, step: str, done: int, total: int, unit: str = "") -> None:
        """See `Progress`."""
        with self._lock:
            if step != self._step:
                self._end_step()
                self._step = step
        self._progress(step, done, total, unit)

    def _end_step(self) -> None:
        if self._step is not None:
            now = time.perf_counter()
            before = self._steps[self._step].seconds if self._step in self._steps else 0.0
            self._steps[self._step] = StepTime(self._step, round(before + now - self._since, 3), peak_bytes())
            self._since = now

    def stop(self) -> float:
        """End the last step, once; return the seconds that all of it took."""
        with self._lock:
            if self._seconds is None:
                self._end_step()
                self._seconds = round(time.perf_counter() - self._began, 3)
        return self._seconds

    def keep(self, store: str | os.PathLike[str], made: str) -> None:
        """Write down in a store what the run took, which has ended; a warning says where that can't be.

        Args:
            store: the folder.
            made: what came of the run: `Store.identity`, `trained.name_of_training`, or `sealing.seal_of` a ranking.
        """
        timing = Timing(made, self.stop(), peak_bytes(), list(self._steps.values()))
        path = Path(store) / TIMINGS
        try:
            _append(path, json.dumps({**asdict(timing), "steps": [step._asdict() for step in timing.steps]}))
        except OSError as error:
            warnings.warn(f"{path}: what this run took isn't kept: {error.strerror}", stacklevel=2)


def _append(path: Path, line: str) -> None:
    """Add a line in one write, so that runs at once don't mix theirs; never through a link, nor into a pipe.

    It begins with a line break: the one before it may have been cut off.
    """
    how = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor, text = os.open(path, how, 0o666), f"\n{line}\n".encode()
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "expected a file, found something else")
        if os.write(descriptor, text) < len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(descriptor)


def read_timings(store: str | os.PathLike[str]) -> dict[str, Timing]:
    """Return the latest timing of each thing made, by its name; what isn't ours or can't be read is passed over."""
    path = Path(store) / TIMINGS
    if path.is_symlink() or not path.is_file():
        return {}
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _READ))
            lines = file.read(_READ).splitlines()
    except OSError:  # it tells people something; what it can't tell is no reason to refuse them the rest
        return {}
    found = [timing for line in lines if line.startswith(b"{") and (timing := _timing(line)) is not None]
    return {timing.made: timing for timing in found}


def _timing(line: bytes) -> Timing | None:
    """What a line says, if it is what we would have written: stores come from others, too."""
    try:
        said = json.loads(line)
        steps = [StepTime(str(step["step"]), *_figures(step)) for step in said["steps"][:_MOST_STEPS]]
        return Timing(str(said["made"]), *_figures(said), steps)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _figures(said: Mapping[str, Any]) -> tuple[float, int]:
    seconds, n_bytes = float(said["seconds"]), int(said["peak_bytes"])
    if not (math.isfinite(seconds) and seconds >= 0 and 0 <= n_bytes < 1 << 63):
        raise ValueError
    return seconds, n_bytes
