"""How the models were trained: what their manifests say of rounds, losses, and what was chosen by."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from recsys_polars.reporting.charts import Line, Point, interval_chart, line_chart, number_ticks
from recsys_polars.reporting.contents import Contents
from recsys_polars.reporting.html import Html, element, join, name_of
from recsys_polars.reporting.tables import marks_of, table, with_table
from recsys_polars.reporting.words import listed, number

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
    charts = [*_curves(name, _curve(choice), _curve(final)), *_contests(name, choice)]
    told = element("p", _told(manifest, choice, n_charts=len(charts)))
    folds = _folds(name, _mapping(manifest.get("folds")))
    return join(title, told, element("div", *charts, class_="charts") if charts else "", folds)


def _told(manifest: Mapping[str, Any], choice: Mapping[str, Any], *, n_charts: int) -> str:
    rounds, users = manifest.get("rounds"), choice.get("users")
    if not n_charts:
        return "Nothing of its training was written down: there is nothing to choose."
    if not isinstance(users, int) or not isinstance(rounds, int):
        return "Each contender, on the valid part and what lies before it; the best one made the lists."
    rounds_were = "round was" if rounds == 1 else "rounds were"
    return (
        f"{rounds:,} {rounds_were} chosen, by MAP@10 of {users:,} users of the valid part; then the model learnt all "
        "that was known before the test cut."
    )


def _curves(name: str, choosing: Curve, final: Curve) -> list[Html]:
    """A chart a figure: while rounds were chosen, and in the last training."""
    charts = []
    for key, title in _Y.items():
        lines = {
            what: _points(curve, key)
            for what, curve in (("to choose the rounds", choosing), ("the last training", final))
        }
        lines = {what: points for what, points in lines.items() if points}
        if lines:
            charts.append(_curve_chart(name, title, lines, x_title=_x_title([*choosing, *final])))
    return charts


def _curve_chart(name: str, title: str, lines: Mapping[str, Sequence[Point]], *, x_title: str) -> Html:
    drawn = [Line(style, points) for style, points in enumerate(lines.values())]
    xs = [point.x for points in lines.values() for point in points]
    ends = [f"{what} from {points[0].value:.4g} to {points[-1].value:.4g}" for what, points in lines.items()]
    chart = line_chart(
        drawn,
        x_ticks=number_ticks(min(xs), max(xs), whole=True),
        x_title=x_title,
        label=f"{title} of {name} by {x_title.lower()}: {listed(ends)}",
        from_zero=False,
    )
    rows = [[f"{point.x:,.0f}", what, f"{point.value:.4f}"] for what, points in lines.items() for point in points]
    of_figures = table(f"{title} of {name}", [x_title, "In", title], rows)
    return with_table(title, chart, of_figures, marks=marks_of(list(lines)))


def _contests(name: str, choice: Mapping[str, Any]) -> list[Html]:
    """A chart a contest of `auto`: which of several ways to order candidates did best."""
    charts = []
    for scope, contest in choice.items():
        found = {
            str(way): value for way, value in _mapping(_mapping(contest).get("validation")).items() if _is_number(value)
        }
        if not found:
            continue
        ways = sorted(found, key=lambda way: (-found[way], way))
        title = f"MAP@10 among {'all items' if scope == 'catalogue' else 'known items'}"
        label = f"{title}: {listed([f'{way} {number(found[way])}' for way in ways])}"
        chart = interval_chart(ways, [Point(0, found[way]) for way in ways], styles=[0] * len(ways), label=label)
        rows = [[name_of(way), number(found[way])] for way in ways]
        charts.append(with_table(title, chart, table(f"{title}, {name}", ["Ordered by", "MAP@10"], rows)))
    return charts


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


def _x_title(curve: Curve) -> str:
    return "Trees" if any("trees" in entry for entry in curve) else "Epoch"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
