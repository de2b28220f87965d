"""`rank` on Spark: users in blocks on the workers, the item side once on each machine, the lists on the driver."""

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from recsys_polars.errors import ArtefactError, InputError
from recsys_polars.knowledge import Rows, items_before
from recsys_polars.models import KINDS
from recsys_polars.recipes import Progress, silent
from recsys_polars.recipes.ids import WORDS, read_ids
from recsys_polars.recipes.on_spark.blocks import DDL, ITEM_SIDE, Shared, check_job, pack, rank_blocks_of
from recsys_polars.recipes.on_spark.inputs import said_of
from recsys_polars.recipes.on_spark.kept import Kept
from recsys_polars.recipes.on_spark.pairs import history
from recsys_polars.recipes.on_spark.stores import reachable_store, table_place
from recsys_polars.recipes.parts import parts_of
from recsys_polars.recipes.rank import (
    METADATA_KEY,
    SCHEMA,
    USERS_AT_ONCE,
    refuse_other_formats,
    rows_of_candidates,
    run_figures,
)
from recsys_polars.recipes.sides import RankSettings, excludes_seen, parse_candidates_from
from recsys_polars.recipes.timing import Stopwatch
from recsys_polars.recipes.trained import find_model
from recsys_polars.sealing import write_sealed_parquet
from recsys_polars.spark.files import FileSystem, as_path, is_uri, ship, to_read
from recsys_polars.spark.session import SparkSettings, spark_session
from recsys_polars.spark.sql import run_sql, to_polars, to_spark
from recsys_polars.store import Store
from recsys_polars.tables import IDS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

USERS_OF_A_TASK = 65_536
"""At most; a scorer is made for each task."""
_TABLES = ("labelled", "repeats", "filtered", "user_means")


@dataclass(frozen=True)
class _Tables:
    """What Spark reads of a store."""

    labelled: "DataFrame"
    repeats: "DataFrame"
    filtered: "DataFrame"
    user_means: "DataFrame"

    def history(self) -> "DataFrame":
        """What was known of each pair before the test cut."""
        return history(self.labelled.sparkSession, self.labelled, self.repeats, before="test")

    def seen(self) -> "DataFrame":
        """user_id and item_id of the pairs that a user had before the test cut: a repeat adds none."""
        return self.labelled.filter("part <> 'test'").select(*IDS).unionByName(self.filtered.select(*IDS))

    def users(self) -> "DataFrame":
        """user_id of all users: who has a repeat has its first row too."""
        return self.labelled.select("user_id").union(self.filtered.select("user_id")).distinct()


def rank_on_spark(
    place: str, out: str, settings: RankSettings, spark: SparkSettings, *, progress: Progress = silent
) -> dict[str, Any]:
    """Rank with a model of the store at `place`, and write the same lists as `recipes.rank.rank` does, row for row.

    A run that was killed begins anew. Arguments and result: see there; `place` and `out` may be URIs.

    Raises:
        InputError: no Spark, no users, no candidates, ids that can't be read, or options that don't go together.
        ArtefactError: no store, or no model trained on its current generation.
    """
    watch = Stopwatch(progress)
    refuse_other_formats(out)
    with spark_session(spark, memory_bytes=settings.memory_bytes) as session, TemporaryDirectory() as folder:
        scratch = Path(folder)
        store = reachable_store(session, place, scratch, files=_files_of(settings))
        disk = FileSystem(session)
        if is_uri(out) and disk.is_folder(out):
            raise InputError(f"--out {out}: expected a file to write, found a folder")
        here = scratch / "preds.parquet" if is_uri(out) else as_path(out)
        with parts_of(here, {"engine": "spark", "began": time.time()}) as parts:
            folder_there, _, name = out.rpartition("/")
            there = f"{folder_there}/.{name}.{uuid.uuid4().hex}.parts"
            kept = Kept(session, there if is_uri(out) else str(parts.folder.absolute()), scratch)
            complete = parts.folder / "complete"
            try:
                figures, seal = _rank(store, place, settings, kept, complete, watch)
            finally:
                if is_uri(out):
                    disk.remove(there)
            complete.replace(here)
        if is_uri(out):
            disk.put(here, out)
        rank_seconds = watch.stop()
        if not is_uri(place):
            watch.keep(store, seal)
    return {**figures, "rank_seconds": rank_seconds}


def _files_of(settings: RankSettings) -> Sequence[str] | None:
    """What the driver needs of a remote store: `auto`, which may be what was trained last, wants it whole."""
    return ITEM_SIDE if settings.kind in KINDS else None


