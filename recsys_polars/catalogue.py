"""The catalogue: one row per item, whatever the metadata repeats or lacks."""

import polars as pl

from recsys_polars.relational import run_sql
from recsys_polars.tables import Items


def deduplicate_items(items: pl.LazyFrame) -> pl.DataFrame:
    """Keep the fullest row of each item.

    Args:
        items: `Items` rows in any order, ids repeated; further columns (vectors, item features) may follow.

    Returns:
        `Items` with those columns, one row per item_id, sorted by item_id. Which row stays doesn't depend on the order
        of the rows: see `sql/deduplicate_items.sql`.

    Example:
        >>> described = store.scan("items").with_columns(title=pl.lit("Lamp"))
        >>> rp.deduplicate_items(pl.concat([store.scan("items"), described]))["title"].to_list()
        ['Lamp', 'Lamp', 'Lamp', 'Lamp']
    """
    rows = items.with_row_index("source_row").collect()
    is_repeated = pl.len().over("item_id") > 1
    repeated = rows.filter(is_repeated)
    chosen = run_sql(
        "deduplicate_items",
        items=repeated.lazy().select(*Items.column_names(), "source_row", tie_break=_other_columns_as_text(repeated)),
    ).collect()
    best = repeated.join(chosen, on=["item_id", "source_row"], how="semi")
    return pl.concat([rows.filter(~is_repeated), best]).drop("source_row").sort("item_id")


def _other_columns_as_text(items: pl.DataFrame) -> pl.Expr:
    others = [name for name in items.columns if name not in {*Items.column_names(), "source_row"}]
    if not others:
        return pl.lit(None, dtype=pl.String)
    return pl.struct(others).struct.json_encode()


def complete_catalogue(items: pl.DataFrame, interactions: pl.LazyFrame) -> pl.DataFrame:
    """Add the items that only the interactions know, with nothing but their id.

    Args:
        items: `Items`, one row per item.
        interactions: `Interactions`.

    Returns:
        `Items`, sorted by item_id: the union of the ids of both.

    Example:
        >>> items = store.scan("items").filter(pl.col("item_id") == "x").collect()
        >>> rp.complete_catalogue(items, store.scan("interactions"))["item_id"].to_list()
        ['w', 'x', 'y', 'z']
    """
    ids = run_sql("catalogue", items=items.lazy().select("item_id"), interactions=interactions.select("item_id"))
    return ids.collect().join(items, on="item_id", how="left", maintain_order="left").sort("item_id")
