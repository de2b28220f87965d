"""`build_features`: raw files -> the feature store."""

from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl

from recsys_polars import counting, item_features, labelling, splitting, user_means
from recsys_polars.errors import InputError
from recsys_polars.recipes import Progress, silent
from recsys_polars.recipes.encode import check_encoders, encode_items, encoded_blocks
from recsys_polars.recipes.raw import (
    Build,
    BuildSettings,
    fingerprints,
    open_sources,
    read_catalogue,
    store_interactions,
    with_defaults,
)
from recsys_polars.store import Store, build_store, open_store
from recsys_polars.tables import (
    CUTS,
    PARTS,
    ItemFeatures,
    Items,
    Labelled,
    Repeats,
    UserMeans,
    as_matrix,
    features_table,
    vector_columns,
)
from recsys_polars.vectors.tfidf import TEXT_DIMENSIONS


def build_features(settings: BuildSettings, out: Path, *, progress: Progress = silent) -> Store:
    """Build a new generation of the store at `out`.

    Raises:
        InputError: files, columns or options that can't be used, or data that leaves nothing to learn from.
        ArtefactError: `out` is no store, or another build is at work there.
    """
    settings = with_defaults(settings)
    sources = open_sources(settings)
    check_encoders(settings, sources[1])
    with build_store(out) as writer, TemporaryDirectory(dir=writer.stage.folder) as scratch:
        build = Build(settings, writer, Path(scratch), progress=progress)
        progress("read interactions", 0, 5)
        interactions = store_interactions(sources[0], build)
        progress("cut and label", 1, 5)
        labelled, repeats = _store_labelled(interactions, build)
        progress("read items", 2, 5)
        items = encode_items(read_catalogue(sources[1], interactions, build), build)
        writer.write("items", items, Items)
        progress("build features", 3, 5)
        blocks = store_vectors(items, labelled, repeats, build)
        progress("publish", 4, 5)
        writer.stage.facts |= {
            "blocks": blocks,
            "parameters": {**asdict(settings), "format": sources[0].format, "implicit": sources[0].implicit},
            "inputs": fingerprints(sources),
            "left_out_columns": sources[1].left_out if sources[1] else [],
            "steps": build.ledger.steps,
            "counts": _counts(labelled, repeats, items),
        }
    return open_store(out)


def cut_interactions(interactions: pl.LazyFrame, settings: BuildSettings) -> pl.LazyFrame:
    """Give each interaction its part."""
    return splitting.assign_parts(
        interactions,
        split=settings.split or "global-time",
        test_fraction=settings.test_fraction,
        test_n=settings.test_n,
        valid_fraction=settings.valid_fraction,
    )


def label_pairs(parted: pl.LazyFrame, settings: BuildSettings) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Deduplicate and label interactions that have their part; return `Labelled` and `Repeats`, sorted."""
    pairs = labelling.label_interactions(
        splitting.deduplicate_interactions(parted), min_rating=settings.min_rating
    ).collect()
    labelled = pairs.filter(~pl.col("is_repeat")).select(Labelled.column_names()).sort("user_id", "item_id")
    repeats = pairs.filter("is_repeat").select(Repeats.column_names()).sort("user_id", "item_id", "part")
    return labelled, repeats


def filter_train(
    labelled: pl.DataFrame, repeats: pl.DataFrame, settings: BuildSettings
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Take rare users and items out of the train part: what came later decides nothing, and truth stays truth.

    Returns:
        `labelled` and `repeats` without the pairs that go, and those: seen by their users, but not learnt from.
    """
    train = labelled.filter(pl.col("part") == "train")
    kept = counting.filter_counts(
        train, min_user=settings.min_user_interactions, min_item=settings.min_item_interactions
    )
    of_pair, is_test = ["user_id", "item_id"], pl.col("part") == "test"
    filtered = train.join(kept, on=of_pair, how="anti", maintain_order="left")
    if filtered.is_empty():
        return labelled, repeats, filtered
    labelled = labelled.join(filtered, on=of_pair, how="anti", maintain_order="left")
    # A later row between the cuts would bring the pair back into the history; one after the test cut stays on record.
    learnt = repeats.filter(~is_test).join(filtered, on=of_pair, how="anti")
    repeats = pl.concat([learnt, repeats.filter(is_test)]).sort("user_id", "item_id", "part")
    return labelled, repeats, filtered


