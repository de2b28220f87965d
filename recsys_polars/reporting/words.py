"""How figures are written, and what metrics and groups are called."""

from collections.abc import Mapping, Sequence
from typing import Any

FEW = 30
"""Of fewer users an interval is narrower than it ought to be."""
NOTHING = "–"
_TITLES = {
    "precision": "P@{k}",
    "recall": "Recall@{k}",
    "ap": "MAP@{k}",
    "ndcg": "NDCG@{k}",
    "hit_rate": "Hit rate@{k}",
    "mrr": "MRR@{k}",
    "novelty": "Novelty, bits",
    "coverage": "Coverage",
}
METRICS = tuple(_TITLES)
QUALITY = ("ndcg", "ap", "recall", "precision", "hit_rate", "mrr")
"""The metrics of which more is better."""


def metric_title(metric: str, k: int) -> str:
    """Return what a metric is called."""
    return _TITLES[metric].format(k=k)


def number(value: float | None, *, signed: bool = False) -> str:
    """Return a figure with four decimals."""
    return NOTHING if value is None else with_minus(f"{value:+.4f}" if signed else f"{value:.4f}")


def with_minus(text: str) -> str:
    """Return a number with a minus instead of a hyphen."""
    return text.replace("-", "−")


def interval(row: Mapping[str, Any], *, signed: bool = False) -> str:
    """Return the interval of a row with low and high."""
    if row["low"] is None or row["high"] is None:
        return "no interval"
    return f"{number(row['low'], signed=signed)} to {number(row['high'], signed=signed)}"


def figure(row: Mapping[str, Any], *, signed: bool = False) -> str:
    """Return a value and its interval in words."""
    return f"{number(row['value'], signed=signed)} ({interval(row, signed=signed)})"


def share(value: float | None) -> str:
    """Return a share in percent."""
    return NOTHING if value is None else f"{100 * value:.1f} %"


def group_title(lowest: int, highest: int | None) -> str:
    """Return what a group of counts is called."""
    if highest is None:
        return f"{lowest:,} or more"
    return f"{lowest:,}" if lowest == highest else f"{lowest:,}–{highest:,}"


def group_start(lowest: int) -> str:
    """Return where a group of counts begins, in four signs at most."""
    powers = ((10**9, "G"), (10**6, "M"), (10**3, "k"), (0, ""))
    unit, sign = next((unit, sign) for unit, sign in powers if lowest >= unit)
    return f"{lowest // max(1, unit)}{sign}"


def clipped(title: str, width: int = 26) -> str:
    """Return the beginning of a title, in one line: titles come from strangers."""
    printable = "".join(sign if sign.isprintable() else " " for sign in title)
    return printable if len(printable) <= width else f"{printable[: width - 1]}…"


def cut_short(title: str, shown: int, of: int, *, which: str = "") -> str:
    """Return the title of a list, with how many of how many it shows where that isn't all."""
    return title if shown == of else f"{title} ({which}{shown:,} of {of:,})"


def duration(seconds: float | None) -> str:
    """Return how long something took."""
    if seconds is None:
        return NOTHING
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def listed(texts: Sequence[str]) -> str:
    """Return texts as one sentence of a label."""
    return "; ".join(texts)
