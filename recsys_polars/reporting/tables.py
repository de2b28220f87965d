"""Tables, which scroll sideways where they are wider than the screen, and what stands beside charts."""

from collections.abc import Mapping, Sequence
from typing import Any

from recsys_polars.reporting.charts import marker
from recsys_polars.reporting.html import Html, element, join, name_of
from recsys_polars.reporting.words import interval, number


def table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Html:
    """Return a table: a header a column, and the first cell of each row is the row's header."""
    head = element("tr", *(element("th", column, scope="col") for column in columns))
    body = [
        element("tr", element("th", first, scope="row"), *(element("td", cell) for cell in cells))
        for first, *cells in rows
    ]
    inner = element("table", element("caption", caption), element("thead", head), element("tbody", *body))
    return element("div", inner, class_="scroll", role="region", aria_label=caption, tabindex="0")


def two_lines(first: str, second: str) -> Html:
    """Return a figure with a smaller line beneath, for a cell."""
    return Html(f"{element('span', first, class_='value')} {element('span', second, class_='interval')}")


def figure_cell(row: Mapping[str, Any]) -> Html:
    """Return the cell of a figure and its interval."""
    return two_lines(number(row["value"]), interval(row))


def chart_figure(title: str, chart: Html, *, marks: str = "") -> Html:
    """Return a chart under its title."""
    return element("figure", element("figcaption", title), marks, chart)


def side_by_side(what: str, charts: Sequence[Html], tables: Sequence[Html]) -> Html:
    """Return charts beside each other, and tables of their figures folded away beneath."""
    summary = element("summary", "The figures of these charts", element("span", f": {what}", class_="unseen"))
    return join(element("div", *charts, class_="charts"), element("details", summary, *tables))


def marks_of(names: Sequence[str]) -> Html:
    """Return what the marks of charts stand for, in the order of their styles."""
    entries = [
        element("li", element("svg", marker(style, 8, 8), viewBox="0 0 16 16", aria_hidden="true"), name_of(name))
        for style, name in enumerate(names)
    ]
    return element("ul", *entries, class_="legend", aria_label="What the marks stand for")