def fit_features(
    items: pl.DataFrame, known: pl.DataFrame, settings: BuildSettings, *, before: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Build what a cut allows to know of items and users.

    Args:
        items: the catalogue.
        known: the history before the cut.
        settings: of the build.
        before: the part that begins at the cut.

    Returns:
        `ItemFeatures` with its vectors, and `UserMeans` with its means.
    """
    features = item_features.build_item_features(
        items,
        known.lazy(),
        item_features=settings.item_features,
        text=settings.text,
        encoded=encoded_blocks(settings),
        dimensions=settings.text_dim or TEXT_DIMENSIONS,
    )
    item_vectors = np.hstack([as_matrix(features[block]) for block in vector_columns(features.schema)])
    counts, means = user_means.aggregate_user_means(
        known.lazy(), items["item_id"], item_vectors, before=before, memory_bytes=settings.memory_bytes
    )
    return features, counts.with_columns(pl.Series("mean", means, dtype=pl.Array(pl.Float32, means.shape[1])))


def _store_labelled(interactions: pl.LazyFrame, build: Build) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Cut, deduplicate, label and filter; write `labelled`, `repeats` and `filtered`, and return the first two."""
    parted_path = build.scratch / "parted.parquet"
    cut_interactions(interactions, build.settings).sink_parquet(parted_path)
    parted = pl.scan_parquet(parted_path)
    labelled, repeats = label_pairs(parted, build.settings)
    rows_in = dict(parted.group_by("part").len().collect().iter_rows())
    for part in PARTS:
        n_in, n_out = rows_in.get(part, 0), labelled.filter(pl.col("part") == part).height
        build.ledger.enter(f"pairs of {part}", rows_in=n_in, rows_out=n_out, merged=n_in - n_out)
    _check_history(labelled, build.settings)
    labelled, repeats, filtered = filter_train(labelled, repeats, build.settings)
    _enter_filtered(labelled, filtered, build)
    build.writer.write("labelled", labelled, Labelled)
    build.writer.write("repeats", repeats, Repeats)
    build.writer.write("filtered", filtered, Labelled)
    return labelled, repeats


def _enter_filtered(labelled: pl.DataFrame, filtered: pl.DataFrame, build: Build) -> None:
    if filtered.is_empty():
        return
    kept = labelled.filter(pl.col("part") == "train")
    if not kept["label"].sum():
        raise InputError(
            "--min-user-interactions, --min-item-interactions: expected some liked pairs to be left, found none "
            f"in the {kept.height:,} that stay; lower them"
        )
    settings = build.settings
    rule = f"user with fewer than {settings.min_user_interactions} pairs, or item with fewer than "
    rule += f"{settings.min_item_interactions}"
    build.writer.write_rejects("filtered", filtered.lazy().with_columns(rule=pl.lit(rule)))
    rows_in = kept.height + filtered.height
    build.ledger.enter("filter train", rows_in=rows_in, rows_out=kept.height, rejected=filtered.height)


def _check_history(labelled: pl.DataFrame, settings: BuildSettings) -> None:
    before_test = labelled.filter(pl.col("part") != "test")
    if before_test.is_empty():
        raise InputError(
            f"--split {settings.split}: expected interactions before the test cut, found none: all rows lie after it"
        )
    if not before_test["label"].sum():
        raise InputError(
            f"--min-rating {settings.min_rating:g}: expected some liked pairs before the test cut, found none in "
            f"{before_test.height:,}; lower it, or use --implicit"
        )


def store_vectors(items: pl.DataFrame, labelled: pl.DataFrame, repeats: pl.DataFrame, build: Build) -> list[str]:
    """Write the item features and the user means of both cuts; return the vector blocks in their order."""
    writer, means = build.writer, {}
    blocks: list[str] = []
    for before in CUTS:
        known = splitting.history(labelled.lazy(), repeats.lazy(), before=before).collect()
        features, means[before] = fit_features(items, known, build.settings, before=before)
        blocks = vector_columns(features.schema)
        writer.write(features_table(before), features, ItemFeatures)
        writer.write_tensors(features_table(before), {block: as_matrix(features[block]) for block in blocks})
    writer.write("user_means", pl.concat(means.values()), UserMeans)
    writer.write_tensors("user_means", {before: as_matrix(table["mean"]) for before, table in means.items()})
    return blocks


def _counts(labelled: pl.DataFrame, repeats: pl.DataFrame, items: pl.DataFrame) -> dict[str, Any]:
    """What the summary tells: users, items, pairs and positives by part, repeats by part."""
    parts = labelled.group_by("part").agg(
        pairs=pl.len(), positives=pl.col("label").sum(), users=pl.col("user_id").n_unique()
    )
    return {
        "users": labelled["user_id"].n_unique(),
        "items": items.height,
        "parts": {row["part"]: {key: row[key] for key in ("pairs", "positives", "users")} for row in parts.to_dicts()},
        "repeats": dict(repeats.group_by("part").len().sort("part").iter_rows()),
    }
