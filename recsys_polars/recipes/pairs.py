"""Interactions -> the pairs of each part: cut, deduplicated, labelled, filtered; bucket by bucket."""

from collections import Counter
from typing import Any

import polars as pl

from recsys_polars import counting, labelling, splitting
from recsys_polars.dense_ids import by_pair, lookup
from recsys_polars.errors import InputError
from recsys_polars.recipes.events import Buckets
from recsys_polars.recipes.raw import Build, BuildSettings
from recsys_polars.recipes.spool import Spool
from recsys_polars.tables import IDS, PARTS, Interactions, Labelled, Repeats, check

_IS_TRAIN = pl.col("part") == "train"


def cut_interactions(interactions: pl.LazyFrame, settings: BuildSettings) -> pl.LazyFrame:
    """Give each interaction its part."""
    return splitting.assign_parts(
        interactions,
        split=settings.split or "global-time",
        test_fraction=settings.test_fraction,
        test_n=settings.test_n,
        valid_fraction=settings.valid_fraction,
    )


def label_pairs(parted: pl.DataFrame, settings: BuildSettings) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Deduplicate and label interactions that have their part; return `Labelled` and `Repeats`, sorted."""
    pairs = labelling.label_interactions(
        splitting.deduplicate_interactions(parted).lazy(), min_rating=settings.min_rating
    ).collect()
    labelled = by_pair(pairs.filter(~pl.col("is_repeat")).select(Labelled.column_names()))
    repeats = pairs.filter("is_repeat").select(Repeats.column_names()).sort("user_id", "item_id", "part")
    return labelled, repeats


def find_core(labelled: pl.LazyFrame, settings: BuildSettings) -> counting.Core | None:
    """Return who stays in the train part, if anyone has to go: what came later decides nothing."""
    return counting.find_core(
        labelled.filter(_IS_TRAIN).select(IDS),
        min_user=settings.min_user_interactions,
        min_item=settings.min_item_interactions,
    )


def filter_train(
    labelled: pl.DataFrame, repeats: pl.DataFrame, core: counting.Core | None
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Take the pairs outside the core out of the train part; truth stays truth.

    Returns:
        `labelled` and `repeats` without the pairs that go, and those: seen by their users, but not learnt from.
    """
    if core is None:
        return labelled, repeats, labelled.clear()
    filtered = labelled.filter(_IS_TRAIN & ~core.has())
    labelled = labelled.filter(~_IS_TRAIN | core.has())
    # A later row between the cuts would bring the pair back into the history; one after the test cut stays on record.
    learnt = repeats.filter(pl.col("part") != "test").join(filtered, on=list(IDS), how="anti")
    repeats = pl.concat([learnt, repeats.filter(pl.col("part") == "test")]).sort("user_id", "item_id", "part")
    return labelled, repeats, filtered


def cut_buckets(buckets: Buckets, spool: Spool, build: Build) -> None:
    """Write `interactions`, `labelled`, `repeats` and `filtered` into the spool, sorted, and enter what was merged.

    Raises:
        InputError: nothing is left to learn from.
    """
    settings, rows_in, rows_out = build.settings, Counter[str](), Counter[str]()
    cuts = None
    build.progress("cut and label", 0, buckets.n_rows, "rows")
    if settings.split == "global-time":
        times = pl.concat(frame.select("event_time") for frame in buckets.frames)
        cuts = splitting.global_cuts(times, settings.test_fraction, settings.valid_fraction)
    for number, frame in enumerate(buckets.frames):
        rows = frame.collect().sort("user_id", "event_time", "item_id", "rating")
        spool.write("interactions", number, check(Interactions, rows, name="interactions", dense=True))
        parted = splitting.parts_by_time(rows.lazy(), cuts) if cuts else cut_interactions(rows.lazy(), settings)
        rows = parted.collect()
        labelled, repeats = label_pairs(rows, settings)
        rows_in.update(dict(rows.group_by("part").len().iter_rows()))
        rows_out.update(dict(labelled.group_by("part").len().iter_rows()))
        spool.write("labelled", number, check(Labelled, labelled, name="labelled", dense=True))
        spool.write("repeats", number, check(Repeats, repeats, name="repeats", dense=True))
        build.progress("cut and label", sum(rows_in.values()), buckets.n_rows, "rows")
    for part in PARTS:
        n_in, n_out = rows_in[part], rows_out[part]
        build.ledger.enter(f"pairs of {part}", rows_in=n_in, rows_out=n_out, merged=n_in - n_out)
    _check_history(spool, settings)
    _filter_buckets(len(buckets.frames), spool, build)