def _rank(
    store: Store, place: str, settings: RankSettings, kept: Kept, complete: Path, progress: Progress
) -> tuple[dict[str, Any], str]:
    """Write the predictions; return the figures of the run, and the seal of the file."""
    _, manifest = find_model(store, settings.kind)
    shared = Shared(manifest["kind"], excludes_seen(manifest, settings), _of_a_task(kept.session, settings))
    tables = _Tables(*(_table(kept.session, store, place, name) for name in _TABLES))
    items = items_before(store, "test")
    counts = _item_positives(tables, items.item_ids)
    candidates, n_unknown = _candidates(tables, items.item_ids, kept, _word("--candidates", settings.candidates))
    facts = check_job(store, shared, items, counts, candidates)
    archive = _shared_with_all(store, shared, counts, candidates, kept)
    progress("rank", 0, 0)
    users = kept.keep("users", _users(tables, kept, _word("--users", settings.users), means=not shared.whole))
    counted = "count(*)", "count_if(coalesce(n_positives, 0) = 0)", "count_if(is_known IS NULL)"
    n_users, n_cold, n_strangers = users.selectExpr(*counted).first() or (0, 0, 0)
    if not n_users:
        raise InputError("--users test: expected users in the test part, found none; use --users all")
    n_tasks = max(kept.session.sparkContext.defaultParallelism, -(-n_users // USERS_OF_A_TASK))
    asked = users.drop("is_known").repartitionByRange(n_tasks, "user_id").sortWithinPartitions("user_id")
    kept.keep("lists", asked.mapInArrow(rank_blocks_of(archive, shared), DDL))
    progress("write lists", 0, 0)
    figures = run_figures(
        store,
        manifest,
        settings,
        users=n_users,
        cold_users=n_cold,
        unknown_users=n_strangers,
        unknown_candidates=n_unknown,
        items=len(items.item_ids) if candidates is None else len(candidates),
        facts=facts,
    )
    metadata = {METADATA_KEY: json.dumps(figures)}
    return figures, write_sealed_parquet(complete, _row_groups(kept, settings.k), SCHEMA, metadata)


def _of_a_task(session: "SparkSession", settings: RankSettings) -> RankSettings:
    """The settings of a task: on one machine, tasks side by side share its memory."""
    context = session.sparkContext
    if not context.master.startswith("local["):
        return settings
    return replace(settings, memory_bytes=max(1, settings.memory_bytes // context.defaultParallelism))


def _table(session: "SparkSession", store: Store, place: str, name: str) -> "DataFrame":
    """A table of the store, once its bytes are what the manifest says."""
    path, entry = table_place(store, place, name), store.manifest["files"].get(f"{name}.parquet")
    if not is_uri(place):
        store.scan(name)
    elif entry is None or FileSystem(session).sha256(path) != entry["sha256"]:
        raise ArtefactError(f"{path}: damaged, its bytes are not what the manifest says; make it again")
    return session.read.parquet(to_read(path))


def _item_positives(tables: _Tables, item_ids: pl.Series) -> Rows:
    """How many users liked each item, shape (n_items,)."""
    liked = to_polars(run_sql(tables.labelled.sparkSession, "popularity", history=tables.history()))
    counts = np.zeros(len(item_ids), dtype=np.int64)
    counts[item_ids.search_sorted(liked["item_id"]).to_numpy()] = liked["n_positives"].to_numpy()
    return counts


def _candidates(tables: _Tables, item_ids: pl.Series, kept: Kept, asked: str) -> tuple[Rows | None, int]:
    """See `recipes.rank`."""
    if asked == "train":
        seen = to_polars(tables.seen().select("item_id").distinct())["item_id"].sort()
        return item_ids.search_sorted(seen).to_numpy().astype(np.int64), 0
    if asked == "catalogue":
        return None, 0
    path = _near(kept, asked)
    with said_of({path: asked}):
        return rows_of_candidates(item_ids, path, asked)


def _word(option: str, given: str | Sequence[str]) -> str:
    if not isinstance(given, str):
        raise InputError(f"{option}: expected {WORDS[option]} or a file with --engine spark, found {len(given):,} ids")
    return given


def _near(kept: Kept, place: str) -> Path:
    """The path of a file that a user gives, or of a copy of it on this machine."""
    if not is_uri(place):
        return as_path(place)
    return FileSystem(kept.session).fetch(place, kept.here / place.rsplit("/", 1)[-1])


def _shared_with_all(store: Store, shared: Shared, counts: Rows, candidates: Rows | None, kept: Kept) -> str:
    """Have every worker get what is the same for all users; return the name that it has there."""
    kinds = [shared.kind]
    if shared.settings.candidates_from is not None:
        kinds.append(parse_candidates_from(shared.settings.candidates_from)[0])
    path = kept.here / "shared.zip"
    pack(path, store, kinds, counts, candidates, whole=shared.whole)
    return ship(kept.session, path, unpacked=True)


def _users(tables: _Tables, kept: Kept, asked: str, *, means: bool) -> "DataFrame":
    """The users to rank, each once: user_id, is_known; items, n_positives and mean, null for none."""
    from pyspark.sql.functions import collect_list, lit

    if asked == "all":
        users = tables.users().withColumn("is_known", lit(True))
    elif asked == "test":
        users = tables.labelled.filter("part = 'test'").select("user_id").distinct().withColumn("is_known", lit(True))
    else:
        path = _near(kept, asked)
        with said_of({path: asked}):
            given = read_ids(path, "user_id", option="--users")
        known = tables.users().withColumn("is_known", lit(True))
        users = to_spark(kept.session, given.to_frame()).join(known, "user_id", "left")
    positives = tables.user_means.filter("before = 'test'").select("user_id", "n_positives", *(["mean"] * means))
    users = users.join(positives, "user_id", "left")
    if not means:
        return users
    had = tables.seen().groupBy("user_id").agg(collect_list("item_id").alias("items"))
    return users.join(had, "user_id", "left")


def _row_groups(kept: Kept, k: int) -> Iterator[pa.Table]:
    """The lists in their order, some thousands of users at a time."""
    for frame in kept.frames("lists"):
        for piece in frame.iter_slices(USERS_AT_ONCE * k):
            yield (
                piece.select(pl.col("user_id"), pl.col("rank").cast(pl.UInt32), "item_id", "score")
                .to_arrow()
                .cast(SCHEMA)
            )
