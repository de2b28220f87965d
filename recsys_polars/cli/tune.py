"""`tune`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recsys_polars.cli.shared import Command, command_line, device_option, long_steps, say, store_option
from recsys_polars.cli.values import OneOf, Whole
from recsys_polars.models import KINDS

if TYPE_CHECKING:
    from recsys_polars.recipes.tuned import Tuned


@click.command("tune", cls=Command)
@click.option("--model", "kind", type=OneOf(KINDS), required=True, help="What to tune.")
@click.option(
    "--trials",
    "n_trials",
    type=Whole(1),
    default=20,
    show_default=True,
    help="Trainings that the search shall have, those of a search that was stopped included.",
)
@store_option
@device_option
@click.option("--seed", type=Whole(0, 2**63 - 1), default=42, show_default=True, help="Of all chance.")
def command(*, kind: str, n_trials: int, store: Path, **options: Any) -> None:
    """Search the parameters that rank the valid part best.

    \b
    recsys-polars tune --model two-tower --trials 30
    recsys-polars train --model two-tower

    The training takes them up. They lie in STORE/models/KIND.tuned.json; remove it to train with the model's own. Needs
    the extra `tune`. A search that was stopped goes on; one of another seed or of another build of the store begins
    anew.
    """
    from recsys_polars.models.protocol import FitSettings
    from recsys_polars.recipes.tune import tune

    with long_steps() as progress:
        tuned = tune(store, kind, FitSettings(**options), n_trials=n_trials, progress=progress)
    say(
        summary(tuned, store / "models" / f"{kind}.tuned.json"),
        {"map": tuned.best.map, "trials": len(tuned.trials), "users": tuned.users},
        following=command_line("train", "--model", kind, store=store),
    )


def summary(tuned: "Tuned", path: Path) -> str:
    """Return the summary line of a search."""
    found = [
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in tuned.best.parameters.items()
    ]
    by = ", ".join(found) or "the model's own parameters"
    text = f"{path}: MAP@10 {tuned.best.map:.4f} of {tuned.users:,} users of the valid part by {by}"
    return f"{text}; the best of {len(tuned.trials)} trials, {tuned.trials[0].map:.4f} without tuning"
