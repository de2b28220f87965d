"""Counts over histories: the popularity of items, and the filters that drop rare users and items."""

from typing import NamedTuple

import polars as pl

from recsys_polars.relational import params, run_sql


class Core(NamedTuple):
    """The users and items of a k-core: a pair belongs to it if both of its ends do."""

    users: pl.Series
    items: pl.Series

    def has(self) -> pl.Expr:
        """Return whether a row's pair belongs to the core."""
        return pl.col("user_id").is_in(self.users.implode()) & pl.col("item_id").is_in(self.items.implode())


def popularity(history: pl.LazyFrame) -> pl.LazyFrame:
    """Count the positives of each item.

    Args:
        history: one row per (user_id, item_id) with `label`.

    Returns:
        One row per item that anyone liked: item_id, n_positives Int64.

    Example:
        >>> known = pl.LazyFrame({"item_id": ["x", "x", "y"], "label": [1, 1, 0]})
        >>> rp.popularity(known).collect().rows()
        [('x', 2)]
    """
    return run_sql("popularity", history=history).with_columns(pl.col("n_positives").cast(pl.Int64))


def find_core(pairs: pl.LazyFrame, *, min_user: int = 1, min_item: int = 1) -> Core | None:
    """Drop users with fewer than `min_user` pairs and items with fewer than `min_item`, until no more go (the k-core).

    Args:
        pairs: user_id, item_id: the pairs of one history, read once a round and never held.
        min_user: fewest pairs of a user that stays.
        min_item: fewest pairs of an item that stays.

    Returns:
        Who stays; None where nobody has to go for both limits are 1.

    Example:
        >>> pairs = pl.LazyFrame({"user_id": ["a", "a", "b", "b", "c"], "item_id": ["x", "y", "x", "y", "z"]})
        >>> core = rp.find_core(pairs, min_user=2, min_item=2)
        >>> pairs.filter(core.has()).select(pl.len()).collect().item()
        4
    """
    if min_user <= 1 and min_item <= 1:
        return None
    limits, n_before, inside = params(min_user=min_user, min_item=min_item), None, pairs
    while True:
        kept = run_sql("filter_counts", pairs=inside, params=limits)
        core = Core(*(kept.select(pl.col(name).unique()).collect().to_series() for name in ("user_id", "item_id")))
        inside = pairs.filter(core.has())
        n_pairs = inside.select(pl.len()).collect().item()
        if n_pairs == n_before:
            return core
        n_before = n_pairs
