"""Blocks of users ranked on a worker, by the scorers that rank them without Spark.

What is the same for all users lies in a folder that every machine gets once: the item side of the store and the models,
mapped from there and joined side by side in each process, the positives of each item, and the candidates.
"""

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from safetensors.numpy import save

from recsys_polars.artefacts import MANIFEST, PUBLISHED
from recsys_polars.errors import InputError
from recsys_polars.knowledge import NOBODY, ItemSide, Knowledge, Rows, items_before
from recsys_polars.models import AUTO, is_own
from recsys_polars.recipes import knowledge_before, silent
from recsys_polars.recipes.rank import USERS_AT_ONCE, ranked_part
from recsys_polars.recipes.sides import Job, RankSettings, parse_candidates_from, queue_of, refuse_for_auto
from recsys_polars.spark.session import on_worker
from recsys_polars.store import Store, mapped, open_store

DDL = "user_id string, rank int, item_id string, score float"
ITEM_SIDE = ("item_features.parquet", "item_features.safetensors")
_SPARKS = pa.schema([("user_id", pa.string()), ("rank", pa.int32()), ("item_id", pa.string()), ("score", pa.float32())])
_ARRAYS = "arrays.safetensors"
_Batches = Iterator[pa.RecordBatch]


@dataclass(frozen=True)
class Shared:
    """What is the same for all users.

    Attributes:
        kind: the model.
        exclude_seen: see `Job`.
        settings: of the ranking.
    """

    kind: str
    exclude_seen: bool
    settings: RankSettings

    @property
    def whole(self) -> bool:
        """Whether the model looks at all users to rank one: then a worker opens the whole store."""
        return self.kind == AUTO


def pack(path: Path, store: Store, kinds: Sequence[str], counts: Rows, candidates: Rows | None, *, whole: bool) -> None:
    """Write what is the same for all users into one archive, uncompressed: a store of its own, with less in it."""
    folder = store.path / store.generation
    own = sorted(folder.iterdir()) if whole else [folder / name for name in (MANIFEST, *ITEM_SIDE)]
    models = [store.models[kind][0] for kind in kinds]
    pointers = [
        at / name for at in (store.path, *(model.parent for model in models)) for name in ("CURRENT", PUBLISHED)
    ]
    files = [*own, *(file for model in models for file in sorted(model.iterdir())), *pointers]
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            if file.is_file():
                archive.write(file, file.relative_to(store.path))
        arrays = {"item_positives": counts, **({} if candidates is None else {"candidates": candidates})}
        archive.writestr(_ARRAYS, save({name: np.ascontiguousarray(rows) for name, rows in arrays.items()}))


def rank_blocks_of(archive: str, shared: Shared) -> Callable[[_Batches], _Batches]:
    """Return what ranks the users of a partition: user_id, items, n_positives, mean -> `DDL`.

    Args:
        archive: name under which Spark has unpacked what `pack` wrote.
        shared: what is the same for all users.
    """

    def rank(batches: _Batches) -> _Batches:
        from pyspark import SparkFiles

        take_gpu()
        with on_worker():
            store, items, counts, candidates = _opened(SparkFiles.get(archive))
            blocks = [pl.DataFrame(batch) for batch in batches if batch.num_rows]
            if not blocks:
                return
            users = pl.concat(blocks)
            known = _all_known(SparkFiles.get(archive)) if shared.whole else known_of(users, items, counts)
            job = Job(store, shared.kind, known, candidates, shared.exclude_seen, shared.settings)
            queue = queue_of(job, users["user_id"])
            for number in range(-(-users.height // USERS_AT_ONCE)):
                yield from ranked_part(number, queue, items.item_ids, silent).cast(_SPARKS).to_batches()

    return rank


def take_gpu() -> None:
    """Use the GPU that Spark gives to this task, if any (spark.task.resource.gpu.amount): its address is a number."""
    from pyspark import TaskContext

    context = TaskContext.get()
    gpu = context.resources().get("gpu") if context else None
    if gpu:
        import torch

        if torch.cuda.is_available():
            torch.cuda.set_device(int(gpu.addresses[0]))  # not CUDA_VISIBLE_DEVICES: a worker does task after task


@cache
def _opened(folder: str) -> tuple[Store, ItemSide, Rows, Rows | None]:
    """Open what was shared, once in each worker."""
    store, arrays = open_store(Path(folder)), mapped(Path(folder) / _ARRAYS)
    return store, items_before(store, "test"), arrays["item_positives"], arrays.get("candidates")


@cache
def _all_known(folder: str) -> Knowledge:
    """What is known of all users."""
    return knowledge_before(_opened(folder)[0], "test")


def known_of(users: pl.DataFrame, items: ItemSide, counts: Rows) -> Knowledge:
    """Return what was known of some users before the test cut, and of all items.

    Args:
        users: sorted by user_id: user_id, items (ids that the user had, null for none), n_positives and mean (null for
            none).
        items: of the store.
        counts: how many users liked each item, shape (n_items,).
    """
    seen = users.with_row_index("user_row").select("user_row", "items").explode("items").drop_nulls()
    rows = seen.select("user_row", item_row=items.item_ids.search_sorted(seen["items"])).sort("user_row", "item_row")
    user_rows = rows["user_row"].to_numpy().astype(np.int64)
    with_mean = users["mean"].is_not_null()
    width, n_means = items.item_vectors.shape[1], int(with_mean.sum())
    means = users["mean"].filter(with_mean).explode().cast(pl.Float32).to_numpy().reshape(n_means, width)
    mean_rows = np.full(users.height, NOBODY)
    mean_rows[with_mean.to_numpy()] = np.arange(n_means)
    nothing = np.zeros(len(user_rows), dtype=np.int64)  # labels and times matter to training alone
    return Knowledge(
        user_ids=users["user_id"],
        **items._asdict(),
        user_rows=user_rows,
        item_rows=rows["item_row"].to_numpy().astype(np.int64),
        labels=nothing,
        times=nothing,
        offsets=np.searchsorted(user_rows, np.arange(users.height + 1)),
        means=means,
        mean_rows=mean_rows,
        n_positives=users["n_positives"].fill_null(0).to_numpy().astype(np.int64),
        item_positives=counts,
    )


def check_job(
    store: Store, shared: Shared, items: ItemSide, counts: Rows, candidates: Rows | None
) -> Mapping[str, Any]:
    """Find out what is wrong with a job before any user is looked at; return what the run should say of it.

    Raises:
        InputError: options that don't go together, or with the model.
        ArtefactError: a model that isn't there, or not of this generation of the store.
    """
    if shared.settings.approx:
        raise InputError("--approx: expected --engine local, which measures what is missed over all users, found spark")
    kinds = [shared.kind, *(parse_candidates_from(text)[0] for text in [shared.settings.candidates_from] if text)]
    if any(map(is_own, kinds)):
        raise InputError(f"--engine spark: expected models of the package, found {' and '.join(kinds)}")
    if shared.whole:
        refuse_for_auto(shared.settings)
        return {}
    someone = pl.DataFrame(
        {"user_id": [""], "items": [None], "n_positives": [None], "mean": [None]},
        schema_overrides={"items": pl.List(pl.String), "n_positives": pl.Int64, "mean": pl.List(pl.Float32)},
    )
    known = known_of(someone, items, counts)
    settings = replace(shared.settings, device="cpu")  # which GPUs the workers have is not seen here
    job = Job(store, shared.kind, known, candidates, shared.exclude_seen, settings)
    return queue_of(job, someone["user_id"].clear()).warm.facts
