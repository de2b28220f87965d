"""Ids as numbers: each string is held once, and rows carry four bytes of it."""

from typing import Any

import numpy as np
import polars as pl

Numbers = np.ndarray[Any, np.dtype[np.uint32]]


class IdNumbers:
    """Numbers ids in the order in which they are met, which is nobody's promise, until all of them are known.

    The strings live in a collection of categories of Polars, which goes when the object does.
    """

    def __init__(self) -> None:
        self._categories = pl.Categories.random()
        # Polars forgets the categories when no series of their type is left.
        self._kept = pl.Series([], dtype=pl.Categorical(self._categories))

    def numbers(self, ids: pl.Expr) -> pl.Expr:
        """Return the number of each id, UInt32; null for null. Ids not met before get new numbers."""
        return ids.cast(self._kept.dtype).to_physical()

    def ids(self) -> pl.Series:
        """Return the ids by number."""
        return self._categories.to_series()


def places(numbers: Numbers, length: int) -> Numbers:
    """Return where each number stands in `numbers`, shape (length,): the inverse of a permutation's part."""
    found = np.zeros(length, dtype=np.uint32)
    found[numbers] = np.arange(len(numbers), dtype=np.uint32)
    return found


def lookup(column: str, values: pl.Series) -> pl.Expr:
    """Return `values` at the numbers of a column: an id by its row, a row by its number."""
    return pl.col(column).map_batches(lambda rows: values.gather(rows), return_dtype=values.dtype, is_elementwise=True)


def by_pair(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows sorted by user_id, then item_id. Two numbers sort as one, in half the time."""
    if rows.schema["user_id"] != pl.UInt32:
        return rows.sort("user_id", "item_id")
    pair = pl.col("user_id").cast(pl.UInt64) * (1 << 32) + pl.col("item_id")
    return rows.with_columns(pair=pair).sort("pair", maintain_order=True).drop("pair")
