"""What a model may know of each item before a cut: the notebook's meta features and the item's vectors."""

from collections.abc import Sequence

import polars as pl

from recsys_polars.relational import run_sql
from recsys_polars.tables import ItemFeatures, Items, Vectors, as_matrix, vector_columns
from recsys_polars.vectors.numeric import numeric_vectors
from recsys_polars.vectors.tfidf import tfidf_vectors

_LARGEST = 1e30
"""Squares of float64 and sums of float32 stay finite below it."""


def build_item_features(
    items: pl.DataFrame, history: pl.LazyFrame, *, item_features: Sequence[str] = (), text: str = "tfidf"
) -> pl.DataFrame:
    """Build the item table, with everything fitted on the items of `history` alone.

    Args:
        items: `Items` sorted by item_id, with vector columns and item features; one row per item of the catalogue.
        history: one row per (user_id, item_id) known before the cut.
        item_features: further columns of `items` to keep: numbers join the `numeric` block, text is categorical.
        text: `tfidf` or `none`. A `tfidf` block that comes with the items is taken as it is.

    Returns:
        `ItemFeatures` sorted by item_id, then the item features, then one Array(Float32, d) column a vector block:
        `tfidf`, the blocks of `items` in their order, `numeric`.
    """
    known_items = history.select("item_id").unique()
    table = run_sql("item_table", items=items.lazy().select(Items.column_names()), known_items=known_items).collect()
    given = items.select("item_id", *(_in_range(items.schema, name) for name in item_features))
    table = table.sort("item_id").select(ItemFeatures.column_names()).join(given, on="item_id", maintain_order="left")
    known = items["item_id"].is_in(known_items.collect()["item_id"].implode())
    numbers = [name for name in item_features if table.schema[name].is_numeric()]
    blocks = {name: _filled(items[name]) for name in vector_columns(items.schema)}
    if text == "tfidf" and "tfidf" not in blocks:
        blocks = {"tfidf": _array("tfidf", tfidf_vectors(items, known)), **blocks}
    blocks["numeric"] = _array("numeric", numeric_vectors(table, known, item_features=numbers))
    return table.with_columns(series.alias(name) for name, series in blocks.items())


def _in_range(schema: pl.Schema, name: str) -> pl.Expr:
    """An item feature, a number that float32 can't hold as missing."""
    column = pl.col(name)
    return pl.when(column.is_finite() & (column.abs() < _LARGEST)).then(column) if schema[name].is_float() else column


def _filled(vectors: pl.Series) -> pl.Series:
    """The vectors, zeros where an item has none: as an item without text has zeros."""
    width = as_matrix(vectors.head(0)).shape[1]
    return vectors.fill_null(pl.lit([0.0] * width, dtype=vectors.dtype))


def _array(name: str, vectors: Vectors) -> pl.Series:
    return pl.Series(name, vectors, dtype=pl.Array(pl.Float32, vectors.shape[1]))
