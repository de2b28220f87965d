"""What the lists hold: precision and recall further and further down, and popular items against the long tail."""

from collections.abc import Mapping, Sequence
from typing import Any

from recsys_polars.reporting.charts import Line, Point, Tick, line_chart, number_ticks, stacked_bars
from recsys_polars.reporting.comparison import interval_figure
from recsys_polars.reporting.contents import Contents
from recsys_polars.reporting.html import Html, element, join, name_of
from recsys_polars.reporting.tables import chart_figure, figure_cell, side_by_side, table, two_lines
from recsys_polars.reporting.words import figure, listed, number, share

TAKEN = "taken next"
"""What the truth is called among models."""
_SHORT = 12
"""Of longer lists, the axis has round places only."""
Pair = tuple[dict[str, Any], dict[str, Any]]
Shares = dict[str, list[dict[str, Any]]]


def over_k(contents: Contents) -> Html:
    """Return precision and recall down the list."""
    pairs = {name: _precision_and_recall(contents, name) for name in contents.models}
    ks = [recall["k"] for _, recall in pairs[contents.models[0]]]
    charts = [_precision_against_recall(pairs), *(_by_k(contents, metric, ks) for metric in ("precision", "recall"))]
    rows = [
        [name_of(name), str(recall["k"]), figure_cell(precision), figure_cell(recall)]
        for name, of_model in pairs.items()
        for precision, recall in of_model
    ]
    caption = "Precision and recall at k, with 95 % intervals"
    of_figures = table(caption, ["Model", "k", "Precision", "Recall"], rows)
    marks = f"A mark for each k of {', '.join(map(str, ks))}."
    return join(element("p", marks), side_by_side(caption, charts, [of_figures]))


def long_tail(contents: Contents) -> Html:
    """Return how often items of each decile of popularity are shown, by model, and how often they were taken."""
    told = (
        "The catalogue in ten parts of as many items, the most popular first (liked by most users before the cut; "
        f"among equals by id). A bar says which parts the top {contents.k} are from; the last bar, which parts users "
        "took their next items from."
    )
    found = {name: contents.shares.filter(name=name).to_dicts() for name in (*contents.models, TAKEN)}
    shares = {name: rows for name, rows in found.items() if rows[0]["value"] is not None}
    charts = [_places(shares), _items_shown(contents, shares), interval_figure(contents, "coverage")]
    figures = side_by_side("popularity and what is shown", charts, [_tenths(contents, shares)])
    return join(element("p", told), _scale(), figures)


def _precision_against_recall(pairs: Mapping[str, list[Pair]]) -> Html:
    lines = [
        Line(style, [Point(recall["value"], precision["value"]) for precision, recall in of_model])
        for style, of_model in enumerate(pairs.values())
    ]
    told = [f"{name}, {_ends(of_model)}" for name, of_model in pairs.items()]
    chart = line_chart(
        lines,
        x_ticks=number_ticks(0, max(point.x for line in lines for point in line.points)),
        x_title="Recall: further to the right is further down the list",
        label=f"Precision against recall down the list. {listed(told)}",
    )
    return chart_figure("Precision against recall", chart)


def _by_k(contents: Contents, metric: str, ks: Sequence[int]) -> Html:
    found = {name: contents.over_k.filter(name=name, metric=metric).to_dicts() for name in contents.models}
    lines = [Line(style, [Point(row["k"], row["value"]) for row in rows]) for style, rows in enumerate(found.values())]
    title = f"{metric.capitalize()} by k"
    told = [f"{name} at {row['k']}: {figure(row)}" for name, rows in found.items() for row in (rows[0], rows[-1])]
    ticks = [Tick(k, str(k)) for k in ks] if max(ks) <= _SHORT else number_ticks(1, max(ks), whole=True)
    return chart_figure(title, line_chart(lines, x_ticks=ticks, x_title="k", label=f"{title}. {listed(told)}"))


def _places(shares: Shares) -> Html:
    """Which tenths the places of the lists are from."""
    told = [f"{name} {share(rows[0]['value'])}" for name, rows in shares.items()]
    label = f"Share of the most popular tenth of the catalogue: {listed(told)}"
    bars = [[row["value"] for row in rows] for rows in shares.values()]
    return chart_figure("Where the places are from", stacked_bars(list(shares), bars, label=label))


def _items_shown(contents: Contents, shares: Shares) -> Html:
    """How many items of each tenth are shown to anyone."""
    deciles = contents.deciles.to_dicts()
    title, told, lines = "Shown of each tenth, to anyone", [], []
    for name, rows in shares.items():
        if name != TAKEN:
            shown = [rows[decile["decile"] - 1]["n_shown"] / decile["n_items"] for decile in deciles]
            points = [Point(decile["decile"], of_all) for decile, of_all in zip(deciles, shown, strict=True)]
            lines.append(Line(contents.models.index(name), points))
            told.append(f"{name} {', '.join(map(share, shown))}")
    if not lines:
        return chart_figure(title, element("p", "No user was shown anything."))
    chart = line_chart(
        lines,
        x_ticks=[Tick(decile["decile"], str(decile["decile"])) for decile in deciles],
        x_title="Tenth of the catalogue, the most popular first",
        label=f"Share of the items of each tenth that anyone is shown, the most popular first: {listed(told)}",
    )
    return chart_figure(title, chart)


def _tenths(contents: Contents, shares: Shares) -> Html:
    caption = (
        f"Share of the places in the top {contents.k} by tenth of the catalogue, with 95 % intervals, and the number "
        "of different items"
    )
    rows = [
        [*_tenth(decile), *(_places_cell(of_name[decile["decile"] - 1]) for of_name in shares.values())]
        for decile in contents.deciles.iter_rows(named=True)
    ]
    return table(caption, ["Tenth", "Items", "Likes each", *map(name_of, shares)], rows)


def _precision_and_recall(contents: Contents, name: str) -> list[Pair]:
    own = contents.over_k.filter(name=name)
    precision, recall = (own.filter(metric=metric).sort("k").to_dicts() for metric in ("precision", "recall"))
    return list(zip(precision, recall, strict=True))


def _ends(pairs: list[Pair]) -> str:
    return " to ".join(
        f"precision {number(precision['value'])} and recall {number(recall['value'])} at {recall['k']}"
        for precision, recall in (pairs[0], pairs[-1])
    )


def _scale() -> Html:
    """What the colours of the ten parts are."""
    parts = [element("li", str(place), class_=f"d{place} on{place}") for place in range(1, 11)]
    return element("ol", *parts, class_="deciles", aria_label="Colours of the ten parts, the most popular first")


def _tenth(decile: dict[str, Any]) -> list[str]:
    most, fewest = decile["most"], decile["fewest"]
    likes = f"{most:,}" if most == fewest else f"{fewest:,}–{most:,}"
    return [str(decile["decile"]), f"{decile['n_items']:,}", likes]


def _places_cell(row: dict[str, Any]) -> Html:
    ends = "no interval" if row["low"] is None else f"{share(row['low'])} to {share(row['high'])}"
    return two_lines(share(row["value"]), f"{ends}; {row['n_shown']:,}")
