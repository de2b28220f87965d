"""`evaluate`: predictions and the store's truth -> figures with intervals, every model over the same users."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recsys_polars import counting, metrics
from recsys_polars.artefacts import current_generation
from recsys_polars.disk import fingerprint
from recsys_polars.errors import ArtefactError, InputError
from recsys_polars.models import is_kind
from recsys_polars.recipes import Progress, history_before, silent
from recsys_polars.recipes.rank import METADATA_KEY
from recsys_polars.recipes.timing import Timing, read_timings
from recsys_polars.recipes.trained import model_folder, name_of_training
from recsys_polars.sealing import is_sealed, seal_of
from recsys_polars.store import Store, open_store
from recsys_polars.tables import Predictions, check

SEED = 42
Users = Literal["test", "warm"]


@dataclass(frozen=True)
class Judged:
    """Predictions, and what they are judged by.

    Attributes:
        store: open, so that it isn't removed meanwhile.
        k: length of the lists that are judged.
        users: which truth counts; see `judge`.
        item_ids: the catalogue.
        truth: user_id, item_id: the liked pairs of the test part.
        likes: user_id, n_positives before the test cut; users without one are cold.
        popularity: item_id, n_positives before the test cut.
        runs: what each file says of its making, by name.
        lists: `Predictions` of each file, by name.
        users_of: the figures of each user by each file, by name; see `metrics.add_list_figures`.
        trainings: what the manifest of each model says, by name, where it is still the one in the store.
        timings: what was taken by ("build", ""), ("train", name) and ("rank", name), as far as the store knows.
    """

    store: Store
    k: int
    users: Users
    item_ids: pl.Series
    truth: pl.DataFrame
    likes: pl.DataFrame
    popularity: pl.DataFrame
    runs: Mapping[str, Mapping[str, Any]]
    lists: Mapping[str, pl.DataFrame]
    users_of: Mapping[str, pl.DataFrame]
    trainings: Mapping[str, Mapping[str, Any]]
    timings: Mapping[tuple[str, str], Timing | None]


@dataclass(frozen=True)
class Evaluation:
    """The figures of some predictions files.

    Attributes:
        k: length of the lists that were judged.
        truth_users: the users with a positive in the test part; those without a list score 0.
        cold_users: how many of them have no positive before the test cut.
        runs: what each file says of its making, by name; `users_without_list`: truth users that it has no list for.
        figures: name, metric, value, low, high: a 95 % interval over users.
        differences: the same of each file minus the first, over the same draws of users.
    """

    k: int
    truth_users: int
    cold_users: int
    runs: Mapping[str, Mapping[str, Any]]
    figures: pl.DataFrame
    differences: pl.DataFrame


def prediction_files(given: Sequence[Path], **outputs: Path | None) -> list[Path]:
    """Return the files of predictions: of a folder its *.parquet files, by name.

    Args:
        given: files and folders.
        outputs: by what the user calls them, files that will be written.

    Raises:
        InputError: a folder without such a file, or an output that is one of the files.
    """
    files = [file for path in given for file in (_of_folder(path) if path.is_dir() else [path])]
    for name, output in outputs.items():
        if output and output.exists() and any(file.exists() and file.samefile(output) for file in files):
            raise InputError(f"{name}: expected a file of its own, found {output}, which is one of the predictions")
    return files


def _of_folder(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))
    if not files:
        raise InputError(f"{folder}: expected predictions, found a folder without *.parquet files")
    return files


def judge(
    files: Sequence[Path], path: Path, *, k: int = 10, users: Users = "test", progress: Progress = silent
) -> Judged:
    """Read predictions, and judge the list of every user against the test part of the store at `path`.

    Args:
        files: Parquet files of `Predictions`.
        path: the store.
        k: length of the list that is judged.
        users: `test`: every user with a positive in the test part; `warm`: those of them with one before it.
        progress: told of each file.

    Raises:
        InputError: a file that can't be read, or no truth to judge by.
        TableError: predictions that break their contract.
        ArtefactError: predictions ranked on another generation of the store.
    """
    store = open_store(path)
    history = history_before(store, "test")
    likes = history.filter(pl.col("label") == 1).group_by("user_id").agg(n_positives=pl.len()).collect()
    truth = _truth(store, likes if users == "warm" else None)
    popularity = counting.popularity(history).collect()
    runs: dict[str, dict[str, Any]] = {}
    lists: dict[str, pl.DataFrame] = {}
    users_of: dict[str, pl.DataFrame] = {}
    trainings: dict[str, Mapping[str, Any]] = {}
    truth_users = truth.select("user_id").unique()
    timings = read_timings(path)
    took = {("build", ""): timings.get(store.identity)}
    read = [(file, *_read(file, store, k=k)) for file in files]
    kinds = [str(run.get("model", file.stem)) for file, _, run in read]
    for (file, predictions, run), kind in zip(read, kinds, strict=True):
        progress("judge lists", len(lists), len(files))
        name = _free_name(kind if kinds.count(kind) == 1 else file.stem, file, runs)
        manifest, seal = _trained_by(run, store), seal_of(file)
        if manifest:
            trainings[name] = manifest
        took["train", name] = timings.get(name_of_training(manifest)) if manifest else None
        took["rank", name] = timings.get(seal) if seal else None
        runs[name] = {
            **run,
            "file": str(file),
            "users_without_list": truth_users.join(predictions, on="user_id", how="anti").height,
            "train_seconds": _seconds((manifest or {}).get("seconds")),
            "rank_seconds": ranked.seconds if (ranked := took["rank", name]) else None,
        }
        lists[name] = predictions
        users_of[name] = metrics.add_list_figures(
            metrics.per_user(predictions, truth, k=k), predictions, popularity, k=k, n_train_users=likes.height
        )
    item_ids = store.scan("items").select("item_id").collect()["item_id"]
    return Judged(store, k, users, item_ids, truth, likes, popularity, runs, lists, users_of, trainings, took)


def figures_of(judged: Judged, *, progress: Progress = silent) -> Evaluation:
    """Return the figures over all users, with their intervals."""
    progress("draw users for intervals", 0, 0)
    users_of, n_items = judged.users_of, len(judged.item_ids)
    first = next(iter(users_of.values()))
    summaries = {name: metrics.summarise(one, n_items=n_items, seed=SEED) for name, one in users_of.items()}
    differences = {
        name: metrics.compare(one, first, n_items=n_items, seed=SEED) for name, one in list(users_of.items())[1:]
    }
    truth_users = judged.truth.select("user_id").unique()
    return Evaluation(
        k=judged.k,
        truth_users=truth_users.height,
        cold_users=truth_users.join(judged.likes, on="user_id", how="anti").height,
        runs=judged.runs,
        figures=stacked(summaries),
        differences=stacked(differences),
    )


def _truth(store: Store, only: pl.DataFrame | None) -> pl.DataFrame:
    liked = store.scan("labelled").filter((pl.col("part") == "test") & (pl.col("label") == 1))
    truth = liked.select("user_id", "item_id").collect()
    if only is not None:
        truth = truth.join(only, on="user_id", how="semi")
    if truth.is_empty():
        raise InputError(f"{store.path}: expected liked pairs in the test part to judge by, found none")
    return truth


def _read(file: Path, store: Store, *, k: int) -> tuple[pl.DataFrame, dict[str, Any]]:
    if file.exists() and not file.is_file():
        raise InputError(f"{file}: expected a Parquet file of predictions, found something else")
    try:
        untouched = is_sealed(file)
        metadata = {} if untouched is False else pq.read_metadata(file).metadata or {}
        if untouched is False or (METADATA_KEY in metadata and not untouched):
            raise ArtefactError(f"{file}: damaged, its bytes are not those that rank wrote; rank again")
        predictions = pl.read_parquet(file, glob=False)
    except FileNotFoundError as error:
        raise InputError(f"{file}: expected predictions, found no such file") from error
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{file}: expected a Parquet file of predictions ({error})") from error
    run = _run(metadata.get(METADATA_KEY, b"{}"), file)
    if run.get("store", store.identity) != store.identity:
        raise ArtefactError(
            f"{file}: expected predictions for generation {store.identity} of {store.path}, "
            f"found {run['store']}; rank again, or name their store with --store"
        )
    ranked = run.get("k", k)
    if isinstance(ranked, int) and ranked < k:
        raise InputError(f"{file}: expected lists of {k} to judge, found lists of {ranked}; rank with -k {k}")
    return check(Predictions, predictions, name=str(file)), run


def _run(metadata: bytes, file: Path) -> dict[str, Any]:
    try:
        run = json.loads(metadata)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: expected JSON metadata as rank writes it ({error})") from error
    if not isinstance(run, dict):
        raise InputError(f"{file}: expected JSON metadata as rank writes it, found {metadata[:80]!r}")
    return run


def _trained_by(run: Mapping[str, Any], store: Store) -> Mapping[str, Any] | None:
    """Return the manifest of the model that made a file's predictions, if it is still the one in the store."""
    kind = str(run.get("model"))
    if not is_kind(kind) or not (model_folder(store, kind) / "CURRENT").is_file():
        return None
    manifest = current_generation(model_folder(store, kind))[1]
    return manifest if fingerprint(manifest["files"]) == run.get("model_files") else None


def _seconds(value: Any) -> float | None:
    """What a manifest says of seconds, if it is what we would have written."""
    return float(value) if isinstance(value, int | float) else None


def _free_name(name: str, file: Path, taken: Mapping[str, Any]) -> str:
    """`name`, with a number where it is taken."""
    numbered = (f"{file.stem} ({number})" for number in count(2))
    return next(free for free in chain([name], numbered) if free not in taken)


def stacked(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return tables as one, with the name of each in front."""
    named = [table.select(pl.lit(name).alias("name"), pl.all()) for name, table in tables.items()]
    return pl.concat(named) if named else pl.DataFrame()
