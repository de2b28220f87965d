"""The rows of raw files that broke a rule, in words: for the page, and for what a build prints."""

from collections.abc import Mapping
from typing import Any

from recsys_polars.reporting.words import clipped

PATH, FOUND = 500, 40
"""Characters of a path, and of a value in a file, that are shown."""


def rejects_in_words(rejects: Any) -> list[list[str]]:
    """Return table, number of rows, rule, and where the first of them is, as far as a manifest's `rejects` say it."""
    rows = []
    for table, entry in _mapping(rejects).items():
        rules, firsts = (_mapping(entry).get(key) for key in ("rules", "first"))  # stores of old have no first
        first = {str(row.get("rule")): row for row in map(_mapping, firsts if isinstance(firsts, list) else ())}
        counts = {rule: n for rule, n in _mapping(rules).items() if isinstance(n, int)}
        rows += [[table, f"{n:,}", rule, origin(first.get(rule, {}))] for rule, n in counts.items()]
    return rows


def origin(row: Mapping[str, Any]) -> str:
    """Return where a raw row is, and what was found there, as far as it is known."""
    file, line, found = (row.get(key) for key in ("file", "line", "found"))
    where = (clipped(str(file), PATH) if file else "") + (f", line {line:,}" if isinstance(line, int) else "")
    return where if found is None else f"{where}: {clipped(str(found), FOUND)!r}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
