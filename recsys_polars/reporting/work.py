"""What it took: time and memory of each run and its steps, the notebook's own times, and what became of every row."""

from recsys_polars.memory import amount
from recsys_polars.reporting.contents import Contents, Work
from recsys_polars.reporting.html import Html, element, join, name_of
from recsys_polars.reporting.tables import table, two_lines
from recsys_polars.reporting.words import NOTHING, duration

NOTEBOOK_USERS = 85_083
NOTEBOOK_ITEMS = 67_706
_NOTEBOOK = {
    ("build", None): ("5 min 50 s", "user vectors and training pairs"),
    ("train", "catboost"): ("2 min 23 s", "on a GPU"),
    ("train", "mlp"): ("14 s an epoch", "on a GPU"),
    ("rank", "catboost"): ("17 h 44 min", "750 ms a user"),
    ("rank", "mlp"): ("5 h 53 min", "249 ms a user, on a GPU"),
}
"""What the notebook prints of itself, by run and kind of model."""
_RUNS = {"build": "Build", "train": "Train", "rank": "Rank with"}


def times(contents: Contents) -> Html:
    """Return what each run took and what each of its steps did; folded away, what the notebook took."""
    rows = [[_run(work), _time(work), _memory(work.peak_bytes)] for work in contents.works]
    told = (
        "Times are without the start of Python and its libraries. Memory is the most that the process had had by then, "
        f"earlier runs of the same process included, as in demo. {NOTHING}: no time of it was kept."
    )
    return join(
        element("p", told),
        table("Time and memory of each run", ["Run", "Time", "Memory"], rows),
        _steps(contents),
        _notebook(contents),
    )


def _notebook(contents: Contents) -> Html:
    rows = [
        [_run(work), _time(work), two_lines(*_NOTEBOOK[work.run, work.kind])]
        for work in contents.works
        if (work.run, work.kind) in _NOTEBOOK
    ]
    told = (
        "The notebook is what this program replaces: it took 24 hours to do the same for "
        f"{NOTEBOOK_USERS:,} users and {NOTEBOOK_ITEMS:,} items. Its times are as it printed them, of another machine "
        "and of that data set: they say what a step used to cost, and are nothing to divide the others by."
    )
    summary = element("summary", "What the notebook took that this program replaces")
    times = table("Times here and in the notebook", ["Run", "Here", "The notebook"], rows)
    return element("details", summary, element("p", told), times)


def _steps(contents: Contents) -> Html:
    rows = [
        [join(_title(work), ": ", name_of(step)), duration(seconds), _memory(peak)]
        for work in contents.works
        for step, seconds, peak in work.steps
    ]
    if not rows:
        return Html()
    steps = table("Time of each step, and memory by its end", ["Step", "Time", "Memory"], rows)
    return element("details", element("summary", "Each step of these runs"), steps)


def rows_of_build(contents: Contents) -> Html:
    """Return what became of every row in each step of the build."""
    keys = ("rows_in", "rows_out", "merged", "rejected")
    if not contents.steps:
        return element("p", "The store says nothing of its steps.")
    rows = [[str(step.get("name")), *(_count(step.get(key)) for key in keys)] for step in contents.steps]
    columns = ["Step", "Rows in", "Rows out", "Merged", "Rejected"]
    told = (
        "In each step, rows in = rows out + merged + rejected. A row is merged where another stands for it: of several "
        "rows about an item the fullest, of a user's rows about an item the latest in each part."
    )
    return join(element("p", told), table("Rows of each step of the build", columns, rows), _rejects(contents))


def _rejects(contents: Contents) -> Html:
    columns = ["Of", "Rule", "Rows", "The first of them"]
    rows = [[what, rule, n_rows, first] for what, n_rows, rule, first in contents.rejects]
    return table("Rejected rows, by the rule that they broke", columns, rows) if rows else Html()


def _title(work: Work) -> Html:
    return join(_RUNS[work.run], *(() if work.name is None else (" ", name_of(work.name))))


def _run(work: Work) -> Html:
    """What was done; of a ranking also for how many users, of how many items."""
    if work.users is None or work.items is None:
        return _title(work)
    return two_lines(_title(work), f"{work.users:,} users, {work.items:,} items")


def _time(work: Work) -> str:
    """How long it took; of a ranking also by user."""
    if work.seconds is None or not work.users:
        return duration(work.seconds)
    milliseconds = 1000 * work.seconds / work.users
    of_each = f"{milliseconds:.3g} ms" if milliseconds < 100 else f"{milliseconds:,.0f} ms"
    return two_lines(duration(work.seconds), f"{of_each} a user")


def _memory(n_bytes: int | None) -> str:
    return NOTHING if n_bytes is None else amount(n_bytes)


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else NOTHING
