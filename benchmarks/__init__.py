"""What the README claims, measured against the other way in the same run: `python -m benchmarks`."""
