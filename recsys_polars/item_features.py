"""What a model may know of each item before a cut: the notebook's meta features and the item's vectors."""

from collections.abc import Collection, Sequence

import polars as pl

from recsys_polars.relational import run_sql
from recsys_polars.tables import ItemFeatures, Items, Vectors, as_matrix, vector_columns
from recsys_polars.vectors.numeric import numeric_vectors
from recsys_polars.vectors.reduced import reduced_vectors
from recsys_polars.vectors.tfidf import TEXT_DIMENSIONS, tfidf_vectors

_LARGEST = 1e30
"""Squares of float64 and sums of float32 stay finite below it."""


def build_item_features(
    items: pl.DataFrame,
    history: pl.LazyFrame,
    *,
    item_features: Sequence[str] = (),
    text: str = "tfidf",
    encoded: Collection[str] = (),
    dimensions: int = TEXT_DIMENSIONS,
) -> pl.DataFrame:
    """Build the item table, with everything fitted on the items of `history` alone.

    Args:
        items: `Items` sorted by item_id, with vector columns and item features; one row per item of the catalogue.
        history: one row per (user_id, item_id) known before the cut.
        item_features: further columns of `items` to keep: numbers join the `numeric` block, text is categorical.
        text: with `tfidf` there is such a block. One that comes with the items is taken as it is.
        encoded: vector columns of `items` that an encoder made: they are reduced, the others taken as they are.
        dimensions: width of the `tfidf` block, and of the encoded ones, where their encoder's isn't smaller.

    Returns:
        `ItemFeatures` sorted by item_id, then the item features, then one Array(Float32, d) column a vector block:
        `tfidf`, the blocks of `items` in their order, the encoded ones, `numeric`.

    Example:
        >>> items = store.scan("items").with_columns(title=pl.col("item_id") + " marks 1").collect()
        >>> known = rp.history(store.scan("labelled"), store.scan("repeats"), before="test")
        >>> features = rp.build_item_features(items, known, text="none")
        >>> features.select("item_id", "title_len", "title_has_digit").row(0)
        ('w', 9, 1)
    """
    known_items = history.select("item_id").unique()
    table = run_sql("item_table", items=items.lazy().select(Items.column_names()), known_items=known_items).collect()
    given = items.select("item_id", *(_in_range(items.schema, name) for name in item_features))
    table = table.sort("item_id").select(ItemFeatures.column_names()).join(given, on="item_id", maintain_order="left")
    known = items["item_id"].is_in(known_items.collect()["item_id"].implode())
    numbers = [name for name in item_features if table.schema[name].is_numeric()]
    blocks = {name: _filled(items[name]) for name in vector_columns(items.schema) if name not in encoded}
    if text == "tfidf" and "tfidf" not in blocks:
        blocks = {"tfidf": _array("tfidf", tfidf_vectors(items, known, dimensions=dimensions)), **blocks}
    for name in encoded:
        blocks[name] = _array(name, reduced_vectors(items[name], known, dimensions=dimensions))
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
