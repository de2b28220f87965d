"""User means: the mean item vector of what each user liked before a cut."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.sparse import csr_matrix

from recsys_polars.tables import UserMeans, Vectors

_BLOCK_ROWS = 4096  # whose sums stay near the cache


def aggregate_user_means(
    history: pl.LazyFrame, item_ids: pl.Series, item_vectors: Vectors, *, before: str, memory_bytes: int = 2 << 30
) -> tuple[pl.DataFrame, Vectors]:
    """Average the item vectors of each user's positives.

    Args:
        history: one row per (user_id, item_id) known before the cut, with `label`.
        item_ids: the ids of the rows of `item_vectors`, sorted and unique.
        item_vectors: shape (n_items, d).
        before: the part that begins at the cut.
        memory_bytes: what the float64 sums of one block of users may take.

    Returns:
        `UserMeans` without its vectors, sorted by user_id, a row for each user with a positive; and the means, shape
        (n_rows, d): sums in float64, rounded once to float32. A mean without one item is one subtraction.
    """
    rows = pl.LazyFrame({"item_id": item_ids}).with_row_index("item_row")
    positives = history.filter(pl.col("label") == 1).join(rows, on="item_id").select("user_id", "item_row")
    # One place in memory for each user, in a fixed order, so that sums are the same whatever the number of threads.
    liked = positives.sort("user_id", "item_row").collect()
    runs = liked["user_id"].rle().struct.unnest()
    offsets = np.concatenate([[0], runs["len"].to_numpy().cumsum(dtype=np.int64)])
    means = _row_means(offsets, liked["item_row"].to_numpy(), item_vectors, memory_bytes)
    table = runs.select(
        user_id="value", before=pl.lit(before, dtype=pl.String), n_positives=pl.col("len").cast(pl.UInt32)
    )
    return table.select(UserMeans.column_names()), means


def _row_means(
    offsets: npt.NDArray[np.int64], item_rows: npt.NDArray[np.uint32], item_vectors: Vectors, memory_bytes: int
) -> Vectors:
    """Means of `item_vectors[item_rows[offsets[j]:offsets[j + 1]]]`, `(n, d)`: by threads, block by block.

    A row is summed in its own order by one thread, so that the bytes don't depend on their number.
    """
    n_rows, width = len(offsets) - 1, item_vectors.shape[1]
    means = np.empty((n_rows, width), dtype=np.float32)
    wide = item_vectors.astype(np.float64)
    n_threads = pl.thread_pool_size()
    block = int(np.clip(memory_bytes // n_threads // (16 * max(1, width)), 1, _BLOCK_ROWS))

    def average(start: int) -> None:
        pointers = offsets[start : start + block + 1]
        columns = item_rows[pointers[0] : pointers[-1]]
        shape = (len(pointers) - 1, len(item_vectors))
        ones = csr_matrix((np.ones(len(columns)), columns, pointers - pointers[0]), shape=shape)
        means[start : start + block] = (ones @ wide) / np.diff(pointers)[:, None]

    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(average, range(0, n_rows, block)))
    return means
