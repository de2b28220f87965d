"""Pairs of timings, so that a noisy machine disturbs both sides alike."""

import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """One line of the table: seconds for one unit of work, theirs and ours."""

    claim: str
    against: str
    unit: str
    theirs: float
    ours: float
    target: float
    note: str = ""

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.theirs / self.ours


def in_pairs(
    theirs: Callable[[], object], ours: Callable[[], object], *, theirs_units: int, ours_units: int, rounds: int = 3
) -> tuple[float, float]:
    """Run both in turn; return the median seconds for one unit of each. One more run of each comes first, uncounted."""
    theirs(), ours()
    measured = [(seconds_of(theirs) / theirs_units, seconds_of(ours) / ours_units) for _ in range(rounds)]
    return statistics.median(pair[0] for pair in measured), statistics.median(pair[1] for pair in measured)


def seconds_of(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one run."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def peak_megabytes() -> float:
    """The most memory that this process had resident so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
