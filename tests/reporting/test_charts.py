"""Marks stand where their figures belong."""

import re

import pytest

from recsys_polars.reporting.charts import (
    Line,
    Point,
    Tick,
    interval_chart,
    line_chart,
    marker,
    round_values,
    stacked_bars,
)


def numbers(text: str, tag: str, *names: str) -> list[tuple[float, ...]]:
    return [
        tuple(float(re.search(rf' {name}="([-\d.]+)"', found)[1]) for name in names)  # type: ignore[index]
        for found in re.findall(rf"<{tag} [^>]*>", text)
    ]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.5, 1]),
        (0, 0.1, [0, 0.05, 0.1]),
        (-0.02, 0.03, [-0.02, 0, 0.02]),
        (0, 1000, [0, 500, 1000]),
        (3, 3, [3]),
        (0.0312, 0.0398, [0.035]),
    ],
)
def test_axes_have_round_values(low: float, high: float, expected: list[float]) -> None:
    assert round_values(low, high, 3) == pytest.approx(expected, abs=1e-12)


def test_no_axis_has_more_values_than_asked_for() -> None:
    spans = [(low, low + width) for low in (-3.7, 0.0, 0.113) for width in (1e-6, 0.37, 1.0, 2.5, 9e8)]
    assert max(len(round_values(low, high, 5)) for low, high in spans) <= 5


def test_a_mark_lies_within_its_interval_and_in_proportion() -> None:
    points = [Point(0, 0.2, 0.1, 0.4), Point(0, 0.4, 0.3, 0.4)]
    chart = interval_chart(["a", "b"], points, styles=[0, 0], label="two")
    [(first,), (second,)] = numbers(chart, "circle", "cx")
    whiskers = [line for line in re.findall("<line [^>]*>", chart) if "whisker" in line]
    [(low, high), _] = numbers("".join(whiskers), "line", "x1", "x2")
    assert low < first < high == pytest.approx(second)
    assert (first - low) / (high - low) == pytest.approx(1 / 3, abs=0.001)


@pytest.mark.parametrize("ends", [(0.1, 0.4), (-0.4, -0.1), (-0.2, 0.4), (0.0, 0.4)])
def test_an_axis_reaches_past_intervals_but_where_they_end_at_zero(ends: tuple[float, float]) -> None:
    points = [Point(0, sum(ends) / 2, *ends)]
    across = interval_chart(["a"], points, styles=[0], label="one")
    upright = line_chart([Line(0, points)], x_ticks=[Tick(0, "all")], x_title="x", label="one", joined=False)
    for chart, axis, bounds in ((across, "x", (104, 344)), (upright, "y", (182, 12))):
        [whisker] = [line for line in re.findall("<line [^>]*>", chart) if "whisker" in line]
        [places] = numbers(whisker, "line", f"{axis}1", f"{axis}2")
        gaps = [abs(place - bound) for place, bound in zip(places, bounds, strict=True)]
        assert [gap > 8 for gap in gaps] == [end != 0 for end in ends]


@pytest.mark.parametrize("value", [0.2, -0.2])
def test_zero_is_on_the_axis_of_intervals(value: float) -> None:
    chart = interval_chart(["a"], [Point(0, value, value - 0.05, value + 0.05)], styles=[0], label="one")
    [zero] = [line for line in re.findall("<line [^>]*>", chart) if 'class="zero"' in line]
    [(place,)], [(mark,)] = numbers(zero, "line", "x1"), numbers(chart, "circle", "cx")
    assert (mark > place) == (value > 0)


def test_a_value_without_an_interval_has_no_line() -> None:
    assert "whisker" not in interval_chart(["a"], [Point(0, 0.2)], styles=[0], label="one")


def test_higher_values_stand_higher_and_later_ones_further_to_the_right() -> None:
    line = Line(0, [Point(1, 0.1), Point(2, 0.3)])
    chart = line_chart([line], x_ticks=[Tick(1, "1")], x_title="k", label="up")
    [(x1, y1), (x2, y2)] = numbers(chart, "circle", "cx", "cy")
    assert x1 < x2
    assert y1 > y2


def test_models_stand_beside_each_other_in_a_group() -> None:
    lines = [Line(style, [Point(0, 0.1)]) for style in (0, 6)]
    chart = line_chart(lines, x_ticks=[Tick(0, "all")], x_title="group", label="beside", joined=False)
    [(left,), (right,)] = numbers(chart, "circle", "cx")
    assert left < right


def test_nothing_but_zeros_can_be_drawn() -> None:
    chart = line_chart([Line(0, [Point(0, 0.0)])], x_ticks=[], x_title="x", label="zeros")
    assert numbers(chart, "circle", "cx", "cy")
    assert interval_chart(["a"], [Point(0, 0.0, 0.0, 0.0)], styles=[0], label="zero")


def test_bars_are_as_wide_as_their_shares() -> None:
    chart = stacked_bars(["a", "b"], [[0.75, 0.25], [0.0, 1.0]], label="bars")
    widths = [width for (width,) in numbers(chart, "rect", "width")]
    assert widths == pytest.approx([0.75 * widths[2], 0.25 * widths[2], widths[2]], abs=0.01)


def test_24_models_have_marks_of_their_own() -> None:
    assert len({marker(style, 9, 9) for style in range(24)}) == 24


def test_no_chart_reaches_beyond_its_edges() -> None:
    points = [Point(number, value, 0.0, 1.0) for number, value in enumerate((0.0, 0.5, 1.0))]
    ticks = [Tick(number, "group") for number in range(3)]
    lines = [Line(style, points) for style in range(12)]
    chart = line_chart(lines, x_ticks=ticks, x_title="x", label="many", joined=False)
    assert all(0 <= x <= 360 for (x,) in numbers(chart, "line", "x1"))
