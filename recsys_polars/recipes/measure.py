"""What a kind of model would have achieved at earlier cuts, and by other seeds: a figure and how far it spreads."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl

from recsys_polars import splitting
from recsys_polars.errors import InputError
from recsys_polars.models import AUTO, model_class
from recsys_polars.models.protocol import FitSettings
from recsys_polars.recipes import Progress, knowledge_before, silent
from recsys_polars.recipes.build import filter_train, label_pairs, store_vectors
from recsys_polars.recipes.folds import fold_settings, rolling_parts
from recsys_polars.recipes.raw import Build, BuildSettings
from recsys_polars.recipes.train import choose_rounds, mean_ap, settled, truth_of
from recsys_polars.store import Store, build_store, open_store
from recsys_polars.tables import Labelled, Repeats

Tables = tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]


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
    n_found = sum(1 for _ in islice(fold_tables(store), n_folds))
    if n_found < n_folds:
        raise InputError(
            f"--folds: expected windows with users who liked something before, found {n_found} of {n_folds}"
        )
    items, figures = store.scan("items").collect(), list[dict[str, Any]]()
    for fold, tables in enumerate(islice(fold_tables(store), n_folds), 1):
        with TemporaryDirectory(prefix="recsys-polars-fold-") as folder:
            of_fold = store_fold(tables, items, fold_settings(store), Path(folder) / "store")
            for seed in range(settings.seed, settings.seed + n_seeds):
                progress("measure folds", len(figures), n_folds * n_seeds)
                found = _measure(of_fold, kind, replace(settings, seed=seed), first_seed=settings.seed)
                figures.append({"fold": fold, "seed": seed, **found})
    maps = [figure["map"] for figure in figures]
    spread = float(np.std(maps, ddof=1)) if len(maps) > 1 else None
    return {"figures": figures, "mean": float(np.mean(maps)), "spread": spread}


def fold_tables(store: Store) -> Iterator[Tables]:
    """Yield the tables of each fold, the latest first, until no user of a window liked something before it."""
    settings = fold_settings(store)
    for parted in rolling_parts(store, settings):
        labelled, repeats, filtered = filter_train(*label_pairs(parted.lazy(), settings), settings)
        known = splitting.history(labelled.lazy(), repeats.lazy(), before="test").collect()
        fans = known.filter(pl.col("label") == 1)["user_id"]
        liked = labelled.filter((pl.col("part") == "test") & (pl.col("label") == 1))
        if not liked["user_id"].is_in(fans.implode()).any():
            return
        yield labelled, repeats, filtered


def store_fold(tables: Tables, items: pl.DataFrame, settings: BuildSettings, path: Path) -> Store:
    """Write a fold as the store that would have been built at its cut, its window being the test part.

    Args:
        tables: `labelled`, `repeats` and `filtered` of the fold.
        items: the catalogue. Items of which nothing was known before the cut, not even a title, are left out.
        settings: of the build.
        path: where.
    """
    labelled, repeats, filtered = tables
    known = pl.concat([labelled.filter(pl.col("part") != "test"), filtered])["item_id"]
    says_more = pl.any_horizontal(pl.all().exclude("item_id").is_not_null())
    items = items.filter(says_more | pl.col("item_id").is_in(known.implode()))
    with build_store(path) as writer:
        writer.write("labelled", labelled, Labelled)
        writer.write("repeats", repeats, Repeats)
        writer.write("filtered", filtered, Labelled)
        blocks = store_vectors(items, labelled, repeats, Build(settings, writer, path))
        writer.stage.facts |= {"blocks": blocks, "parameters": asdict(settings)}
    return open_store(path)


def _measure(store: Store, kind: str, settings: FitSettings, *, first_seed: int) -> dict[str, Any]:
    """Train at the fold's cut and rank its window."""
    cls, known = model_class(kind), knowledge_before(store, "test")
    truth = truth_of(store, known, part="test", seed=first_seed)  # every seed is judged on the same users
    rounds, _ = choose_rounds(store, cls, settings, silent)
    model = cls.fit(known, settings, rounds=rounds)
    users = known.rows_of_users(truth["user_id"].unique().sort())
    return {"map": mean_ap(model, known, users, truth, settings), "users": len(users)}
