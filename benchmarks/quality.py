"""How good the lists are, peers and ours on the same ground: `python -m benchmarks.quality [SET...]`."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import polars as pl

from benchmarks.field import PEERS, Candidates, Field, K, Peer, choose, open_field, ranked, write_lists
from benchmarks.peers import NotHereError
from benchmarks.sets import SETS, MissingSetError
from recsys_polars.api.evaluate import evaluate
from recsys_polars.errors import RecsysError
from recsys_polars.models.protocol import FitSettings, Recipe
from recsys_polars.recipes.build import build_features
from recsys_polars.recipes.rank import rank
from recsys_polars.recipes.sides import RankSettings
from recsys_polars.recipes.train import train
from recsys_polars.store import Store


@dataclass(frozen=True)
class Ours:
    """A model of the product and the recipe that trains it."""

    name: str
    kind: str
    recipe: Recipe = "default"


OURS = (
    Ours("auto", "auto"),
    Ours("popularity", "popularity"),
    Ours("catboost", "catboost"),
    Ours("mlp", "mlp"),
    Ours("two-tower", "two-tower"),
    Ours("catboost, notebook", "catboost", recipe="notebook"),
    Ours("mlp, notebook", "mlp", recipe="notebook"),
)
CANDIDATES: Mapping[str, tuple[Candidates, ...]] = {"amazon-2023-mixed": ("train", "catalogue")}
"""Which items to choose from, a table each; `train` where nothing is said."""
SHOWN = {"ap": f"MAP@{K}", "ndcg": f"NDCG@{K}", "recall": f"recall@{K}", "hit_rate": f"hit rate@{K}"}
METHODS = [*(peer.name for peer in PEERS), *(ours.name for ours in OURS)]


@dataclass
class Table:
    """What is shown of one set and one choice of candidates, as it fills. Lists lie in `folder`, by method."""

    title: str
    store: Store
    candidates: Candidates
    ground: Field
    folder: Path
    theirs: dict[str, Path] = field(default_factory=dict)
    ours: dict[str, Path] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("sets", nargs=-1, type=click.Choice(list(SETS)))
@click.option("--work", type=click.Path(path_type=Path), help="Leave stores, models and lists in this folder.")
@click.option("--method", "methods", multiple=True, type=click.Choice(METHODS), help="Only these. Default: all.")
def main(sets: tuple[str, ...], work: Path | None, methods: tuple[str, ...]) -> None:
    """Rank the test users of SETS (all by default) by peers and by ours; print Markdown tables.

    The users have a history; what they have seen is left out. How long each took goes to stderr.
    """
    with TemporaryDirectory() as scratch:
        for name in sets or SETS:
            try:
                tables = measure(name, (work or Path(scratch)) / name, methods or METHODS)
            except MissingSetError as error:
                click.echo(f"## {name}\n\nLeft out: {error}.\n")
                continue
            for table in tables:
                click.echo(report(table))


def measure(name: str, folder: Path, methods: Sequence[str]) -> list[Table]:
    """Build a set's store, have the methods rank, and return a table for each choice of candidates.

    Raises:
        MissingSetError: the set is not at hand.
    """
    settings = SETS[name]()
    with timed(name):
        store = build_features(settings, folder / "store")
        tables = []
        for candidates in CANDIDATES.get(name, ("train",)):
            title = f"{name}, {settings.split} {settings.test_fraction:g}, candidates: {candidates}"
            lists = folder / candidates
            lists.mkdir(exist_ok=True)
            tables.append(Table(title, store, candidates, open_field(store, "test", candidates), lists))
            _rank_peers([peer for peer in PEERS if peer.name in methods], tables[-1])
        for ours in OURS:
            if ours.name in methods:
                _train_and_rank(ours, tables)
    return tables


def _rank_peers(peers: Sequence[Peer], table: Table) -> None:
    """Choose the peers' parameters on the valid part, then fit them to all that was known before the test cut."""
    valid = open_field(table.store, "valid", table.candidates)
    for peer in peers:
        try:
            with timed(f"{table.title}: {peer.name}"):
                chosen, figure = choose(peer, valid)
                lists = ranked(peer.fit(table.ground, **chosen), table.ground)
        except NotHereError as error:
            table.notes.append(f"{peer.name} is left out: {error}")
            continue
        if figure is not None:
            said = ", ".join(f"{key} {value:g}" for key, value in chosen.items())
            table.notes.append(f"{peer.name}: {said} (of {len(peer.grid)}, by MAP@{K} {_short(figure)} of valid)")
        table.theirs[peer.name] = table.folder / f"{peer.name}.parquet"
        write_lists(lists, peer.name, table.store, table.theirs[peer.name])


def _train_and_rank(ours: Ours, tables: Sequence[Table]) -> None:
    """Train once and rank for every table; leave a note where there is nothing that the model could learn from."""
    path = tables[0].store.path
    try:
        with timed(ours.name):
            train(path, ours.kind, FitSettings(recipe=ours.recipe))
            for table in tables:
                out = table.folder / f"ours, {ours.name}.parquet"
                rank(path, out, RankSettings(kind=ours.kind, candidates=table.candidates, exclude_seen=True))
                table.ours[ours.name] = out
    except RecsysError as error:
        for table in tables:
            table.notes.append(f"{ours.name} is left out: {error}")


def report(table: Table) -> str:
    """Return the Markdown of a table: figures, differences to the best peer, what was chosen and what left out."""
    ground, ours = table.ground, {f"**{name}**": file for name, file in table.ours.items()}
    counts = (
        f"{len(ground.user_ids):,} users with a history ({ground.cold_users:,} cold ones left out), "
        f"{len(ground.candidates):,} candidates of {ground.known.n_items:,} items."
    )
    lines = [f"## {table.title}\n", f"{counts}\n"]
    figures, _ = _judged({**table.theirs, **ours}, table.store)
    lines += _markdown("method", figures)
    if table.theirs and table.ours:
        aps = figures.filter((pl.col("metric") == "ap") & pl.col("name").is_in(list(table.theirs)))
        best = aps.sort("value", descending=True, maintain_order=True)["name"][0]
        lines += _markdown(f"minus {best}", _judged({best: table.theirs[best], **ours}, table.store)[1])
    return "\n".join([*lines, *(f"- {note}" for note in table.notes), ""])


def _judged(files: Mapping[str, Path], store: Store) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Figures, and differences to the first file, of warm users, under the names given here."""
    evaluation = evaluate(list(files.values()), store.path, k=K, users="warm")
    names = dict(zip(evaluation.runs, files, strict=True))
    renamed = (evaluation.figures, evaluation.differences)
    first, second = (table.with_columns(pl.col("name").replace_strict(names)) for table in renamed)
    return first, second


def _markdown(title: str, figures: pl.DataFrame) -> list[str]:
    found = {(row["name"], row["metric"]): row for row in figures.to_dicts()}
    names = figures["name"].unique(maintain_order=True)
    rows = [[name, *(_cell(found[name, metric]) for metric in SHOWN)] for name in names]
    table = [[title, *SHOWN.values()], ["---"] * (len(SHOWN) + 1), *rows]
    return [*(f"| {' | '.join(cells)} |" for cells in table), ""]


def _cell(figure: Mapping[str, float]) -> str:
    return f"{_short(figure['value'])} [{_short(figure['low'])} {_short(figure['high'])}]"


def _short(value: float) -> str:
    return f"{value:.4f}".replace("0.", ".", 1)


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Say on stderr how long a block took."""
    began = time.perf_counter()
    yield
    click.echo(f"{what}: {time.perf_counter() - began:,.1f} s", err=True)


if __name__ == "__main__":
    main()
