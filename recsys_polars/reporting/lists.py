"""What the lists hold: precision and recall further and further down, and popular items against the long tail."""

from collections.abc import Mapping
from typing import Any

from recsys_polars.reporting.charts import Line, Point, Tick, line_chart, number_ticks, stacked_bars
from recsys_polars.reporting.comparison import interval_figure
from recsys_polars.reporting.contents import Contents
from recsys_polars.reporting.html import Html, element, join, name_of
from recsys_polars.reporting.tables import figure_cell, table, two_lines, with_table
from recsys_polars.reporting.words import figure, listed, number, share

TAKEN = "taken next"
"""What the truth is called among models."""
Pair = tuple[dict[str, Any], dict[str, Any]]
Shares = dict[str, list[dict[str, Any]]]


def over_k(contents: Contents) -> Html:
    """Return precision and recall down the list."""
    pairs = {name: _precision_and_recall(contents, name) for name in contents.models}
    ks = [recall["k"] for _, recall in pairs[contents.models[0]]]
    marks = f"A mark for each k of {', '.join(map(str, ks))}."
    charts = [_precision_against_recall(pairs), *(_by_k(contents, metric) for metric in ("precision", "recall"))]
    return join(element("p", marks), element("div", *charts, class_="charts"))


def long_tail(contents: Contents) -> Html:
    """Return how often items of each decile of popularity are shown, by model, and how often they were taken."""
    told = (
        "The catalogue in ten parts of as many items, the most popular first (liked by most users before the cut; "
        f"among equals by id). A bar says which parts the top {contents.k} are from; the last bar, which parts users "
        "took their next items from."
    )
    shares = _shares(contents)
    charts = [_places(contents, shares), _items_shown(contents, shares), interval_figure(contents, "coverage")]
    return join(element("p", told), _scale(), element("div", *charts, class_="charts"))


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
    rows = [
        [name_of(name), str(recall["k"]), *map(figure_cell, (precision, recall))]
        for name, of_model in pairs.items()
        for precision, recall in of_model
    ]
    caption = "Precision and recall at k, with 95 % intervals"
    return with_table("Precision against recall", chart, table(caption, ["Model", "k", "Precision", "Recall"], rows))


def _by_k(contents: Contents, metric: str) -> Html:
    found = {name: contents.over_k.filter(name=name, metric=metric).to_dicts() for name in contents.models}
    title = f"{metric.capitalize()} by k"
    lines = [Line(style, [Point(row["k"], row["value"]) for row in rows]) for style, rows in enumerate(found.values())]
    told = [f"{name} at {row['k']}: {figure(row)}" for name, rows in found.items() for row in rows]
    label = f"{title}, with 95 % intervals. {listed(told)}"
    ks = [row["k"] for row in found[contents.models[0]]]
    chart = line_chart(lines, x_ticks=number_ticks(min(ks), max(ks), whole=True), x_title="k", label=label)
    rows = [[str(of_k[0]["k"]), *map(figure_cell, of_k)] for of_k in zip(*found.values(), strict=True)]
    of_figures = table(f"{title}, with 95 % intervals", ["k", *map(name_of, contents.models)], rows)
    return with_table(title, chart, of_figures)


def _places(contents: Contents, shares: Shares) -> Html:
    """Which tenths the places of the lists are from."""
    label = "Share of the most popular tenth of the catalogue: " + listed(
        [f"{name} {share(rows[0]['value'])}" for name, rows in shares.items()]
    )
    chart = stacked_bars(list(shares), [[row["value"] for row in rows] for rows in shares.values()], label=label)
    columns = ["Tenth", "Items", "Likes each", *map(name_of, shares)]
    rows = [
        [*_tenth(decile), *(_share_cell(of_name[decile["decile"] - 1]) for of_name in shares.values())]
        for decile in contents.deciles.iter_rows(named=True)
    ]
    caption = f"Share of the places in the top {contents.k} by tenth of the catalogue, with 95 % intervals"
    return with_table("Where the places are from", chart, table(caption, columns, rows))


def _items_shown(contents: Contents, shares: Shares) -> Html:
    """How many items of each tenth are shown to anyone."""
    deciles = contents.deciles.to_dicts()
    shown = {
        name: [rows[decile["decile"] - 1]["n_shown"] for decile in deciles]
        for name, rows in shares.items()
        if name != TAKEN
    }
    if not shown:
        return element("figure", "No user was shown anything.")
    lines = [
        Line(
            contents.models.index(name),
            [Point(decile["decile"], n / decile["n_items"]) for decile, n in zip(deciles, ns, strict=True)],
        )
        for name, ns in shown.items()
    ]
    told = listed([f"{name} {', '.join(map(str, ns))}" for name, ns in shown.items()])
    title = "Share of each tenth that anyone is shown"
    chart = line_chart(
        lines,
        x_ticks=[Tick(decile["decile"], str(decile["decile"])) for decile in deciles],
        x_title="Tenth of the catalogue, the most popular first",
        label=f"Items shown of each tenth, the most popular first: {told}",
    )
    rows = [[*_tenth(decile), *(f"{ns[place]:,}" for ns in shown.values())] for place, decile in enumerate(deciles)]
    columns = ["Tenth", "Items", "Likes each", *map(name_of, shown)]
    return with_table(title, chart, table("Items shown to anyone, by tenth of the catalogue", columns, rows))


def _shares(contents: Contents) -> Shares:
    """The rows of each model that has lists at all, and of what was taken."""
    found = {name: contents.shares.filter(name=name).to_dicts() for name in (*contents.models, TAKEN)}
    return {name: rows for name, rows in found.items() if rows[0]["value"] is not None}


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


def _share_cell(row: dict[str, Any]) -> Html:
    ends = "no interval" if row["low"] is None else f"{share(row['low'])} to {share(row['high'])}"
    return two_lines(share(row["value"]), ends)
