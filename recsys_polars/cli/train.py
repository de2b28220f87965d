"""`train`."""

from pathlib import Path
from typing import Any, Literal

import click

from recsys_polars.cli.shared import (
    Command,
    command_line,
    device_option,
    long_steps,
    memory_option,
    say,
    store_option,
)
from recsys_polars.cli.values import ModelName, OneOf, Whole
from recsys_polars.models import AUTO
from recsys_polars.models.options import HISTORIES, LOSSES, NEGATIVES


@click.command("train", cls=Command)
@click.option("--model", type=ModelName(), required=True, help="What to train.")
@store_option
@device_option
@click.option("--seed", type=Whole(0, 2**63 - 1), default=42, show_default=True, help="Of all chance.")
@click.option(
    "--history",
    type=OneOf(HISTORIES),
    help="What a training row knows of its user: all liked items but its own (loo, the default), or those liked "
    "strictly earlier (as-of).",
)
@click.option(
    "--negatives",
    type=OneOf(NEGATIVES),
    help="Unseen items, alike (uniform, the default) or by popularity; in-batch: what others liked, two-tower alone.",
)
@click.option(
    "--loss",
    type=OneOf(LOSSES),
    help="Of mlp and two-tower: bce by default, softmax with in-batch negatives. bpr and softmax compare a liked item "
    "with its negatives; dislikes teach them nothing.",
)
@click.option("--recipe", type=OneOf(["notebook"]), help="Repeat the notebook's choices, leaks included.")
@memory_option("For the training rows of CatBoost, which are sampled to fit.")
@click.option("--folds", type=Whole(1), help="Before training, measure MAP@10 on this many windows of time.")
@click.option("--seeds", type=Whole(1), help="And by this many seeds from --seed on; the model is of --seed.")
def command(*, model: str, store: Path, recipe: Literal["notebook"] | None, memory: int, **options: Any) -> None:
    """Train a model on a store; it is saved inside.

    \b
    recsys-polars train --model catboost
    recsys-polars train --model two-tower --history as-of --negatives in-batch
    recsys-polars train --model catboost --folds 3 --seeds 2
    recsys-polars train --model auto
    recsys-polars train --model mlp --recipe notebook --store store
    recsys-polars train --model mypackage.mymodule:MyModel

    Of 100,000 rows popularity takes a moment, mlp and two-tower ten seconds, catboost and auto minutes.

    The windows of --folds end at the test cut, the latest first: the valid part, the window before it, and so on, each
    cut as the store was. A figure is of a whole training on what was known before its window.
    """
    from recsys_polars.api.train import train

    with long_steps() as progress:
        manifest = train(store, model, recipe=recipe or "default", memory_bytes=memory, progress=progress, **options)
    lists = f"preds/{manifest['kind'].rpartition(':')[2]}.parquet"
    say(
        summary(manifest, store),
        {"rounds": manifest["rounds"], "train_seconds": manifest["seconds"]},
        following=command_line("rank", "--model", manifest["kind"], "--out", lists, store=store),
    )


def summary(manifest: Any, store: Path) -> str:
    """Return the summary line of a training."""
    text = f"{store / 'models' / manifest['kind']}: trained in {manifest['seconds']:.1f} s"
    if manifest["rounds"]:
        text += f", {manifest['rounds']:,} round{'s' * (manifest['rounds'] > 1)}"
    fraction = manifest["training"].get("fraction_of_rows", 1)
    if fraction < 1:
        text += f", on {fraction:.1%} of the rows to fit --memory"
    if "trials" in manifest["tuned"]:
        text += f", with what {manifest['tuned']['trials']} trials of tune found"
    if "left_out" in manifest["tuned"]:
        again = command_line("tune", "--model", manifest["kind"], store=store)
        text += f", without what tune found on another build of the store (run {again} again)"
    if manifest["kind"] == AUTO:
        return text + "".join(_chosen(scope, choice) for scope, choice in manifest["choice"].items())
    best = max((entry.get("validation", -1) for entry in manifest["choice"].get("curve", [])), default=-1)
    if best >= 0:
        text += f", chosen by MAP@10 {best:.4f} of {manifest['choice']['users']:,} users of the valid part"
    return text + _measured(manifest["folds"])


def _chosen(scope: str, choice: Any) -> str:
    figures = choice["validation"]
    text = f"; among {'all items' if scope == 'catalogue' else 'known items'} by {choice['by']}"
    others = [name for name in figures if name != choice["by"]]
    if choice["by"] in figures and others:
        next_best = max(others, key=figures.__getitem__)
        text += f", MAP@10 {figures[choice['by']]:.4f} before the test cut ({next_best} {figures[next_best]:.4f})"
    return text


def _measured(folds: Any) -> str:
    if not folds:
        return ""
    n_folds, n_seeds = (len({figure[name] for figure in folds["figures"]}) for name in ("fold", "seed"))
    spread = "" if folds["spread"] is None else f" +- {folds['spread']:.4f}"
    times = f"{n_folds} fold{'s' * (n_folds > 1)} by {n_seeds} seed{'s' * (n_seeds > 1)}"
    return f"; MAP@10 {folds['mean']:.4f}{spread} over {times}"
