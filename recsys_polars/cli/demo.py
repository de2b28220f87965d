"""`demo`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from recsys_polars.cli import built, evaluate, rank, train
from recsys_polars.cli.shared import Command, clipped, command_line, long_steps, note, print_table, say
from recsys_polars.disk import write_text
from recsys_polars.models import NAMES

if TYPE_CHECKING:
    from recsys_polars.reporting.contents import Shelf

FOLDER = Path("data/demo")
REPORT = FOLDER / "report.html"


@click.command("demo", cls=Command)
def command() -> None:
    """Do the whole way on the embedded data.

    \b
    recsys-polars demo

    Builds a store, trains every model, ranks with each, and compares. All of it stays in data/demo, with report.html.
    """
    from recsys_polars.models.protocol import FitSettings
    from recsys_polars.recipes import build as building
    from recsys_polars.recipes import evaluate as evaluating
    from recsys_polars.recipes import rank as ranking
    from recsys_polars.recipes import train as training
    from recsys_polars.recipes.raw import BuildSettings
    from recsys_polars.recipes.report import report
    from recsys_polars.recipes.shelves import read_shelves
    from recsys_polars.recipes.sides import RankSettings

    path = FOLDER / "store"
    files = {kind: FOLDER / f"{kind}.parquet" for kind in NAMES}
    with long_steps() as progress:
        store = building.build_features(BuildSettings(), path, progress=progress)
        built.print_steps(store.manifest)
        note(built.summary(store.manifest, path))
        for kind, file in files.items():
            note(train.summary(training.train(path, kind, FitSettings(), progress=progress), path))
            figures = ranking.rank(path, file, RankSettings(kind=kind), progress=progress)
            note(rank.summary(figures, file))
        judged = evaluating.judge(list(files.values()), path, progress=progress)
        evaluation = evaluating.figures_of(judged, progress=progress)
        shelves = read_shelves(judged.lists, judged.store)
        write_text(REPORT, report(judged, evaluation, progress=progress))
    click.echo()
    evaluate.print_figures(evaluation)
    for shelf in shelves:
        click.echo()
        _print_shelf(shelf)
    say(
        f"{evaluate.summary(evaluation)}; * marks what the user took next; all of it and more: {REPORT}",
        evaluate.counts(evaluation),
        following=command_line("build-features", "--interactions", "YOUR.csv"),
    )


def _print_shelf(shelf: "Shelf") -> None:
    from recsys_polars.reporting.words import cut_short

    columns = {
        cut_short("liked", len(shelf.liked), shelf.n_liked, which="the latest "): [card.title for card in shelf.liked],
        **{
            kind: [f"{'*' if card.is_hit else ' '} {card.title}" for card in given]
            for kind, given in shelf.given.items()
        },
        cut_short("took next", len(shelf.taken), shelf.n_taken): [card.title for card in shelf.taken],
    }
    height = max(len(titles) for titles in columns.values())
    padded = [[*titles, *[""] * (height - len(titles))] for titles in columns.values()]
    rows = [["", *(clipped(title) for title in row)] for row in zip(*padded, strict=True)]
    print_table([f"user {shelf.user_id}", *columns], rows, to_the_right=False)
