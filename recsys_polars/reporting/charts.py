"""Charts as SVG, 360 units wide: that is a phone's width, so that text in them can be read there.

Colours are the page's (`.m0` to `.m7`, `.d1` to `.d10`); a model has a shape beside its colour. What a chart says is in
its label, for those who don't see it.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple
from unicodedata import east_asian_width

from recsys_polars.reporting.html import Html, element, join
from recsys_polars.reporting.words import with_minus

WIDTH = 360
_NAMES = 104
"""Room for names, left of a chart."""
_COLOURS = 8
_CLIPPED = 19


class Point(NamedTuple):
    """A value, and its interval where it has one."""

    x: float
    value: float
    low: float | None = None
    high: float | None = None


class Line(NamedTuple):
    """The points of one model; `style` is its place among the models."""

    style: int
    points: Sequence[Point]


class Tick(NamedTuple):
    """A place on an axis, what it is called, and a second line beneath."""

    place: float
    text: str
    beneath: str = ""


def interval_chart(names: Sequence[str], points: Sequence[Point], *, styles: Sequence[int], label: str) -> Html:
    """Return a row a name: a mark at the value, a line over the interval; zero is on the axis. `Point.x` is unused."""
    low, high = _reach(points)
    x, bottom = _scale(low, high, _NAMES, WIDTH - 16), 24 * len(points) + 6
    ticks = [Tick(x(value), _short(value)) for value in round_values(low, high, 5)]
    rows = [
        join(
            _name(name, 24 * row + 20),
            _whisker(x, point, 24 * row + 16, style),
            marker(style, x(point.value), 24 * row + 16),
        )
        for row, (name, point, style) in enumerate(zip(names, points, styles, strict=True))
    ]
    grid = [_line(tick.place, 4, tick.place, bottom, "zero" if tick.text == "0" else "grid") for tick in ticks]
    return _svg(bottom + 18, label, *grid, *(_text(tick, bottom + 13) for tick in ticks), *rows)


def line_chart(
    lines: Sequence[Line],
    *,
    x_ticks: Sequence[Tick],
    x_title: str,
    label: str,
    from_zero: bool = True,
    joined: bool = True,
) -> Html:
    """Return a line a model over a common axis, with intervals where they are known.

    Args:
        lines: of the models.
        x_ticks: on the x axis, in its own units.
        x_title: what x is.
        label: what the chart says, in words.
        from_zero: whether the y axis begins at zero.
        joined: whether points are joined: not where x are groups, whose marks then stand beside each other.
    """
    points = [point for line in lines for point in line.points]
    low, high = _reach(points, from_zero=from_zero)
    y = _scale(low, high, 182, 12)
    xs = [*(point.x for point in points), *(tick.place for tick in x_ticks)]
    beside = 0.0 if joined else 0.5
    x = _scale(min(xs) - beside, max(xs) + beside, 52 if joined else 44, WIDTH - 12)
    step = 0.0 if joined else min(9.0, 0.8 * (x(1) - x(0)) / len(lines))
    shifts = [(number - (len(lines) - 1) / 2) * step for number in range(len(lines))]
    bottom = 227 if any(tick.beneath for tick in x_ticks) else 216
    y_ticks = [(y(value), _short(value)) for value in round_values(low, high, 5)]
    return _svg(
        bottom + 5,
        label,
        *(_line(x(tick.place + 0.5), 12, x(tick.place + 0.5), 182, "grid") for tick in x_ticks[:-1] if not joined),
        *(_line(44, place, WIDTH - 12, place, "grid") for place, _ in y_ticks),
        _line(44, 182, WIDTH - 12, 182, "zero"),
        *(element("text", text, x=38, y=place + 4, class_="end") for place, text in y_ticks),
        *(_text(Tick(x(tick.place), tick.text, tick.beneath), 198) for tick in x_ticks),
        element("text", x_title, x=(44 + WIDTH - 12) / 2, y=bottom, class_="middle title"),
        *(_drawn(line, x, y, shift, joined=joined) for line, shift in zip(lines, shifts, strict=True)),
    )


def stacked_bars(names: Sequence[str], shares: Sequence[Sequence[float]], *, label: str) -> Html:
    """Return a bar a name, its shares (which add up to 1) side by side; large ones have their number."""
    x, bars = _scale(0, 1, _NAMES, WIDTH - 8), list[Html]()
    for row, (name, parts) in enumerate(zip(names, shares, strict=True)):
        bars.append(_name(name, 28 * row + 21))
        left = 0.0
        for place, share in enumerate(parts, 1):
            begin, end = x(left), x(left + share)
            if share > 0:
                bars.append(element("rect", x=begin, y=28 * row + 6, width=end - begin, height=22, class_=f"d{place}"))
            if share >= 0.1:
                text = f"{100 * share:.0f} %"
                bars.append(element("text", text, x=(begin + end) / 2, y=28 * row + 21, class_=f"middle on{place}"))
            left += share
    return _svg(28 * len(names) + 8, label, *bars)


def marker(style: int, x: float, y: float) -> Html:
    """Return the mark of a model: its colour, and a shape that tells it apart without the colour."""
    shapes: tuple[Callable[[], Html], ...] = (
        lambda: element("circle", cx=x, cy=y, r=4.5, class_=css),
        lambda: element("rect", x=x - 4, y=y - 4, width=8, height=8, class_=css),
        lambda: element("path", d=f"M{x:.1f} {y - 5.5:.1f}l5 9.5h-10z", class_=css),
        lambda: element("path", d=f"M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6-6z", class_=css),
        lambda: element("path", d=f"M{x:.1f} {y + 5.5:.1f}l5-9.5h-10z", class_=css),
        lambda: element("path", d=f"M{x - 2:.1f} {y - 6:.1f}h4v4h4v4h-4v4h-4v-4h-4v-4h4z", class_=css),
    )
    css = f"mark {colour(style)}"
    return shapes[style % len(shapes)]()


def colour(style: int) -> str:
    """Return the class of a model's colour."""
    return f"m{style % _COLOURS}"


