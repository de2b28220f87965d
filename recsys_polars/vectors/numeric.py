"""The `numeric` block: the numbers of the item table, on one scale."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from sklearn.preprocessing import StandardScaler

from recsys_polars.tables import Vectors

FLAGS = ("is_top20_brand", "has_price", "is_top9_category_main")
ORDER = ("title_len", "description_text_len", *FLAGS, "price")
MISSING_PRICE = -1.0


def numeric_vectors(item_table: pl.DataFrame, known: pl.Series, *, item_features: Sequence[str] = ()) -> Vectors:
    """Standardise the numbers of each item, fitted on the known items alone.

    Args:
        item_table: `ItemFeatures`, one row per item.
        known: Boolean, one value a row: the item had an interaction before the cut.
        item_features: further numeric columns of `item_table`.

    Returns:
        Shape (n_items, 6 + len(item_features)): the notebook's order, then `item_features`. Flags stay 0 or 1. A
        missing price counts as -1, as in the notebook (`has_price` tells); a missing item feature as the known mean.
    """
    columns = [*ORDER, *item_features]
    values = item_table.select(
        pl.col(column).cast(pl.Float64).fill_null(MISSING_PRICE if column == "price" else np.nan) for column in columns
    ).to_numpy()
    scaled = [index for index, column in enumerate(columns) if column not in FLAGS]
    fitted_on = values[known.to_numpy()]
    fitted_on[:, np.isnan(fitted_on).all(axis=0)] = 0  # nothing known of a feature: nothing to scale it by
    if len(fitted_on):
        values[:, scaled] = StandardScaler().fit(fitted_on[:, scaled]).transform(values[:, scaled])
    numbers: Vectors = np.nan_to_num(values, nan=0.0).astype(np.float32)
    return numbers
