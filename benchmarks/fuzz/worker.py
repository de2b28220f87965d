"""A process that runs cases one after the other: numbers come on stdin, verdicts go to what was its stdout."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.fuzz.judging import clear, judge, limit_memory, make_world


def main(seed: int, scratch: Path, *, keep: bool) -> None:
    """Run the cases whose numbers come, until no more do."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    world, empty = scratch / "world", scratch / "empty"
    for folder in (world, empty):
        clear(folder)
        folder.mkdir(parents=True)
    os.chdir(empty)
    limit_memory()
    make_world(world)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        folder = scratch / f"case-{int(line)}"
        clear(folder)
        folder.mkdir()
        print(json.dumps(asdict(judge(seed, int(line), folder, world))), file=answers, flush=True)
        if not keep:
            clear(folder)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), keep=sys.argv[3] == "keep")
