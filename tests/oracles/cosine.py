"""Cosines one by one, each sum exact to the last bit of float64."""

from collections.abc import Sequence
from math import fsum, sqrt


def cosine(one: Sequence[float], other: Sequence[float]) -> float | None:
    """None where either has zeros alone."""
    product = fsum(x * y for x, y in zip(one, other, strict=True))
    lengths = sqrt(fsum(x * x for x in one)) * sqrt(fsum(y * y for y in other))
    return product / lengths if lengths else None
