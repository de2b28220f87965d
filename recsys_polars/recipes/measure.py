"""What a kind of model would have achieved at earlier cuts, and by other seeds: a figure and how far it spreads."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recsys_polars.errors import InputError
from recsys_polars.guards import scratch_folder
from recsys_polars.models import AUTO, model_class
from recsys_polars.models.own import named
from recsys_polars.models.protocol import FitSettings
from recsys_polars.recipes import Progress, knowledge_before, silent
from recsys_polars.recipes.build import building
from recsys_polars.recipes.features import store_knowledge
from recsys_polars.recipes.folds import Fold, fold_settings, rolling_folds
from recsys_polars.recipes.raw import BuildSettings
from recsys_polars.recipes.spool import Spool
from recsys_polars.recipes.train import choose_rounds, mean_ap, settled, truth_of
from recsys_polars.store import Store, open_store
from recsys_polars.tables import Labelled, Repeats


def measure_folds(
    path: Path, kind: str, settings: FitSettings, *, n_folds: int = 1, n_seeds: int = 1, progress: Progress = silent
) -> Mapping[str, Any]:
    """Measure MAP@10 on the latest rolling folds, whose windows end at the test cut, each by several seeds.

    Each figure is of a whole training at the fold's cut, on a store of its own that has nothing from after its window:
    rounds are chosen on the part before the cut that is as wide as the window, then all before the cut is learnt.

    Args:
        path: of the store.
        kind: of the model.
        settings: of the trainings, as `train` would take them: with what `tune` found. It chose by the latest window.
        n_folds: windows, the latest first; the first is the valid part of the store.
        n_seeds: seeds from `settings.seed` on.
        progress: told of each training.

    Returns:
        figures: [{fold, seed, map, users}]; their mean, and their spread: the standard deviation, None of one figure.

    Raises:
        InputError: an option without effect, or fewer folds than asked for with liked pairs on both sides of the cut.
    """
    if kind == AUTO:
        raise InputError("--folds, --seeds: expected none with auto, whose manifest says what it measured")
    store = open_store(path)
    settings, _ = settled(store, kind, settings)
    if n_seeds > 1 and not model_class(kind).validates:
        raise InputError(f"--seeds: expected no such option with {kind}, in which nothing is random, found {n_seeds}")
    folds = list(islice(rolling_folds(store), n_folds))
    if len(folds) < n_folds:
        raise InputError(
            f"--folds: expected windows with users who liked something before, found {len(folds)} of {n_folds}"
        )
    items, figures = store.scan("items").collect(), list[dict[str, Any]]()
    for number, fold in enumerate(folds, 1):
        with scratch_folder(store.path) as folder:
            of_fold = store_fold(fold, items, fold_settings(store), folder / "store")
            for seed in range(settings.seed, settings.seed + n_seeds):
                progress("measure folds", len(figures), n_folds * n_seeds, "trainings")
                found = _measure(of_fold, kind, replace(settings, seed=seed), first_seed=settings.seed)
                figures.append({"fold": number, "seed": seed, **found})
                progress("measure folds", len(figures), n_folds * n_seeds, "trainings")
    maps = [figure["map"] for figure in figures]
    spread = float(np.std(maps, ddof=1)) if len(maps) > 1 else None
    return {"figures": figures, "mean": float(np.mean(maps)), "spread": spread}


def store_fold(fold: Fold, items: pl.DataFrame, settings: BuildSettings, path: Path) -> Store:
    """Write a fold as the store that would have been built at its cut, its window being the test part.

    Args:
        fold: whose tables are written.
        items: the catalogue. Items of which nothing was known before the cut, not even a title, are left out.
        settings: of the build.
        path: where.
    """
    known = pl.concat([fold.labelled.filter(pl.col("part") != "test"), fold.filtered])["item_id"]
    says_more = pl.any_horizontal(pl.all().exclude("item_id").is_not_null())
    items = items.filter(says_more | pl.col("item_id").is_in(known.implode()))
    user_ids = pl.concat([fold.labelled["user_id"], fold.repeats["user_id"]]).unique().sort()
    with building(settings, path) as build:
        spool = Spool(build.scratch)
        for name, table in (("labelled", fold.labelled), ("repeats", fold.repeats)):
            rows = (ids.search_sorted(table[ids.name]).alias(ids.name) for ids in (user_ids, items["item_id"]))
            spool.write(name, 0, table.with_columns(rows))
            build.writer.write(name, table, Labelled if name == "labelled" else Repeats)
        build.writer.write("filtered", fold.filtered, Labelled)
        blocks = store_knowledge(items, user_ids, 1, spool, build)
        build.writer.stage.facts |= {"blocks": blocks, "parameters": asdict(settings)}
    return open_store(path)


def _measure(store: Store, kind: str, settings: FitSettings, *, first_seed: int) -> dict[str, Any]:
    """Train at the fold's cut and rank its window."""
    cls, known = model_class(kind), knowledge_before(store, "test")
    truth = truth_of(store, known, part="test", seed=first_seed)  # every seed is judged on the same users
    users = known.rows_of_users(truth["user_id"].unique().sort())
    with named(kind):
        rounds, _ = choose_rounds(store, cls, settings, silent)
        model = cls.fit(known, settings, rounds=rounds)
        return {"map": mean_ap(model, known, users, truth, settings), "users": len(users)}
