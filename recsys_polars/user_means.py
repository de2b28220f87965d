"""User means: the mean item vector of what each user liked before a cut."""

import numpy as np
import polars as pl
from scipy.sparse import csr_matrix

from recsys_polars.tables import UserMeans, Vectors


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
    counts = liked.group_by("user_id", maintain_order=True).len("n_positives")
    offsets = np.concatenate([[0], counts["n_positives"].to_numpy().cumsum(dtype=np.int64)])
    item_rows = liked["item_row"].to_numpy()
    means = np.empty((counts.height, item_vectors.shape[1]), dtype=np.float32)
    block = max(1, memory_bytes // 2 // (8 * max(1, item_vectors.shape[1])))
    wide = item_vectors.astype(np.float64)
    for start in range(0, counts.height, block):
        stop = min(start + block, counts.height)
        pointers = offsets[start : stop + 1]
        columns = item_rows[pointers[0] : pointers[-1]]
        ones = csr_matrix(
            (np.ones(len(columns)), columns, pointers - pointers[0]), shape=(stop - start, len(item_vectors))
        )
        means[start:stop] = (ones @ wide) / np.diff(pointers)[:, None]
    table = counts.select("user_id", before=pl.lit(before), n_positives=pl.col("n_positives").cast(pl.UInt32))
    return table.select(UserMeans.column_names()), means