def _check_history(spool: Spool, settings: BuildSettings) -> None:
    before_test = spool.scan("labelled").filter(pl.col("part") != "test")
    n_pairs, n_liked = (
        before_test.select(pl.len(), pl.col("label").cast(pl.Int64).sum().alias("liked")).collect().row(0)
    )
    check_history(n_pairs, n_liked, settings)


def check_history(n_pairs: int, n_liked: int, settings: BuildSettings) -> None:
    """Refuse a cut before which there is nothing to learn from.

    Raises:
        InputError: no pairs lie before it, or none that anyone liked.
    """
    if not n_pairs:
        raise InputError(
            f"--split {settings.split}: expected interactions before the test cut, found none: all rows lie after it"
        )
    if not n_liked:
        raise InputError(
            f"--min-rating {settings.min_rating:g}: expected some liked pairs before the test cut, found none in "
            f"{n_pairs:,}; lower it, or use --implicit"
        )


def _filter_buckets(n_buckets: int, spool: Spool, build: Build) -> None:
    core, n_kept, n_liked, n_filtered = find_core(spool.scan("labelled"), build.settings), 0, 0, 0
    for number in range(n_buckets):
        tables = filter_train(spool.read("labelled", number), spool.read("repeats", number), core)
        for name, table in zip(("labelled", "repeats", "filtered"), tables, strict=True):
            if core or name == "filtered":
                spool.write(name, number, table)
        kept = tables[0].filter(_IS_TRAIN)
        n_kept, n_liked, n_filtered = (
            n_kept + kept.height,
            n_liked + kept.filter(label=1).height,
            n_filtered + tables[2].height,
        )
    enter_filtered(n_kept, n_liked, n_filtered, build)


def enter_filtered(n_kept: int, n_liked: int, n_filtered: int, build: Build) -> None:
    """Enter how many train pairs were kept, liked ones among them, and how many filtered out.

    Raises:
        InputError: nothing is left to learn from.
    """
    if not n_filtered:
        return
    if not n_liked:
        raise InputError(
            "--min-user-interactions, --min-item-interactions: expected some liked pairs to be left, found none "
            f"in the {n_kept:,} that stay; lower them"
        )
    build.ledger.enter("filter train", rows_in=n_kept + n_filtered, rows_out=n_kept, rejected=n_filtered)


def store_pairs(buckets: Buckets, spool: Spool, build: Build) -> dict[str, Any]:
    """Write `interactions`, `labelled`, `repeats` and `filtered` with their ids; return what the summary counts."""
    ids = lookup("user_id", buckets.user_ids), lookup("item_id", buckets.item_ids)
    for table in ("interactions", "labelled", "repeats", "filtered"):
        build.writer.sink(table, spool.scan(table).with_columns(ids))
    reject_filtered(build)
    return _counts(len(buckets.frames), spool)


def reject_filtered(build: Build) -> None:
    """Show the pairs that were filtered out among the rejects, with the rule that they broke."""
    settings = build.settings
    rule = f"user with fewer than {settings.min_user_interactions} pairs, or item with fewer than "
    rejects = build.writer.scan("filtered").with_columns(rule=pl.lit(f"{rule}{settings.min_item_interactions}"))
    build.writer.write_rejects("filtered", rejects)


def _counts(n_buckets: int, spool: Spool) -> dict[str, Any]:
    """Users, items, pairs and positives by part, repeats by part: users are counted bucket by bucket."""
    n_users, parts = 0, {part: Counter[str]() for part in PARTS}
    for number in range(n_buckets):
        labelled = spool.read("labelled", number).lazy().select("user_id", "label", "part")
        found = labelled.group_by("part").agg(
            pairs=pl.len(), positives=pl.col("label").cast(pl.Int64).sum(), users=pl.col("user_id").n_unique()
        )
        n_users += labelled.select(pl.col("user_id").n_unique()).collect().item()
        for row in found.collect().to_dicts():
            parts[row.pop("part")].update(row)
    repeats = spool.scan("repeats").group_by("part").len().sort("part").collect()
    return {
        "users": n_users,
        "parts": {part: dict(counts) for part, counts in parts.items() if counts},
        "repeats": dict(repeats.iter_rows()),
    }
