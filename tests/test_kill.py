"""The benchmark that kills, a few times: what it would count as lost is none."""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.kill import COLUMNS, COMMANDS

KILLS = 3


def test_what_is_killed_loses_nothing_and_runs_again(tmp_path) -> None:
    memory = Path("/dev/shm")  # where there is one, fsync takes no time
    folder = memory if os.access(memory, os.W_OK) else tmp_path
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.kill", "--n", str(KILLS), "--seed", "1"],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {
        line[: -len("  ".join(COLUMNS))].strip(): line.split()[-len(COLUMNS) :] for line in done.stdout.splitlines()
    }
    for command in COMMANDS:
        counts = dict(zip(COLUMNS, map(int, rows[command]), strict=True))
        assert counts["kills"] == counts["old seen"] + counts["new seen"] == KILLS
        assert counts["torn"] == counts["lost"] == counts["reruns failed"] == counts["left-overs"] == 0
