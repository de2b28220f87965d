"""Models side by side: every figure with its interval, and how each model differs from the first."""

from typing import Any

import polars as pl

from recsys_polars.reporting.charts import Point, interval_chart
from recsys_polars.reporting.contents import Contents
from recsys_polars.reporting.html import Html, element, join, name_of
from recsys_polars.reporting.tables import chart_figure, marks_of, table, two_lines
from recsys_polars.reporting.words import METRICS, NOTHING, QUALITY, figure, interval, listed, metric_title, number

Rows = dict[tuple[str, str], dict[str, Any]]
_CHARTS = ("ndcg", "ap", "recall", "precision", "hit_rate", "mrr")


def headline(contents: Contents) -> Html:
    """Return the finding in a sentence or two."""
    rows, title = rows_of(contents.figures), metric_title("ndcg", contents.k)
    best = max(contents.models, key=lambda name: rows[name, "ndcg"]["value"])
    found = element("strong", name_of(best), f" has the highest {title}: {figure(rows[best, 'ndcg'])}.")
    first, *others = contents.models
    differences = rows_of(contents.differences)
    if best == first:
        near = [name for name in others if not _is_sure(differences[name, "ndcg"])]
        named = [part for name in near for part in (", ", name_of(name))][1:]
        maybe = join(" Chance alone could have put it before ", *named, ".") if near else ""
        return element("p", found, maybe, class_="headline")
    difference = differences[best, "ndcg"]
    sure = "" if _is_sure(difference) else " That interval holds 0: chance alone could have made it."
    against = join(" Against ", name_of(first), f" that is {figure(difference, signed=True)}.{sure}")
    return element("p", found, against, class_="headline")


def models(contents: Contents) -> Html:
    """Return the figures of every model."""
    rows = rows_of(contents.figures)
    charts = [interval_figure(contents, metric) for metric in _CHARTS]
    cells = [
        [metric_title(metric, contents.k), *(_cell(rows, name, metric, contents) for name in contents.models)]
        for metric in METRICS
    ]
    return join(
        element("p", "A mark is the mean over users, a line its 95 % interval. The highest of a row is in bold."),
        _beside(
            charts,
            table("Every figure, with its 95 % interval over users", ["", *map(name_of, contents.models)], cells),
        ),
    )


def differences(contents: Contents) -> Html:
    """Return how each model differs from the first, over the same draws of users."""
    first, *others = contents.models
    if not others:
        return element("p", "One model alone was judged: there is nothing to compare it with.")
    rows = rows_of(contents.differences)
    charts = [_chart(contents, metric, rows, others) for metric in _CHARTS]
    cells = [
        [metric_title(metric, contents.k), *(_difference(rows[name, metric]) for name in others)] for metric in METRICS
    ]
    told = (
        "Each model minus ",
        name_of(first),
        ", user by user. Where the interval holds 0, chance alone could have made the difference.",
        " ▲ is above 0 with its whole interval, ▼ below.",
    )
    caption = f"Differences to {first}, with paired 95 % intervals"
    return join(
        element("p", *told),
        _beside(charts, table(caption, ["", *map(name_of, others)], cells)),
    )


def legend(contents: Contents) -> Html:
    """Return what the marks of the models look like."""
    return marks_of(contents.models)


def rows_of(figures: pl.DataFrame) -> Rows:
    """Return rows by name and metric."""
    return {(row["name"], row["metric"]): row for row in figures.iter_rows(named=True)}


def interval_figure(contents: Contents, metric: str) -> Html:
    """Return the chart of a metric of every model."""
    return _chart(contents, metric, rows_of(contents.figures), list(contents.models))


def _chart(contents: Contents, metric: str, rows: Rows, names: list[str]) -> Html:
    title, signed = metric_title(metric, contents.k), names != list(contents.models)
    found = [rows[name, metric] for name in names]
    label = f"{title}: " + listed(
        [f"{name} {figure(row, signed=signed)}" for name, row in zip(names, found, strict=True)]
    )
    points = [Point(0, row["value"], row["low"], row["high"]) for row in found]
    chart = interval_chart(names, points, styles=[contents.models.index(name) for name in names], label=label)
    return chart_figure(title, chart)


def _beside(charts: list[Html], figures: Html) -> Html:
    """Charts, and the table of their figures beside them where there is room for both."""
    return element("div", element("div", *charts, class_="charts"), figures, class_="beside")


def _cell(rows: Rows, name: str, metric: str, contents: Contents) -> Html:
    row = rows[name, metric]
    value = number(row["value"])
    is_highest = metric in QUALITY and row["value"] == max(rows[other, metric]["value"] for other in contents.models)
    return two_lines(element("strong", value) if is_highest and len(contents.models) > 1 else value, interval(row))


def _difference(row: dict[str, Any]) -> Html:
    if row["value"] is None:
        return two_lines(NOTHING, "")
    sign = "" if not _is_sure(row) else " ▲" if row["value"] > 0 else " ▼"
    return two_lines(number(row["value"], signed=True) + sign, interval(row, signed=True))


def _is_sure(row: dict[str, Any]) -> bool:
    return row["low"] is not None and bool(row["low"] > 0 or row["high"] < 0)
