"""`evaluate`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from recsys_polars.cli.shared import Command, print_table, say, store_option

if TYPE_CHECKING:
    from recsys_polars.recipes.evaluate import Evaluation

SHOWN = {"precision": "P", "ap": "MAP", "ndcg": "NDCG", "recall": "recall", "hit_rate": "hit rate", "mrr": "MRR"}


@click.command("evaluate", cls=Command)
@click.argument("predictions", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@store_option
@click.option("-k", type=click.IntRange(1), default=10, show_default=True, help="Length of the list that is judged.")
@click.option("--users", type=click.Choice(["test", "warm"]), default="test", show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures.")
def command(
    *, predictions: tuple[Path, ...], store: Path, k: int, users: Literal["test", "warm"], json_file: Path | None
) -> None:
    """Judge ranked lists: one table, with 95 % intervals over the same users for every file.

    \b
    recsys-polars evaluate preds.parquet
    recsys-polars evaluate preds/*.parquet --users warm --json figures.json
    """
    from recsys_polars.recipes.evaluate import evaluate

    evaluation = evaluate(predictions, store, k=k, users=users)
    print_figures(evaluation)
    if json_file is not None:
        tables = {"figures": evaluation.figures.to_dicts(), "differences": evaluation.differences.to_dicts()}
        json_file.write_text(json.dumps({**asdict(evaluation), **tables}, indent=1), encoding="utf-8")
    say(summary(evaluation))


def print_figures(evaluation: "Evaluation") -> None:
    """Print one row a file; value [low, high]."""
    named = {**{metric: f"{short}@{evaluation.k}" for metric, short in SHOWN.items()}, "coverage": "coverage"}
    figures = {(row["name"], row["metric"]): row for row in evaluation.figures.to_dicts()}
    rows = []
    for name, run in evaluation.runs.items():
        cells = [_cell(figures[name, metric]) for metric in named]
        seconds = [f"{run[key]:.1f}" if key in run else "" for key in ("train_seconds", "rank_seconds")]
        rows.append([name, *cells, _value(figures[name, "novelty"]), *seconds])
    print_table(["model", *named.values(), "novelty", "train s", "rank s"], rows)


def _cell(figure: dict[str, float]) -> str:
    return f"{figure['value']:.4f} [{figure['low']:.4f}, {figure['high']:.4f}]"


def _value(figure: dict[str, float | None]) -> str:
    return "" if figure["value"] is None else f"{figure['value']:.2f}"


def summary(evaluation: "Evaluation") -> str:
    """Return the summary line of an evaluation."""
    return f"{evaluation.truth_users:,} users with liked pairs in test, {evaluation.cold_users:,} of them cold"
