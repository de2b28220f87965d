"""`train`: the store -> a model inside it. Choices are made on the valid part, then the rest is learnt too."""

import inspect
import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recsys_polars import metrics
from recsys_polars.knowledge import Knowledge, Rows
from recsys_polars.models import AUTO, model_class
from recsys_polars.models.options import settle
from recsys_polars.models.own import named, scorer_of
from recsys_polars.models.protocol import FitSettings, Model
from recsys_polars.ranking import SparseRows, rank_blocks
from recsys_polars.recipes import Progress, knowledge_before, silent
from recsys_polars.recipes.auto import train_auto
from recsys_polars.recipes.timing import Stopwatch
from recsys_polars.recipes.trained import find_model, name_of_training, publish_model
from recsys_polars.recipes.tuned import read_tuned, with_parameters
from recsys_polars.store import Store, open_store

VALIDATION_USERS = 2000
VALIDATION_K = 10
CHOOSE = "choose the number of rounds"


def train(
    path: Path,
    kind: str,
    settings: FitSettings,
    *,
    folds: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> Mapping[str, Any]:
    """Train a model of `kind` on the store at `path` and save it there.

    Args:
        path: of the store.
        kind: of the model.
        settings: how.
        folds: what `measure_folds` found, for the manifest.
        progress: told of each step.

    Returns:
        The model's manifest: kind, generation, settings, rounds, the figures of the training, seconds.

    Raises:
        InputError: an unknown kind, an option without effect on it, or nothing to learn from.
        ArtefactError: no store there, or a damaged search by `tune`.
        ModelError: a model of the user's own that failed.
    """
    watch = Stopwatch(progress)
    store = open_store(path)
    if kind == AUTO:
        manifest = train_auto(store, settle(kind, settings), progress=watch)
    else:
        manifest = _train(store, kind, settings, folds or {}, watch)
    watch.keep(path, name_of_training(manifest))
    return manifest


def _train(
    store: Store, kind: str, settings: FitSettings, folds: Mapping[str, Any], progress: Progress
) -> Mapping[str, Any]:
    cls = model_class(kind)
    settings, tuned = settled(store, kind, settings)
    began = time.perf_counter()
    with named(kind):
        rounds, chosen = choose_rounds(store, cls, settings, progress)
        progress("train", 0, 0)
        model = cls.fit(knowledge_before(store, "test"), settings, rounds=rounds, **telling(cls, progress, "train"))
        json.dumps([model.rounds, model.facts])  # what isn't JSON is the model's fault, and said here
    facts = {
        "settings": asdict(settings),
        "rounds": model.rounds,
        "tuned": tuned,
        "folds": dict(folds),
        "choice": chosen,
        "training": model.facts,
        "seconds": time.perf_counter() - began,
    }
    return publish_model(store, kind, partial(_save, model, kind), facts)


def _save(model: Model, kind: str, folder: Path) -> None:
    with named(kind):
        model.save(folder)


def settled(store: Store, kind: str, settings: FitSettings) -> tuple[FitSettings, dict[str, Any]]:
    """Fill in what was left open, by what `tune` found for this generation or else by default; say what was found.

    What was found on another generation is left out: its valid part may be what this one's test part is.
    """
    defaults = settle(kind, settings)
    tuned = None if settings.recipe == "notebook" else read_tuned(store, kind)
    if tuned is None:
        return defaults, {}
    if tuned.store != store.identity:
        return defaults, {"left_out": f"tuned on generation {tuned.store}"}
    facts = {"trials": len(tuned.trials), "map": tuned.best.map, "parameters": dict(tuned.best.parameters)}
    return settle(kind, with_parameters(settings, tuned.best.parameters)), facts


def load_model(store: Store, kind: str | None) -> tuple[Model, Mapping[str, Any]]:
    """Return a trained model of a store, the one trained last where `kind` is None, and its manifest.

    Raises:
        InputError: an unknown kind, or None where a model of the user's own was trained last.
        ArtefactError: no such model, or one trained on another generation of the store.
        ModelError: a model of the user's own that can't be loaded.
    """
    folder, manifest = find_model(store, kind)
    with named(manifest["kind"]):
        return model_class(manifest["kind"]).load(folder), manifest


def choose_rounds(
    store: Store, cls: type[Model], settings: FitSettings, progress: Progress
) -> tuple[int | None, dict[str, Any]]:
    """Return the rounds that rank the valid part best, fitted on what lies before the valid cut; None: the default.

    And the figures of the choice: `rounds`, `users` of the valid part, `curve`; `why_no_choice` where there is none.
    """
    if settings.recipe == "notebook" or not cls.validates:
        return None, {}
    progress(CHOOSE, 0, 0)
    known = knowledge_before(store, "valid")
    truth = truth_of(store, known, part="valid", seed=settings.seed)
    if truth.is_empty():
        return None, {"why_no_choice": "no user of the valid part has a history before it"}
    users = known.rows_of_users(truth["user_id"].unique().sort())

    def validate(model: Model) -> float:
        return mean_ap(model, known, users, truth, settings)

    model = cls.fit(known, settings, validate=validate, **telling(cls, progress, CHOOSE))
    return model.rounds, {"rounds": model.rounds, "users": len(users), **model.facts}


def truth_of(store: Store, known: Knowledge, *, part: str, seed: int) -> pl.DataFrame:
    """Return the liked pairs of a part of (at most VALIDATION_USERS random) users with a history before it."""
    warm = known.user_ids.filter(pl.Series(known.n_positives > 0))
    liked = store.scan("labelled").filter((pl.col("part") == part) & (pl.col("label") == 1)).collect()
    liked = liked.filter(pl.col("user_id").is_in(warm.implode())).select("user_id", "item_id")
    users = liked["user_id"].unique().sort()
    if len(users) > VALIDATION_USERS:
        users = users.sample(VALIDATION_USERS, seed=seed)
    return liked.filter(pl.col("user_id").is_in(users.implode()))


def mean_ap(model: Model, known: Knowledge, users: Rows, truth: pl.DataFrame, settings: FitSettings) -> float:
    """Return the MAP@10 of users' lists of what they have not seen."""
    scorer = scorer_of(model, known, users, device=settings.device)
    blocks = list(rank_blocks(scorer, np.arange(len(users)), k=VALIDATION_K, seen=SparseRows(*known.seen(users))))
    predictions = pl.DataFrame(
        {
            "user_id": known.user_ids.gather(users[np.concatenate([block.users for block in blocks])]),
            "item_id": known.item_ids.gather(np.concatenate([block.items for block in blocks])),
            "rank": np.concatenate([block.ranks for block in blocks]),
        }
    )
    return float(metrics.per_user(predictions, truth, k=VALIDATION_K)["ap"].to_numpy().mean())


def telling(cls: type[Model], progress: Progress, step: str) -> dict[str, Any]:
    """Return the keyword by which `Model.fit` tells of a step; none where a model has no such."""
    return {"told": partial(progress, step)} if "told" in inspect.signature(cls.fit).parameters else {}
