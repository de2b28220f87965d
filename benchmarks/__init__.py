"""What the README claims, measured against the other way in the same run: `python -m benchmarks`."""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # as the program has it; both sides of a pair get the same
