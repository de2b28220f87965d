"""Workers that may hang, crash or be killed without the run noticing more than one verdict."""

import json
import os
import queue
import select
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.fuzz.judging import Verdict, kind_of

PATIENCE = 30.0
"""Seconds that a case may take."""
_START = 120.0


@dataclass
class _Worker:
    """One worker process, started when it is first asked and again after each death."""

    seed: int
    scratch: Path
    keep: bool
    process: subprocess.Popen[str] | None = field(default=None)

    def verdict(self, number: int) -> Verdict:
        """Have the worker run a case; a worker that says nothing is a finding, and gone."""
        if self.process is None:
            self.process = self._started()
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()
        line = _line(self.process, PATIENCE)
        if line:
            answer = json.loads(line)
            answer["commands"] = tuple(map(tuple, answer["commands"]))
            return Verdict(**answer)
        how = "the process died" if line == "" else f"no end within {PATIENCE:.0f} s"
        code = self.stop()
        return Verdict(number, kind_of(self.seed, number), "", -1, f"{how} (exit code {code})")

    def _started(self) -> "subprocess.Popen[str]":
        words = [sys.executable, "-m", "benchmarks.fuzz.worker", str(self.seed), str(self.scratch)]
        words.append("keep" if self.keep else "clear")
        root = str(Path(__file__).parents[2])
        environment = {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "2", **os.environ, "PYTHONPATH": root}
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if self.keep else subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        if _line(process, _START) != "ready\n":
            process.kill()
            raise RuntimeError(f"expected a worker that is ready, found none: {' '.join(words)}")
        return process

    def stop(self) -> int:
        """End the process, whatever it does, and return its exit code."""
        if self.process is None:
            return 0
        process, self.process = self.process, None
        process.stdin.close()
        try:
            return process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def _line(process: "subprocess.Popen[str]", patience: float) -> str | None:
    """The next line; empty where the process has ended, None where nothing came in time."""
    ready, _, _ = select.select([process.stdout], [], [], patience)
    return process.stdout.readline() if ready else None


def run_cases(
    seed: int,
    numbers: Sequence[int],
    scratch: Path,
    *,
    n_workers: int,
    told: Callable[[Verdict], None],
    keep: bool = False,
) -> list[Verdict]:
    """Run cases on some workers; return their verdicts by number."""
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in numbers:
        waiting.put(number)
    verdicts: list[Verdict] = []

    def tell(verdict: Verdict) -> None:
        verdicts.append(verdict)
        told(verdict)

    workers = [_Worker(seed, scratch / str(place), keep) for place in range(n_workers)]
    threads = [threading.Thread(target=_work, args=(worker, waiting, tell)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not keep:
        shutil.rmtree(scratch, ignore_errors=True)
    if len(verdicts) < len(numbers):
        raise RuntimeError(
            f"expected {len(numbers):,} verdicts, found {len(verdicts):,}: a worker could not be started"
        )
    return sorted(verdicts, key=lambda verdict: verdict.number)


def _work(worker: _Worker, waiting: "queue.SimpleQueue[int]", tell: Callable[[Verdict], None]) -> None:
    """Have a worker run cases until none are waiting."""
    try:
        while True:
            tell(worker.verdict(waiting.get_nowait()))
    except queue.Empty:
        pass
    finally:
        worker.stop()