def round_values(low: float, high: float, most: int) -> list[float]:
    """Return multiples of 1, 2 or 5 times a power of ten from low to high: as many as can be, `most` at most."""
    if not high > low:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    steps = (power * factor for factor in (0.5, 1, 2, 5, 10, 20))
    spans = ((step, math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)) for step in steps)
    step, first, last = next(span for span in spans if span[2] - span[1] < most)
    return [number * step for number in range(first, last + 1)]


def number_ticks(low: float, high: float, *, whole: bool = False) -> list[Tick]:
    """Return ticks at round values from low to high; at whole numbers only, if so asked."""
    values = [value for value in round_values(low, high, 6) if not whole or value == round(value)]
    return [Tick(value, _short(value)) for value in values]


def _reach(points: Sequence[Point], *, from_zero: bool = True) -> tuple[float, float]:
    """Where an axis begins and ends: past every value and interval, which would else look cut off; or at zero."""
    ends = [end for point in points for end in (point.value, point.low, point.high) if end is not None]
    low, high = min(ends + [0.0] * from_zero), max(ends + [0.0] * from_zero)
    room = (high - low) / 15
    return low - room * (low < 0 or not from_zero), high + room * (high > 0 or not from_zero)


def _scale(low: float, high: float, begin: float, end: float) -> Callable[[float], float]:
    """Map low to begin and high to end."""
    span = high - low or 1.0
    return lambda value: begin + (value - low) / span * (end - begin)


def _drawn(line: Line, x: Callable[[float], float], y: Callable[[float], float], shift: float, *, joined: bool) -> Html:
    css = colour(line.style)
    path = "M" + "L".join(f"{x(point.x) + shift:.1f} {y(point.value):.1f}" for point in line.points)
    return join(
        element("path", d=path, class_=f"line {css}") if joined and len(line.points) > 1 else "",
        *(
            _line(x(point.x) + shift, y(point.low), x(point.x) + shift, y(point.high), f"whisker {css}")
            for point in line.points
            if not joined and point.low is not None and point.high is not None
        ),
        *(marker(line.style, x(point.x) + shift, y(point.value)) for point in line.points),
    )


def _whisker(x: Callable[[float], float], point: Point, y: float, style: int) -> Html:
    if point.low is None or point.high is None:
        return Html()
    return _line(x(point.low), y, x(point.high), y, f"whisker {colour(style)}")


def _line(x1: float, y1: float, x2: float, y2: float, css: str) -> Html:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=css)


def _text(tick: Tick, y: float) -> Html:
    beneath = element("text", tick.beneath, x=tick.place, y=y + 13, class_="middle faint") if tick.beneath else ""
    return join(element("text", tick.text, x=tick.place, y=y, class_="middle"), beneath)


def _name(name: str, y: float) -> Html:
    shown = name if len(name) <= _CLIPPED else f"{name[: _CLIPPED - 1]}…"
    room = _NAMES - 12.0
    width = sum(11.0 if sign in "MW@%mw" or east_asian_width(sign) in "WF" else 6.5 for sign in shown)
    squeezed: dict[str, str | float] = {"textLength": room, "lengthAdjust": "spacingAndGlyphs"} if width > room else {}
    return element("text", shown, x=_NAMES - 10, y=y, class_="end", **squeezed)


def _short(value: float) -> str:
    return with_minus(f"{value:.6g}") if abs(value) > 1e-12 else "0"


def _svg(height: float, label: str, *children: Html) -> Html:
    return element("svg", *children, viewBox=f"0 0 {WIDTH} {height:g}", role="img", aria_label=label, class_="chart")
