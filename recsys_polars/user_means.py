"""User means: the mean item vector of what each user liked before a cut."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import polars as pl
from scipy.sparse import csr_matrix

from recsys_polars.tables import UserMeans, Vectors

_BLOCK_ROWS, _BLOCK_BYTES = 4096, 32 << 20
"""Users at once for each thread: their sums stay near the cache, and small whatever the width."""
Sums = np.ndarray[Any, np.dtype[np.float64]]


def aggregate_user_means(
    history: pl.LazyFrame, item_ids: pl.Series, item_vectors: Vectors, *, before: str
) -> tuple[pl.DataFrame, Vectors]:
    """Average the item vectors of each user's positives.

    Args:
        history: one row per (user_id, item_id) known before the cut, with `label`.
        item_ids: the ids of the rows of `item_vectors`, sorted and unique.
        item_vectors: shape (n_items, d).
        before: the part that begins at the cut.

    Returns:
        `UserMeans` without its vectors, sorted by user_id, a row for each user with a positive; and the means, shape
        (n_rows, d): sums in float64, rounded once to float32. A mean without one item is one subtraction.

    Example:
        >>> known = pl.LazyFrame({"user_id": ["a", "a", "b"], "item_id": ["x", "y", "x"], "label": [1, 1, 0]})
        >>> vectors = np.array([[1, 0], [0, 4]], dtype=np.float32)
        >>> counts, means = rp.aggregate_user_means(known, pl.Series("item_id", ["x", "y"]), vectors, before="test")
        >>> counts.rows(), means.tolist()
        ([('a', 'test', 2)], [[0.5, 2.0]])
    """
    rows = pl.LazyFrame({"item_id": item_ids}).with_row_index("item_row")
    positives = history.filter(pl.col("label") == 1).join(rows, on="item_id").select("user_id", "item_row")
    # One place in memory for each user, in a fixed order, so that sums are the same whatever the number of threads.
    liked = positives.sort("user_id", "item_row").collect()
    blocks = list(mean_blocks(liked["user_id"], liked["item_row"], item_vectors.astype(np.float64)))
    width = item_vectors.shape[1]
    return count_positives(liked["user_id"], before=before), np.concatenate([np.empty((0, width), np.float32), *blocks])


def count_positives(users: pl.Series, *, before: str) -> pl.DataFrame:
    """Return `UserMeans` without its vectors, of the user of each positive: equal ones stand together."""
    runs = users.rle().struct.unnest().select(user_id="value", n_positives=pl.col("len").cast(pl.UInt32))
    return runs.with_columns(before=pl.lit(before, dtype=pl.String)).select(UserMeans.column_names())


def mean_blocks(users: pl.Series, item_rows: pl.Series, item_vectors: Sums) -> Iterator[Vectors]:
    """Yield the mean vectors of users, block by block.

    A row is summed in its own order by one thread, so that the bytes depend neither on the blocks nor on the threads.

    Args:
        users: of each positive: equal ones stand together.
        item_rows: of each positive: the row of `item_vectors`.
        item_vectors: shape (n_items, d), float64.

    Yields:
        Shape (n, d), n at most some thousands: a row for each user, in their order.
    """
    offsets = np.concatenate([[0], users.rle().struct.field("len").to_numpy().cumsum(dtype=np.int64)])
    items = item_rows.to_numpy()
    n_threads = pl.thread_pool_size()
    block = int(np.clip(_BLOCK_BYTES // (8 * max(1, item_vectors.shape[1])), 1, _BLOCK_ROWS))

    def average(start: int) -> Vectors:
        pointers = offsets[start : start + block + 1]
        columns = items[pointers[0] : pointers[-1]]
        shape = (len(pointers) - 1, len(item_vectors))
        ones = csr_matrix((np.ones(len(columns)), columns, pointers - pointers[0]), shape=shape)
        means: Vectors = ((ones @ item_vectors) / np.diff(pointers)[:, None]).astype(np.float32)
        return means

    starts = range(0, len(offsets) - 1, block)
    with ThreadPoolExecutor(n_threads) as pool:
        for begin in range(0, len(starts), n_threads):  # no more blocks at once than are being worked on
            yield from pool.map(average, starts[begin : begin + n_threads])
