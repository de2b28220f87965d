"""Labels: what a user liked."""

import polars as pl

from recsys_polars.relational import params, run_sql


def label_interactions(pairs: pl.LazyFrame, *, min_rating: float = 4.0) -> pl.LazyFrame:
    """Label each pair 1 (rated at least `min_rating`) or 0.

    Args:
        pairs: one row per (user_id, item_id, part), with `is_repeat`. A null rating is implicit feedback: label 1.
        min_rating: lowest rating that counts as liking the item.

    Returns:
        One row per input row, with `label` Int8. Nothing is read until it is collected.

    Example:
        >>> parted = rp.assign_parts(store.scan("interactions")).collect()
        >>> pairs = rp.deduplicate_interactions(parted).lazy()
        >>> labelled = rp.label_interactions(pairs, min_rating=4).sort("event_time").collect()
        >>> labelled.select("rating", "label").head(3).rows()
        [(5.0, 1), (2.0, 0), (4.0, 1)]
    """
    # In the type of the ratings: 3.3 as Float32 is less than 3.3 as Float64.
    threshold = pl.Series([min_rating], dtype=pl.Float32)
    return run_sql("label_interactions", pairs=pairs, params=params(min_rating=threshold))
