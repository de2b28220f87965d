"""User means where the users are: the kernel of `user_means` on each partition of them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
from safetensors.numpy import save_file

from recsys_polars import user_means
from recsys_polars.recipes.on_spark.kept import Kept
from recsys_polars.spark.files import ship
from recsys_polars.store import mapped

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_MEANS = pa.schema([("user_id", pa.string()), ("n_positives", pa.int64()), ("mean", pa.list_(pa.float32()))])
_DDL = "user_id string, n_positives bigint, mean array<float>"
_Batches = Iterator[pa.RecordBatch]


def keep_means(
    name: str, known: "DataFrame", item_ids: pl.Series, vectors: user_means.Sums, kept: Kept, *, n_rows: int
) -> None:
    """Write user_id, n_positives and mean of each user who liked something, sorted by user_id.

    Args:
        name: of the table in `kept`.
        known: one row per (user_id, item_id) known before a cut, with `label`.
        item_ids: of the catalogue, sorted.
        vectors: of these items, shape (n_items, d), float64.
        kept: where to.
        n_rows: how many rows `known` has at most.
    """
    files = [kept.here / "vectors.safetensors", kept.here / "items.parquet"]
    save_file({"vectors": np.ascontiguousarray(vectors)}, files[0])
    item_ids.to_frame("item_id").write_parquet(files[1])
    average = _averages(*(ship(kept.session, file) for file in files))
    liked = known.filter("label = 1").select("user_id", "item_id")
    sorted_pairs = kept.by_user(liked, n_rows).sortWithinPartitions("user_id", "item_id")
    kept.keep(name, sorted_pairs.mapInArrow(average, _DDL))


def _averages(vectors_name: str, items_name: str) -> Callable[[_Batches], _Batches]:
    def average(batches: _Batches) -> _Batches:
        from pyspark import SparkFiles

        # Mapped, so that the workers of a machine share one copy.
        vectors = mapped(Path(SparkFiles.get(vectors_name)))["vectors"]
        item_ids = pl.read_parquet(Path(SparkFiles.get(items_name)), glob=False)["item_id"]
        for pairs in whole_users(batches):
            rows = item_ids.search_sorted(pairs["item_id"])
            counts = user_means.count_positives(pairs["user_id"], before="")
            done = 0
            for means in user_means.mean_blocks(pairs["user_id"], rows, vectors):
                users = counts[done : done + len(means)]
                lists = pa.ListArray.from_arrays(
                    np.arange(len(means) + 1, dtype=np.int32) * means.shape[1], pa.array(means.ravel())
                )
                columns = [users["user_id"].to_arrow(), users["n_positives"].cast(pl.Int64).to_arrow(), lists]
                yield from pa.table(columns, names=_MEANS.names).cast(_MEANS).to_batches()
                done += len(means)

    return average


def whole_users(batches: _Batches) -> Iterator[pl.DataFrame]:
    """Yield rows sorted by user_id in other pieces, so that no user is in two of them."""
    rest: pl.DataFrame | None = None
    for batch in batches:
        rows = pl.DataFrame(batch) if rest is None else pl.concat([rest, pl.DataFrame(batch)])
        if rows.is_empty():
            continue
        begins = int((rows["user_id"] != rows["user_id"][-1]).sum())  # sorted: the last user's rows are the last
        if begins:
            yield rows[:begins]
        rest = rows[begins:]
    if rest is not None and not rest.is_empty():
        yield rest
