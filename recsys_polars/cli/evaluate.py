"""`evaluate`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from recsys_polars.cli.shared import LARGEST_K, Command, command_line, long_steps, print_table, say, store_option
from recsys_polars.cli.values import OneOf, Whole
from recsys_polars.disk import write_text
from recsys_polars.models import AUTO

if TYPE_CHECKING:
    import polars as pl

    from recsys_polars.recipes.evaluate import Evaluation

SHOWN = {"precision": "P@{k}", "ap": "MAP@{k}", "ndcg": "NDCG@{k}", "recall": "recall@{k}", "coverage": "coverage"}
"""What the table shows; `--json` has every figure."""


@click.command("evaluate", cls=Command)
@click.argument("predictions", nargs=-1, required=True, type=click.Path(path_type=Path))
@store_option
@click.option("-k", type=Whole(1, LARGEST_K), default=10, show_default=True, help="Length of the list that is judged.")
@click.option(
    "--users",
    type=OneOf(["test", "warm"]),
    default="test",
    show_default=True,
    help="All who liked something in test, or those of them with a history.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures.")
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a page of figures and charts.",
)
def command(
    *,
    predictions: tuple[Path, ...],
    store: Path,
    k: int,
    users: Literal["test", "warm"],
    json_file: Path | None,
    report: Path | None,
) -> None:
    """Judge ranked lists, with 95 % intervals.

    \b
    recsys-polars evaluate preds.parquet
    recsys-polars evaluate preds/*.parquet --users warm --json figures.json
    recsys-polars evaluate preds --report report.html

    One table, over the same users for every file; further files are compared with the first. A folder stands for its
    *.parquet files, by name. The report is one HTML file that loads nothing from elsewhere.
    """
    from recsys_polars.api.evaluate import evaluate
    from recsys_polars.recipes.evaluate import prediction_files

    files = prediction_files(predictions, **{"--json": json_file, "--report": report})
    with long_steps() as progress:
        evaluation = evaluate(files, store, k=k, users=users, report=report, progress=progress)
    if json_file is not None:
        tables = {"figures": evaluation.figures.to_dicts(), "differences": evaluation.differences.to_dicts()}
        write_text(json_file, json.dumps({**asdict(evaluation), **tables}, indent=1))
    print_figures(evaluation)
    is_tried = any(run.get("model") == AUTO for run in evaluation.runs.values())
    following = None if is_tried else command_line("train", "--model", AUTO, store=store)
    written = f"; all of it and more, for a browser: {report}" if report else ""
    say(summary(evaluation) + written, counts(evaluation), following=following)


def print_figures(evaluation: "Evaluation") -> None:
    """Print one row a file, value [low high]; then how each differs from the first, over the same draws of users."""
    titles = [title.format(k=evaluation.k) for title in SHOWN.values()]
    rows = [
        [*cells, _seconds(run["train_seconds"]), _seconds(run["rank_seconds"])]
        for cells, run in zip(_cells(evaluation.figures), evaluation.runs.values(), strict=True)
    ]
    print_table(["model", *titles, "train s", "rank s"], rows)
    if not evaluation.differences.is_empty():
        click.echo()
        print_table([f"minus {next(iter(evaluation.runs))}", *titles], _cells(evaluation.differences))


def _cells(figures: "pl.DataFrame") -> list[list[str]]:
    """One row a name: the name, then the shown metrics."""
    found = {(row["name"], row["metric"]): row for row in figures.to_dicts()}
    names = figures["name"].unique(maintain_order=True)
    return [[name, *(_cell(found[name, metric]) for metric in SHOWN)] for name in names]


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f}"


def _cell(figure: dict[str, float]) -> str:
    value, low, high = (f"{figure[key]:.4f}".replace("0.", ".", 1) for key in ("value", "low", "high"))
    return f"{value} [{low} {high}]"


def counts(evaluation: "Evaluation") -> dict[str, int]:
    """Return what the summary of an evaluation counts."""
    return {"truth_users": evaluation.truth_users, "cold_users": evaluation.cold_users}


def summary(evaluation: "Evaluation") -> str:
    """Return the summary line of an evaluation."""
    text = f"{evaluation.truth_users:,} users with liked pairs in test, {evaluation.cold_users:,} of them cold"
    for run in evaluation.runs.values():
        if n := run["users_without_list"]:
            text += f"; {run['file']}: {n:,} of these users have no list and score 0"
    return text
