"""`rp.evaluate`."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from recsys_polars.api import StrPath
from recsys_polars.disk import write_text
from recsys_polars.recipes import Progress, silent
from recsys_polars.recipes import evaluate as recipe
from recsys_polars.recipes.report import report as report_on


def evaluate(
    predictions: StrPath | Sequence[StrPath],
    store: StrPath = "data/store",
    *,
    k: int = 10,
    users: Literal["test", "warm"] = "test",
    report: StrPath | None = None,
    progress: Progress = silent,
) -> recipe.Evaluation:
    """Judge ranked lists by the test part of a store: `recsys-polars evaluate`.

    Args:
        predictions: a Parquet file or several, as `rank` writes them; each is compared with the first. A folder stands
            for its *.parquet files, by name.
        store: the feature store.
        k: length of the list that is judged.
        users: `test`: every user with a positive in the test part; `warm`: those of them with one before it.
        report: an HTML file to write, of figures and charts.
        progress: told of each file.

    Returns:
        `figures`: name, metric, value, low, high (a 95 % interval over users); `differences`; `runs`, what each file
        says of its making; and the number of users.

    Raises:
        InputError: a file that can't be read, no truth to judge by, or a report that is one of the predictions.
        TableError: predictions that break their contract.
        ArtefactError: predictions ranked on another generation of the store.

    Example:
        >>> found = rp.evaluate("preds.parquet", "store", k=2, report="report.html")
        >>> found.figures.filter(pl.col("metric") == "recall")["value"].to_list()
        [1.0]
        >>> open("report.html").read(15)
        '<!doctype html>'
    """
    files = [predictions] if isinstance(predictions, str | os.PathLike) else predictions
    page = None if report is None else Path(report)
    judged_files = recipe.prediction_files([Path(file) for file in files], report=page)
    judged = recipe.judge(judged_files, Path(store), k=k, users=users, progress=progress)
    evaluation = recipe.figures_of(judged, progress=progress)
    if page is not None:
        write_text(page, report_on(judged, evaluation, progress=progress))
    return evaluation
