"""Whom the lists serve: by what users had liked, cold and warm, and by how popular what they took was."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from recsys_polars.reporting.charts import Line, Point, Tick, line_chart
from recsys_polars.reporting.contents import Contents
from recsys_polars.reporting.html import Html, element, join, name_of
from recsys_polars.reporting.tables import chart_figure, figure_cell, side_by_side, table
from recsys_polars.reporting.words import FEW, figure, group_start, group_title, listed, metric_title

_METRICS = ("ndcg", "ap", "hit_rate")
_FEW_TOLD = f"* marks groups of fewer than {FEW} users: of so few, an interval is narrower than it ought to be."
_WARMTH = {0: "Cold", 1: "Warm"}
Row = dict[str, Any]


def by_history(contents: Contents) -> Html:
    """Return the figures by how much users had liked, and of cold against warm users."""
    told = f"Users in groups by how many items they had liked before the cut; n users are in a group. {_FEW_TOLD}"
    of_warmth = "Cold users had liked nothing before the cut; rank gives them what is popular, whatever the model."
    return join(
        element("p", told),
        _charts(contents, contents.by_history, "Items liked before the cut"),
        element("h3", "Cold against warm"),
        element("p", of_warmth),
        _by_warmth(contents),
    )


def _by_warmth(contents: Contents) -> Html:
    """The table of both, where there are both: one alone would repeat the figures of all users."""
    found = contents.by_warmth["lowest"].unique().to_list()
    missing = [name.lower() for lowest, name in _WARMTH.items() if lowest not in found]
    if missing:
        return element("p", f"No user judged is {missing[0]}.")
    return _table(contents, contents.by_warmth, "Cold against warm users, with 95 % intervals", _WARMTH)


def by_popularity(contents: Contents) -> Html:
    """Return the figures by how popular the items were that users took."""
    told = (
        "What users took next, in groups by how many users had liked the item before the cut. Each group is judged by "
        f"its own items alone; n users took one of them, and a user may stand in several groups. {_FEW_TOLD}"
    )
    charts = _charts(contents, contents.by_popularity, "Users who had liked the item")
    return join(element("p", told), charts)


def _charts(contents: Contents, frame: pl.DataFrame, x_title: str) -> Html:
    charts = [_chart(contents, frame, metric, x_title) for metric in _METRICS]
    caption = f"By {x_title[0].lower()}{x_title[1:]}, with 95 % intervals"
    return side_by_side(caption, charts, [_table(contents, frame, caption)])


def _chart(contents: Contents, frame: pl.DataFrame, metric: str, x_title: str) -> Html:
    by_model = {name: _rows(frame, name, metric) for name in contents.models}
    groups = by_model[contents.models[0]]
    places = {group["lowest"]: place for place, group in enumerate(groups)}
    lines = [
        Line(style, [Point(places[row["lowest"]], row["value"], row["low"], row["high"]) for row in rows])
        for style, rows in enumerate(by_model.values())
    ]
    ticks = [
        Tick(place, f"{group_start(group['lowest'])}{_few(group)}", f"n={group['n_users']:,}")
        for place, group in enumerate(groups)
    ]
    title = metric_title(metric, contents.k)
    label = f"{title} by {x_title.lower()}; the highest of each group: {listed(_highest(by_model))}"
    reach = f"{x_title}, up to the next mark"
    chart = line_chart(lines, x_ticks=ticks, x_title=reach, label=label, joined=False)
    return chart_figure(title, chart)


def _table(contents: Contents, frame: pl.DataFrame, caption: str, names: Mapping[int, str] | None = None) -> Html:
    """One row a group and metric, one column a model."""
    found = {(row["name"], row["metric"], row["lowest"]): row for row in frame.iter_rows(named=True)}
    rows = [
        [
            f"{names[group['lowest']]}{_few(group)}" if names else _title(group),
            f"{group['n_users']:,}",
            metric_title(metric, contents.k),
            *(figure_cell(found[name, metric, group["lowest"]]) for name in contents.models),
        ]
        for metric in _METRICS
        for group in _rows(frame, contents.models[0], metric)
    ]
    columns = ["Group", "Users", "Metric", *map(name_of, contents.models)]
    return table(caption, columns, rows)


def _highest(by_model: Mapping[str, list[Row]]) -> list[str]:
    """Which model is ahead in each group, in words."""
    told = []
    for of_group in zip(*by_model.values(), strict=True):
        ahead, row = max(zip(by_model, of_group, strict=True), key=lambda model: model[1]["value"])
        told.append(f"{_title(row)}, {ahead} {figure(row)}")
    return told


def _rows(frame: pl.DataFrame, name: str, metric: str) -> list[Row]:
    return frame.filter(name=name, metric=metric).to_dicts()


def _title(group: Row) -> str:
    return f"{group_title(group['lowest'], group['highest'])}{_few(group)}"


def _few(group: Row) -> str:
    return "*" if group["n_users"] < FEW else ""
