"""Counts over histories: the popularity of items, and the filters that drop rare users and items."""

import polars as pl

from recsys_polars.relational import params, run_sql


def popularity(history: pl.LazyFrame) -> pl.LazyFrame:
    """Count the positives of each item.

    Args:
        history: one row per (user_id, item_id) with `label`.

    Returns:
        One row per item that anyone liked: item_id, n_positives Int64.
    """
    return run_sql("popularity", history=history).with_columns(pl.col("n_positives").cast(pl.Int64))


def filter_counts(pairs: pl.DataFrame, *, min_user: int = 1, min_item: int = 1) -> pl.DataFrame:
    """Drop users with fewer than `min_user` pairs and items with fewer than `min_item`, until no more go (the k-core).

    Args:
        pairs: `Labelled` rows of one history.
        min_user: fewest pairs of a user that stays.
        min_item: fewest pairs of an item that stays.

    Returns:
        The rows that stay, in no promised order.
    """
    if min_user <= 1 and min_item <= 1:
        return pairs
    limits = params(min_user=min_user, min_item=min_item)
    while True:
        kept = run_sql("filter_counts", pairs=pairs.lazy(), params=limits).collect()
        if kept.height == pairs.height:
            return kept
        pairs = kept
