"""How the models were trained: what their manifests say of rounds, losses, and what was chosen by."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from recsys_polars.reporting.charts import Line, Point, interval_chart, line_chart, number_ticks
from recsys_polars.reporting.contents import Contents
from recsys_polars.reporting.html import Html, element, join, name_of
from recsys_polars.reporting.tables import chart_figure, marks_of, side_by_side, table
from recsys_polars.reporting.words import NOTHING, listed, number

_Y = {"validation": "MAP@10 of the valid part", "loss": "Loss", "accuracy": "Accuracy of held-out rows"}
Curve = list[dict[str, float]]


def trainings(contents: Contents) -> Html:
    """Return the curves of every model that has some."""
    return join(*(_of_model(name, contents.trainings.get(name)) for name in contents.models))


def _of_model(name: str, manifest: Mapping[str, Any] | None) -> Html:
    title = element("h3", name_of(name))
    if manifest is None:
        told = "The model that made these lists is not in the store (any more): nothing is known of its training."
        return join(title, element("p", told))
    choice, final = _mapping(manifest.get("choice")), _mapping(manifest.get("training"))
    runs = {"to choose the rounds": _curve(choice), "the last training": _curve(final)}
    contests = _contests(choice)
    charts = [*_curve_charts(name, runs), *(_contest_chart(scope, found) for scope, found in contests.items())]
    tables = [*_curve_tables(name, runs), *(_contest_table(scope, found) for scope, found in contests.items())]
    told = element("p", _told(manifest, choice, n_charts=len(charts)))
    shown = side_by_side(f"training of {name}", charts, tables) if charts else ""
    return join(title, told, shown, _folds(name, _mapping(manifest.get("folds"))))


def _told(manifest: Mapping[str, Any], choice: Mapping[str, Any], *, n_charts: int) -> str:
    rounds, users = manifest.get("rounds"), choice.get("users")
    if not n_charts:
        return "Nothing of its training was written down: there is nothing to choose."
    if not isinstance(users, int) or not isinstance(rounds, int):
        return (
            "Each contender, on the valid part and what lies before it; the best one made the lists. trees: CatBoost "
            "orders what all signals propose. The other names are of signals; `recsys-polars explain --help` says what "
            "each is."
        )
    rounds_were = "round was" if rounds == 1 else "rounds were"
    return (
        f"{rounds:,} {rounds_were} chosen, by MAP@10 of {users:,} users of the valid part; then the model learnt all "
        "that was known before the test cut."
    )


def _curve_charts(name: str, runs: Mapping[str, Curve]) -> list[Html]:
    """A chart a figure, with a line a run."""
    charts = []
    for key, title in _Y.items():
        lines = {what: points for what, curve in runs.items() if (points := _points(curve, key))}
        if lines:
            charts.append(_curve_chart(f"{title} of {name}", title, lines, x_title=_x_title(runs)))
    return charts


def _curve_chart(label: str, title: str, lines: Mapping[str, Sequence[Point]], *, x_title: str) -> Html:
    xs = [point.x for points in lines.values() for point in points]
    ends = [f"{what} from {points[0].value:.4g} to {points[-1].value:.4g}" for what, points in lines.items()]
    chart = line_chart(
        [Line(style, points) for style, points in enumerate(lines.values())],
        x_ticks=number_ticks(min(xs), max(xs), whole=True),
        x_title=x_title,
        label=f"{label} by {x_title.lower()}: {listed(ends)}",
        from_zero=False,
    )
    return chart_figure(title, chart, marks=marks_of(list(lines)))


def _curve_tables(name: str, runs: Mapping[str, Curve]) -> list[Html]:
    """A table a run that has a curve."""
    tables = []
    for what, curve in runs.items():
        keys = [key for key in _Y if any(key in entry for entry in curve)]
        rows = [
            [f"{entry.get('trees', epoch):,.0f}", *(f"{entry[key]:.4f}" if key in entry else NOTHING for key in keys)]
            for epoch, entry in enumerate(curve, 1)
        ]
        if keys:
            tables.append(table(f"{name}, {what}", [_x_title(runs), *(_Y[key] for key in keys)], rows))
    return tables


def _contests(choice: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """MAP@10 of the several ways in which `auto` could order candidates, best first, by what they were chosen for."""
    found = {}
    for scope, contest in choice.items():
        tried = _mapping(_mapping(contest).get("validation"))
        ways = {str(way): float(value) for way, value in tried.items() if _is_number(value)}
        if ways:
            found["all items" if scope == "catalogue" else "known items"] = dict(
                sorted(ways.items(), key=lambda way: (-way[1], way[0]))
            )
    return found


def _contest_chart(scope: str, ways: Mapping[str, float]) -> Html:
    title = f"MAP@10 among {scope}"
    label = f"{title}: {listed([f'{way} {number(value)}' for way, value in ways.items()])}"
    points = [Point(0, value) for value in ways.values()]
    return chart_figure(title, interval_chart(list(ways), points, styles=[0] * len(ways), label=label))


def _contest_table(scope: str, ways: Mapping[str, float]) -> Html:
    rows = [[name_of(way), number(value)] for way, value in ways.items()]
    return table(f"MAP@10 among {scope}", ["Ordered by", "MAP@10"], rows)


def _folds(name: str, folds: Mapping[str, Any]) -> Html:
    rows = [
        [f"{figure.get('fold')}", f"{figure.get('seed')}", number(figure["map"]), f"{figure.get('users')}"]
        for figure in map(_mapping, folds.get("figures") or [])
        if _is_number(figure.get("map"))
    ]
    caption = f"MAP@10 of {name} on earlier windows of time, the latest first"
    return table(caption, ["Window", "Seed", "MAP@10", "Users"], rows) if rows else Html()


def _curve(facts: Mapping[str, Any]) -> Curve:
    entries = facts.get("curve")
    known = [_mapping(entry) for entry in entries] if isinstance(entries, list) else []
    return [{key: float(value) for key, value in entry.items() if _is_number(value)} for entry in known]


def _points(curve: Curve, key: str) -> list[Point]:
    return [Point(entry.get("trees", epoch), entry[key]) for epoch, entry in enumerate(curve, 1) if key in entry]


def _x_title(runs: Mapping[str, Curve]) -> str:
    return "Trees" if any("trees" in entry for curve in runs.values() for entry in curve) else "Epoch"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
