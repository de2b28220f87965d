"""What it took: the time of each model, what became of every row, and the notebook's own times."""

from recsys_polars.reporting.contents import Contents, Ranking
from recsys_polars.reporting.html import Html, element, join, name_of
from recsys_polars.reporting.tables import table
from recsys_polars.reporting.words import NOTHING, duration

NOTEBOOK_USERS = 85_083
NOTEBOOK_ITEMS = 67_706
_NOTEBOOK = (
    ("user vectors", "2 min 51 s", NOTHING),
    ("training pairs", "2 min 59 s", NOTHING),
    ("MLP, one epoch, on a GPU", "14 s", NOTHING),
    ("MLP, ranking, on a GPU", "5 h 53 min", "249 ms"),
    ("CatBoost, training, on a GPU", "2 min 23 s", NOTHING),
    ("CatBoost, ranking", "17 h 44 min", "750 ms"),
)
"""What the notebook prints of itself: the step, how long it took, and that by user."""


def times(contents: Contents) -> Html:
    """Return how long each model was trained and ranked, and the notebook's times."""
    rows = [[name_of(name), *_cells(ranking)] for name, ranking in contents.rankings.items()]
    columns = ["Model", "Training", "Ranking", "A user", "Users", "Items"]
    told = (
        f"{NOTHING} is not known here: rank prints its time and leaves it out of the file, so that the same lists are "
        "the same bytes; a training's stands in the model's manifest."
    )
    notebook = (
        "The notebook that this program replaces took 24 hours. Its figures are of another machine and of another data "
        f"set ({NOTEBOOK_USERS:,} users, {NOTEBOOK_ITEMS:,} items): they say what a step used to cost, and are nothing "
        "to divide the table above by. Both on one machine and one set: docs/benchmarks.md."
    )
    return join(
        table("Time of each model", columns, rows),
        element("p", told),
        element("h3", "The notebook's times"),
        element("p", notebook),
        table("As the notebook printed them", ["Step", "Time", "A user"], [list(row) for row in _NOTEBOOK]),
    )


def rows_of_build(contents: Contents) -> Html:
    """Return what became of every row in each step of the build."""
    keys = ("rows_in", "rows_out", "merged", "rejected")
    if not contents.steps:
        return element("p", "The store says nothing of its steps.")
    rows = [[str(step.get("name")), *(_count(step.get(key)) for key in keys)] for step in contents.steps]
    columns = ["Step", "Rows in", "Rows out", "Merged", "Rejected"]
    told = "In each step, rows in = rows out + merged + rejected."
    return join(element("p", told), table("Rows of each step of the build", columns, rows))


def _cells(ranking: Ranking) -> list[str]:
    each = NOTHING
    if ranking.rank_seconds is not None and ranking.users:
        milliseconds = 1000 * ranking.rank_seconds / ranking.users
        each = f"{milliseconds:.3g} ms" if milliseconds < 100 else f"{milliseconds:,.0f} ms"
    counts = (_count(ranking.users), _count(ranking.items))
    return [duration(ranking.train_seconds), duration(ranking.rank_seconds), each, *counts]


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else NOTHING
