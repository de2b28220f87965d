"""`build_features` on Spark: rows are its own until they are tables; catalogue and store are the driver's."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import dataframely as dy
import numpy as np
import polars as pl

from recsys_polars.recipes import Progress, silent
from recsys_polars.recipes.build import building, note_sources
from recsys_polars.recipes.encode import check_encoders, store_catalogue
from recsys_polars.recipes.features import MeansBlock, in_turn, store_features, store_means
from recsys_polars.recipes.on_spark.inputs import Inputs, fingerprints_of, open_inputs, parse_interactions, said_of
from recsys_polars.recipes.on_spark.kept import Kept
from recsys_polars.recipes.on_spark.means import keep_means
from recsys_polars.recipes.on_spark.pairs import Pairs, history, keep_pairs
from recsys_polars.recipes.on_spark.stores import store_at
from recsys_polars.recipes.pairs import check_history, enter_filtered, reject_filtered
from recsys_polars.recipes.raw import Build, BuildSettings, count_items, nothing_usable, quarantine
from recsys_polars.recipes.timing import Stopwatch
from recsys_polars.spark.files import FileSystem, is_uri
from recsys_polars.spark.session import SparkSettings, spark_session
from recsys_polars.spark.sql import to_polars
from recsys_polars.store import open_store
from recsys_polars.tables import CUTS, PARTS, Interactions, Labelled, Repeats, UserMeans, check

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_TABLES: dict[str, type[dy.Schema]] = {
    "interactions": Interactions,
    "labelled": Labelled,
    "repeats": Repeats,
    "filtered": Labelled,
}
_SCRATCH = ".staging-spark"


def build_features_on_spark(
    settings: BuildSettings, out: str, spark: SparkSettings, *, progress: Progress = silent
) -> dict[str, Any]:
    """Build a new generation of the store at `out`, with the tables of `recipes.build.build_features`, row for row.

    Args:
        settings: what from, and how; paths may be URIs that Spark reads.
        out: a folder that every worker reaches under this path, or a URI. What is not yet a table lies in it too.
        spark: which Spark.
        progress: told of each step.

    Returns:
        The manifest of the store.

    Raises:
        InputError: files, columns or options that can't be used, data that leaves nothing to learn from, no Spark.
        ArtefactError: `out` is no store, or another build is at work there.
    """
    watch = Stopwatch(progress)
    with spark_session(spark, memory_bytes=settings.memory_bytes) as session, TemporaryDirectory() as folder:
        scratch = Path(folder)
        inputs = open_inputs(session, settings, scratch)
        check_encoders(inputs.settings, inputs.sources[1])
        with store_at(session, out, scratch) as here:
            with building(inputs.settings, here, progress=watch) as build:
                with _kept(session, out, build) as kept, said_of(inputs.copies):
                    _store_tables(inputs, kept, build)
                note_sources(inputs.sources, build)
                build.writer.stage.facts |= {
                    "inputs": fingerprints_of(session, inputs),
                    "engine": {"spark": session.version, "master": session.sparkContext.master},
                }
            store = open_store(here)
            if not is_uri(out):
                watch.keep(store, store.identity)
            return dict(store.manifest)


@contextmanager
def _kept(session: "SparkSession", out: str, build: Build) -> Iterator[Kept]:
    """A folder for what Spark works out, beside the store that is being built."""
    if not is_uri(out):
        yield Kept(session, str(build.scratch.absolute()), build.scratch)
        return
    disk, place = FileSystem(session), f"{out}/{_SCRATCH}-{uuid.uuid4().hex}"
    try:
        yield Kept(session, place, build.scratch)
    finally:
        disk.remove(place)
        if not disk.entries(out):
            disk.remove(out)


def _store_tables(inputs: Inputs, kept: Kept, build: Build) -> None:
    """Write every table, and what the manifest says of them; see `recipes.build.store_tables`."""
    build.progress("read interactions", 0, 0)
    accepted, n_rows = _accepted(inputs, kept, build)
    build.progress("read items", 0, 0)
    seen_ids = to_polars(accepted.select("item_id").distinct())["item_id"]
    items = store_catalogue(inputs.item_files, seen_ids, build)
    build.progress("cut and label", 0, 0)
    pairs = keep_pairs(accepted, n_rows, inputs.settings, kept)
    parts = _enter_pairs(pairs, build)
    for table, contract in _TABLES.items():
        _store(table, contract, kept, build)
    reject_filtered(build)
    build.progress("build features", 0, 0)
    blocks = _store_knowledge(items, pairs, n_rows, kept, build)
    build.progress("publish", 0, 0)
    build.writer.stage.facts |= {
        "blocks": blocks,
        "counts": {**_users_and_repeats(pairs), **count_items(items, build), "parts": parts},
        "steps": build.ledger.steps,
    }


def _accepted(inputs: Inputs, kept: Kept, build: Build) -> tuple["DataFrame", int]:
    """Parse the interactions, quarantine the rows that broke a rule; return the others, and how many they are."""
    parsed = kept.keep("parsed", parse_interactions(kept.session, inputs))
    n_rows, n_rejected = parsed.selectExpr("count(*)", "count(rule)").first() or (0, 0)
    origin = ["file", "line", "rule", "found"]
    rejected = parsed.filter("rule IS NOT NULL").sort("number", "line")
    kept.keep("rejects", rejected.select(*Interactions.column_names(), *origin))
    rejects = kept.scan("rejects")
    n_accepted = quarantine("interactions", n_rows, n_rejected, rejects, build)
    if not n_accepted:
        raise nothing_usable(inputs.names[0], rejects, build.settings)
    return parsed.filter("rule IS NULL").select(Interactions.column_names()), n_accepted


def _enter_pairs(pairs: Pairs, build: Build) -> dict[str, dict[str, int]]:
    """Enter what was merged and filtered out; return pairs, positives and users by part.

    Raises:
        InputError: nothing is left to learn from.
    """
    counted = "count(*) AS pairs", "CAST(sum(label) AS BIGINT) AS positives", "count(DISTINCT user_id) AS users"
    of_parts = _by_part(pairs.labelled, *counted)
    filtered = pairs.filtered.selectExpr("count(*)", "CAST(coalesce(sum(label), 0) AS BIGINT)").first() or (0, 0)
    rows_in = _by_part(pairs.parted, "count(*) AS rows")
    for part in PARTS:
        n_in = rows_in.get(part, {}).get("rows", 0)
        n_out = of_parts.get(part, {}).get("pairs", 0) + (filtered[0] if part == "train" else 0)
        build.ledger.enter(f"pairs of {part}", rows_in=n_in, rows_out=n_out, merged=n_in - n_out)
    learnt = [of_parts[part] for part in PARTS[:2] if part in of_parts]
    n_liked = sum(part["positives"] for part in learnt) + filtered[1]
    check_history(sum(part["pairs"] for part in learnt) + filtered[0], n_liked, build.settings)
    train = of_parts.get("train", {})
    enter_filtered(train.get("pairs", 0), train.get("positives", 0), filtered[0], build)
    return of_parts


def _by_part(rows: "DataFrame", *aggregates: str) -> dict[str, dict[str, int]]:
    from pyspark.sql.functions import expr

    counts = rows.groupBy("part").agg(*(expr(aggregate) for aggregate in aggregates)).collect()
    found = {row["part"]: {name: row[name] for name in row.asDict() if name != "part"} for row in counts}
    return {part: found[part] for part in PARTS if part in found}


def _users_and_repeats(pairs: Pairs) -> dict[str, Any]:
    n_users = pairs.labelled.select("user_id").distinct().count()
    repeats = {part: counts["rows"] for part, counts in sorted(_by_part(pairs.repeats, "count(*) AS rows").items())}
    return {"users": n_users, "repeats": repeats}


def _store(table: str, contract: type[dy.Schema], kept: Kept, build: Build) -> None:
    """Write a table that is kept into the store, once each of its files keeps the contract."""
    schema = contract.create_empty().schema

    def frames() -> Iterator[pl.DataFrame]:
        for frame in kept.frames(table):
            yield check(
                contract, frame.select(pl.col(column).cast(dtype) for column, dtype in schema.items()), name=table
            )

    build.writer.sink(table, in_turn(frames(), schema))


def _store_knowledge(items: pl.DataFrame, pairs: Pairs, n_rows: int, kept: Kept, build: Build) -> list[str]:
    """Write the item features and the user means of both cuts; return the vector blocks in their order."""
    known = {cut: history(kept.session, pairs.labelled, pairs.repeats, before=cut) for cut in CUTS}
    known = {cut: kept.keep(f"known-{cut}", rows.select("user_id", "item_id", "label")) for cut, rows in known.items()}
    is_known = {}
    for cut, rows in known.items():
        ids = to_polars(rows.select("item_id").distinct())["item_id"]
        is_known[cut] = items["item_id"].is_in(ids.implode()).to_numpy()
    blocks, vectors = store_features(items, is_known, build)
    for cut, rows in known.items():
        keep_means(f"means-{cut}", rows, items["item_id"], vectors[cut].astype(np.float64), kept, n_rows=n_rows)
    n_users = {cut: kept.read(f"means-{cut}").count() for cut in CUTS}
    width = vectors["test"].shape[1]
    store_means(_means(kept, width), n_users, width, build)
    return blocks


def _means(kept: Kept, width: int) -> Iterator[MeansBlock]:
    for cut in CUTS:
        for frame in kept.frames(f"means-{cut}"):
            counts = frame.select(
                "user_id", before=pl.lit(cut, dtype=pl.String), n_positives=pl.col("n_positives").cast(pl.UInt32)
            )
            means = frame["mean"].cast(pl.List(pl.Float32)).explode().to_numpy().reshape(frame.height, width)
            yield check(UserMeans, counts, name="user_means"), means
