"""Parsed rows -> the pairs of each part, by the statements that are run without Spark too."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import polars as pl

from recsys_polars.recipes.on_spark.kept import Kept
from recsys_polars.recipes.raw import BuildSettings
from recsys_polars.spark.sql import params, run_sql, to_polars, to_spark
from recsys_polars.tables import IDS, PARTS, Labelled, Repeats

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_BY_PAIR = ("user_id", "item_id")
_BY_TIME = ("user_id", "event_time", "item_id", "rating")


@dataclass(frozen=True)
class Pairs:
    """What Spark keeps of the interactions: the tables of a store by their names, sorted, and the parted rows."""

    interactions: "DataFrame"
    parted: "DataFrame"
    labelled: "DataFrame"
    repeats: "DataFrame"
    filtered: "DataFrame"


def keep_pairs(accepted: "DataFrame", n_rows: int, settings: BuildSettings, kept: Kept) -> Pairs:
    """Write `interactions`, `labelled`, `repeats` and `filtered`, sorted; see `recipes.pairs`.

    Args:
        accepted: `Interactions`.
        n_rows: how many there are.
        settings: of the build.
        kept: where to.
    """
    session = kept.session
    interactions = kept.keep_sorted("interactions", accepted, _BY_TIME, n_rows=n_rows)
    parted = assign_parts(session, interactions, settings)
    part_order = to_spark(session, pl.DataFrame({"part": PARTS, "place": range(len(PARTS))}))
    latest = run_sql(session, "deduplicate_interactions", parted=parted, part_order=part_order)
    threshold = params(session, min_rating=pl.Series([settings.min_rating], dtype=pl.Float32))
    pairs = kept.keep("pairs", run_sql(session, "label_interactions", pairs=latest, params=threshold))
    labelled = pairs.filter("NOT is_repeat").select(Labelled.column_names())
    repeats = pairs.filter("is_repeat").select(Repeats.column_names())
    filtered = labelled.limit(0)
    core = _core(labelled.filter("part = 'train'").select(*IDS), settings, kept)
    if core is not None:
        in_train = labelled.filter("part = 'train'")
        filtered = in_train.join(core, list(IDS), "left_anti")
        labelled = labelled.filter("part <> 'train'").unionByName(in_train.join(core, list(IDS), "left_semi"))
        # A later row between the cuts would bring the pair back into the history; one after the test cut stays.
        learnt = repeats.filter("part <> 'test'").join(filtered, list(IDS), "left_anti")
        repeats = repeats.filter("part = 'test'").unionByName(learnt.select(repeats.columns))
    return Pairs(
        interactions,
        parted,
        kept.keep_sorted("labelled", labelled.select(Labelled.column_names()), _BY_PAIR, n_rows=n_rows),
        kept.keep_sorted("repeats", repeats, (*_BY_PAIR, "part"), n_rows=n_rows),
        kept.keep_sorted("filtered", filtered.select(Labelled.column_names()), _BY_PAIR, n_rows=n_rows),
    )


def assign_parts(session: "SparkSession", interactions: "DataFrame", settings: BuildSettings) -> "DataFrame":
    """Give each interaction its part; see `splitting.assign_parts`."""
    last_n = settings.split == "last-n"
    after_test = _cut(session, interactions, settings, 1 if last_n else settings.test_fraction)
    before_test = after_test.filter("NOT is_after").drop("is_after")
    after_valid = _cut(session, before_test, settings, settings.valid_fraction)
    return run_sql(session, "name_parts", after_test=after_test, after_valid=after_valid)


def _cut(session: "SparkSession", rows: "DataFrame", settings: BuildSettings, fraction: float) -> "DataFrame":
    """The rows, and whether they lie after the cut; none do where the fraction is 0."""
    from pyspark.sql.functions import lit

    if fraction == 0:
        return rows.withColumn("is_after", lit(False))
    if settings.split == "last-n":
        return run_sql(session, "cut_last_n", interactions=rows, params=params(session, n=settings.test_n))
    if settings.split == "user-time":
        return run_sql(session, "cut_user_time", interactions=rows, params=params(session, keep=1 - fraction))
    cut = pl.Series([_quantile(session, rows, 1 - fraction)], dtype=pl.Datetime("us", "UTC"))
    return run_sql(session, "cut_at_time", interactions=rows, params=params(session, cut_time=cut))


def _quantile(session: "SparkSession", rows: "DataFrame", keep: float) -> datetime | None:
    """The cut for all users, in two looks that count few different times; see `splitting._quantile`."""
    from pyspark.sql.functions import col, date_trunc, lit, when

    time, hour = col("event_time"), date_trunc("HOUR", col("event_time"))
    found = _cut_time(session, rows.select(hour.alias("event_time")), keep)
    if found is None:
        return None
    within = when(hour == lit(found), time).otherwise(hour)
    return _cut_time(session, rows.select(within.alias("event_time")), keep)


def _cut_time(session: "SparkSession", times: "DataFrame", keep: float) -> datetime | None:
    counts = times.groupBy("event_time").count().withColumnRenamed("count", "n_rows")
    cut: datetime | None = to_polars(
        run_sql(session, "global_cut", times=counts, params=params(session, keep=keep))
    ).item()
    return cut


def _core(pairs: "DataFrame", settings: BuildSettings, kept: Kept) -> "DataFrame | None":
    """The train pairs whose users and items have as many pairs as asked for; None where all have."""
    if settings.min_user_interactions <= 1 and settings.min_item_interactions <= 1:
        return None
    limits = params(kept.session, min_user=settings.min_user_interactions, min_item=settings.min_item_interactions)
    n_before, number = -1, 0
    while (n_pairs := pairs.count()) != n_before:
        n_before, number = n_pairs, number + 1
        pairs = kept.keep(f"core-{number}", run_sql(kept.session, "filter_counts", pairs=pairs, params=limits))
    return pairs


def history(session: "SparkSession", labelled: "DataFrame", repeats: "DataFrame", *, before: str) -> "DataFrame":
    """Return what was known of each pair before a cut; see `splitting.history`."""
    return run_sql(session, "history", labelled=labelled, repeats=repeats, params=params(session, before=before))
