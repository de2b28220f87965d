"""`store`: what a store holds, whether it is whole, and how to be rid of what is old."""

from pathlib import Path
from typing import Any

import click

from recsys_polars.artefacts import KEPT_GENERATIONS
from recsys_polars.cli.shared import Command, command_line, long_steps, print_table, say, store_option
from recsys_polars.cli.values import Whole
from recsys_polars.errors import ArtefactError

READY = "ready"


@click.group("store")
def command() -> None:
    """List, verify or prune what a store holds.

    \b
    recsys-polars store list
    recsys-polars store verify --store data/store
    recsys-polars store prune --keep 1
    """


@command.command("list", cls=Command)
@store_option
def list_(*, store: Path) -> None:
    """Say which generations and models a store holds.

    \b
    recsys-polars store list --store data/store
    """
    from recsys_polars.recipes.keeping import TABLES, list_store

    generations, models = list_store(store)
    rows = [
        [
            f"{one.name}{' (current)' * one.is_current}",
            f"{one.when:%Y-%m-%d %H:%M}",
            *(f"{one.rows(table):,}" for table in TABLES),
            f"{one.n_bytes:,}",
            ", ".join(kind for kind, model in models.items() if model.identity == one.identity) or "-",
        ]
        for one in generations
    ]
    print_table(["generation", "written (UTC)", *TABLES, "bytes", "models of it"], rows)
    current = next(one.identity for one in generations if one.is_current)
    if models:
        click.echo()
        told = [
            [kind, one.name, f"{one.when:%Y-%m-%d %H:%M}", f"{one.n_bytes:,}", one.identity, _state(one, current)]
            for kind, one in models.items()
        ]
        print_table(["model", "generation", "written (UTC)", "bytes", "trained on", "state"], told, to_the_right=False)
    stale = [kind for kind, one in models.items() if _state(one, current) != READY]
    counted = f"{_count(len(generations), 'generation')}, {_count(len(models), 'model')}, {len(stale)} of them stale"
    say(
        f"{store}: {counted}",
        {"generations": len(generations), "models": len(models), "stale": len(stale)},
        following=command_line("train", "--model", stale[0], store=store) if stale else None,
    )


@command.command("verify", cls=Command)
@store_option
def verify(*, store: Path) -> None:
    """Check that every file is as it was written.

    \b
    recsys-polars store verify --store data/store

    Exit code 2 where one isn't.
    """
    from recsys_polars.recipes.verifying import verify_store

    with long_steps() as progress:
        found = verify_store(store, progress=progress)
    for left_over in found.left_overs:
        click.echo(f"{left_over}: left by a run that was killed, or of one at work; the next run clears it")
    if found.damage:
        told = "\n  ".join(found.damage)
        raise ArtefactError(
            f"{store}: expected every file as it was written, found {len(found.damage)} not so:\n  {told}"
        )
    say(
        f"{store}: {_count(found.n_files, 'file')} of {found.n_bytes:,} bytes, each as it was written",
        {"files": found.n_files, "bytes": found.n_bytes},
    )


@command.command("prune", cls=Command)
@store_option
@click.option(
    "--keep",
    type=Whole(1),
    default=KEPT_GENERATIONS,
    show_default=True,
    help="Generations of the store, and of each model, that stay.",
)
def prune(*, store: Path, keep: int) -> None:
    """Remove older generations, and what killed runs left.

    \b
    recsys-polars store prune --store data/store --keep 1
    """
    from recsys_polars.recipes.keeping import prune_store

    removed = prune_store(store, keep=keep)
    for path, n_bytes in removed:
        click.echo(f"{path}: {f'{n_bytes:,} bytes' if n_bytes else 'stays, a run is reading it'}")
    n_bytes = sum(one.n_bytes for one in removed)
    n_removed = sum(one.n_bytes > 0 for one in removed)
    say(f"{store}: {_count(n_removed, 'thing')} removed, {n_bytes:,} bytes", {"removed": n_removed, "bytes": n_bytes})


def _state(model: Any, current: str) -> str:
    return READY if model.identity == current else "stale: train it again"


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'s' * (n != 1)}"
