"""What `build-features` says of a build: what became of the rows, and the summary line."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recsys_polars.cli.shared import clipped, print_table
from recsys_polars.reporting.rejects import FOUND, PATH, origin, rejects_in_words
from recsys_polars.tables import PARTS

if TYPE_CHECKING:
    from recsys_polars.recipes.append import Appended

SHOWN = 30
"""Columns left out, files passed over and files appended that are named."""


def print_files(files: Sequence[Any]) -> None:
    """Print what became of the rows of each file that was appended, as far as `SHOWN` goes."""
    columns = ["rows_in", "rows_out", "rejected"]
    if files:
        rows = [[clipped(file["path"], PATH), *(f"{file[column]:,}" for column in columns)] for file in files[:SHOWN]]
        print_table(["appended", *columns], rows)
        if len(files) > SHOWN:
            click.echo(f"and {len(files) - SHOWN:,} more")
        click.echo()


def brought(appended: "Appended") -> tuple[str, dict[str, int]]:
    """Return what the summary says of what was appended, and the same in numbers."""
    rows_in, rows_out = (sum(file[column] for file in appended.files) for column in ("rows_in", "rows_out"))
    passed_over = [clipped(str(path), PATH) for path in appended.passed_over]
    text = f"; appended {rows_out:,} of {rows_in:,} rows" if appended.files else ""
    text += f"; nothing new in {_listed(passed_over)}" if passed_over else ""
    return text, {"appended": rows_out, "appended_rejected": rows_in - rows_out, "passed_over": len(passed_over)}


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def print_steps(manifest: Any) -> None:
    """Print what became of every row."""
    columns = ["rows_in", "rows_out", "merged", "rejected"]
    rows = [[step["name"], *(f"{step[column]:,}" for column in columns)] for step in manifest["steps"]]
    print_table(["step", *columns], rows)


def print_rejects(manifest: Any) -> None:
    """Print how many rows broke which rule, and where the first of them is."""
    if rows := rejects_in_words(manifest.get("rejects")):
        click.echo()
        print_table(["rejected", "rows", "rule", "first of them"], rows, to_the_right=False)


def counts(manifest: Any) -> dict[str, int]:
    """Return what the summary of a build counts: users, items, pairs of each part, repeats, rejected rows."""
    said = manifest["counts"]
    return {
        "users": said["users"],
        "items": said["items"],
        **{part: said["parts"].get(part, {}).get("pairs", 0) for part in PARTS},
        "repeats": sum(said["repeats"].values()),
        "rejected": sum(entry["rows"] for entry in manifest.get("rejects", {}).values()),
        "items_without_metadata": said.get("items_without_metadata", 0),
        "unread_prices": manifest.get("unread_prices", {}).get("rows", 0),
    }


def summary(manifest: Any, out: str | Path) -> str:
    """Return the summary line of a build."""
    counted = counts(manifest)
    parts = ", ".join(f"{counted[part]:,} {part}" for part in PARTS)
    text = f"{out}: {counted['users']:,} users, {counted['items']:,} items, pairs: {parts}"
    text += f", {counted['repeats']:,} repeats"
    for block, entry in manifest.get("encoded", {}).items():
        text += f"; {block}: {entry['contents']:,} encoded, {entry['new']:,} of them now"
    if counted["rejected"]:
        text += f"; {counted['rejected']:,} rows rejected, see {out}/rejects"
    if n_bare := counted["items_without_metadata"]:
        text += f"; {n_bare:,} item{'s' * (n_bare > 1)} without metadata"
    if n_unread := counted["unread_prices"]:
        first = manifest["unread_prices"]["first"]
        text += f"; {n_unread:,} price{'s' * (n_unread > 1)} could not be read, such as "
        text += f"{clipped(first['found'], FOUND)!r} ({origin({**first, 'found': None})})"
    if manifest["parameters"]["implicit"] and not manifest["asked"]["implicit"]:
        text += "; no ratings found: every row is liked"
    return text + _left_out(manifest)


def _left_out(manifest: Any) -> str:
    text = ""
    for kind, name in (("interaction", "left_out_of_interactions"), ("item", "left_out_columns")):
        left_out = manifest.get(name, [])
        if left_out:
            text += f"; {kind} columns left out: {_listed(left_out)}"
        if left_out and kind == "item" and not manifest.get("appended"):  # else the store has its settings
            name = clipped(left_out[0], PATH)
            category, feature = shlex.quote(f"category={name}"), shlex.quote(name)
            text += f" (take one in by --column {category} or --item-feature {feature})"
    return text
