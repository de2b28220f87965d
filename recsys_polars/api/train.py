"""`rp.train`."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from recsys_polars.api import StrPath
from recsys_polars.examples import History, Negatives
from recsys_polars.models import kind_of
from recsys_polars.models.protocol import Device, FitSettings, Loss, Model, Recipe
from recsys_polars.recipes import Progress, silent
from recsys_polars.recipes import train as training
from recsys_polars.recipes.measure import measure_folds


def train(
    store: StrPath,
    model: str | type[Model],
    *,
    recipe: Recipe = "default",
    device: Device = "auto",
    seed: int = 42,
    memory_bytes: int = 2 << 30,
    history: History | None = None,
    negatives: Negatives | None = None,
    loss: Loss | None = None,
    parameters: Mapping[str, Any] = MappingProxyType({}),
    folds: int | None = None,
    seeds: int | None = None,
    progress: Progress = silent,
) -> Mapping[str, Any]:
    """Train a model on a store, and save it there: `recsys-polars train`.

    Args:
        store: the feature store.
        model: `popularity`, `catboost`, `mlp`, `two-tower`, `auto`, or a class of your own: itself or MODULE:CLASS.
        recipe: `notebook` repeats the notebook's choices, leaks included.
        device: `auto` takes a GPU where there is one.
        seed: of everything random.
        memory_bytes: for the training rows of CatBoost, which are sampled to fit.
        history: what a training row knows of its user: `loo`, all liked items but its own, or `as-of`.
        negatives: `uniform`, `popular` or `in-batch`.
        loss: `bce`, `bpr` or `softmax`.
        parameters: numbers in place of the model's own, by name.
        folds: windows of time on which MAP@10 is measured first; None: with `seeds` one, else none.
        seeds: seeds, from `seed` on, by which it is measured.
        progress: told of each step.

    Returns:
        The model's manifest: kind, generation, settings, rounds, the figures of the training, seconds.

    Raises:
        InputError: no such model, an option without effect on it, or nothing to learn from.
        ArtefactError: no store there, or a damaged one.
        ModelError: a model of your own that failed.

    Example:
        >>> manifest = rp.train("store", "popularity", seed=1)
        >>> manifest["kind"], manifest["settings"]["seed"]
        ('popularity', 1)
    """
    settings = FitSettings(
        recipe=recipe,
        device=device,
        seed=seed,
        memory_bytes=memory_bytes,
        history=history,
        negatives=negatives,
        loss=loss,
        parameters=dict(parameters),
    )
    path, kind, measured = Path(store), kind_of(model), None
    if folds or seeds:
        measured = measure_folds(path, kind, settings, n_folds=folds or 1, n_seeds=seeds or 1, progress=progress)
    return training.train(path, kind, settings, folds=measured, progress=progress)
