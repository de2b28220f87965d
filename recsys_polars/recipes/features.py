"""What each cut allows to know: the features of the items and the mean vectors of the users."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from recsys_polars import item_features, splitting, user_means
from recsys_polars.dense_ids import by_pair
from recsys_polars.recipes.raw import Build, BuildSettings
from recsys_polars.recipes.spool import Spool
from recsys_polars.tables import (
    CUTS,
    IDS,
    ItemFeatures,
    UserMeans,
    Vectors,
    as_matrix,
    check,
    features_table,
    vector_columns,
)
from recsys_polars.vectors.tfidf import TEXT_DIMENSIONS

Known = Mapping[str, np.ndarray[Any, np.dtype[np.bool_]]]
"""By cut: which items were known, shape (n_items,)."""
MeansBlock = tuple[pl.DataFrame, Vectors]


def fit_features(
    items: pl.DataFrame, known: pl.DataFrame, settings: BuildSettings, *, before: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Build what a cut allows to know of items and users, in memory.

    Args:
        items: the catalogue.
        known: the history before the cut.
        settings: of the build.
        before: the part that begins at the cut.

    Returns:
        `ItemFeatures` with its vectors, and `UserMeans` with its means.
    """
    features = _item_features(items, known.lazy(), settings)
    counts, means = user_means.aggregate_user_means(
        known.lazy(), items["item_id"], _side_by_side(features), before=before
    )
    return features, counts.with_columns(pl.Series("mean", means, dtype=pl.Array(pl.Float32, means.shape[1])))


def _item_features(items: pl.DataFrame, known: pl.LazyFrame, settings: BuildSettings) -> pl.DataFrame:
    return item_features.build_item_features(
        items,
        known,
        item_features=settings.item_features,
        text=settings.text,
        encoded=settings.encoded,
        dimensions=settings.text_dim or TEXT_DIMENSIONS,
    )


def _side_by_side(features: pl.DataFrame) -> Vectors:
    return np.hstack([as_matrix(features[block]) for block in vector_columns(features.schema)])


def store_knowledge(items: pl.DataFrame, user_ids: pl.Series, n_buckets: int, spool: Spool, build: Build) -> list[str]:
    """Write the item features and the user means of both cuts; return the vector blocks in their order.

    Args:
        items: the catalogue, by row number.
        user_ids: by row number.
        n_buckets: of the spool.
        spool: has `labelled` and `repeats`.
        build: at work.
    """
    known = _keep_histories(n_buckets, items.height, spool)
    blocks, vectors = store_features(items, known, build)
    _store_user_means(vectors, user_ids, n_buckets, spool, build)
    return blocks


def _keep_histories(n_buckets: int, n_items: int, spool: Spool) -> Known:
    """Write what was known before each cut into the spool as `known-CUT`: user_id, item_id, label, sorted.

    Returns:
        By cut: which items were known, shape (n_items,).
    """
    known = {cut: np.zeros(n_items, dtype=np.bool_) for cut in CUTS}
    for number in range(n_buckets):
        labelled, repeats = spool.read("labelled", number).lazy(), spool.read("repeats", number).lazy()
        for cut in CUTS:
            pairs = by_pair(splitting.history(labelled, repeats, before=cut).select(*IDS, "label").collect())
            known[cut][pairs["item_id"].to_numpy()] = True
            spool.write(f"known-{cut}", number, pairs)
    return known


def store_features(items: pl.DataFrame, known: Known, build: Build) -> tuple[list[str], dict[str, Vectors]]:
    """Write the item features of both cuts; return the vector blocks in their order, and all vectors of each cut."""
    writer, vectors = build.writer, {}
    blocks: list[str] = []
    for cut in CUTS:
        known_items = items.lazy().filter(pl.Series(known[cut])).select("item_id")
        features = _item_features(items, known_items, build.settings)
        blocks = vector_columns(features.schema)
        writer.write(features_table(cut), features, ItemFeatures)
        writer.write_tensors(features_table(cut), {block: as_matrix(features[block]) for block in blocks})
        vectors[cut] = _side_by_side(features)
    return blocks, vectors


def _store_user_means(
    vectors: Mapping[str, Vectors], user_ids: pl.Series, n_buckets: int, spool: Spool, build: Build
) -> None:
    """Write the user means of both cuts, as a table and as tensors, block by block."""
    width = next(iter(vectors.values())).shape[1]
    liked = {cut: spool.scan(f"known-{cut}").filter(pl.col("label") == 1).select("user_id") for cut in CUTS}
    n_users = {cut: users.select(pl.col("user_id").n_unique()).collect().item() for cut, users in liked.items()}

    def blocks() -> Iterator[MeansBlock]:
        for cut in CUTS:
            wide = vectors[cut].astype(np.float64)
            for number in range(n_buckets):
                yield from _means(spool.read(f"known-{cut}", number), user_ids, wide, cut)

    store_means(blocks(), n_users, width, build)


def store_means(blocks: Iterator[MeansBlock], n_users: Mapping[str, int], width: int, build: Build) -> None:
    """Write `UserMeans` and its tensors.

    Args:
        blocks: `UserMeans` without its vectors, and these, by cut and user.
        n_users: rows of each cut.
        width: of the vectors.
        build: at work.
    """
    schema = {**UserMeans.create_empty().schema, "mean": pl.Array(pl.Float32, width)}
    with build.writer.append_tensors("user_means", {cut: (n_users[cut], width) for cut in CUTS}) as append:

        def frames() -> Iterator[pl.DataFrame]:
            done, total = 0, sum(n_users.values())
            build.progress("average what users liked", done, total, "users")
            for counts, means in blocks:
                append(means)
                done += len(means)
                build.progress("average what users liked", done, total, "users")
                yield counts.with_columns(pl.Series("mean", means, dtype=schema["mean"]))

        build.writer.sink("user_means", in_turn(frames(), schema))


def _means(known: pl.DataFrame, user_ids: pl.Series, vectors: user_means.Sums, cut: str) -> Iterator[MeansBlock]:
    liked = known.filter(pl.col("label") == 1)
    counts = user_means.count_positives(liked["user_id"], before=cut)
    table = check(UserMeans, counts.with_columns(user_ids.gather(counts["user_id"])), name="user_means")
    done = 0
    for means in user_means.mean_blocks(liked["user_id"], liked["item_id"], vectors):
        yield table[done : done + len(means)], means
        done += len(means)


def in_turn(frames: Iterator[pl.DataFrame], schema: Mapping[str, pl.DataType]) -> pl.LazyFrame:
    """A lazy frame of frames that can be had once, one after the other."""

    def read(
        with_columns: list[str] | None,  # noqa: ARG001
        predicate: pl.Expr | None,  # noqa: ARG001
        n_rows: int | None,  # noqa: ARG001
        batch_size: int | None,  # noqa: ARG001
    ) -> Iterator[pl.DataFrame]:
        yield from frames

    return register_io_source(read, schema=schema)
