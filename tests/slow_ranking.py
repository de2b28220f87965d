"""A ranking in a process of its own, slow enough to be killed between two parts."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_PROGRAM = """
import json, sys, time
from pathlib import Path
from recsys_polars.recipes import rank as ranking

store, out, users_at_once, settings = sys.argv[1:]
ranking.USERS_AT_ONCE = int(users_at_once)
part = ranking.ranked_part

def slow_part(*args):
    time.sleep(0.05)
    return part(*args)

ranking.ranked_part = slow_part
ranking.rank(Path(store), Path(out), ranking.RankSettings(**json.loads(settings)))
"""


def rank_slowly(store: Path, out: Path, *, users_at_once: int, **settings: Any) -> subprocess.Popen[bytes]:
    """Begin to rank; settings are those of `RankSettings`."""
    arguments = [str(store), str(out), str(users_at_once), json.dumps(settings)]
    return subprocess.Popen([sys.executable, "-c", _PROGRAM, *arguments])
