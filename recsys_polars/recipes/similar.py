"""`similar`: the items whose vectors lie nearest to an item's."""

from pathlib import Path

import numpy as np
import polars as pl

from recsys_polars.errors import InputError
from recsys_polars.neighbours import nearest_rows
from recsys_polars.recipes.naming import find_item, titles_of
from recsys_polars.store import Store, open_store
from recsys_polars.tables import TEXT_BLOCKS, features_table


def similar(path: Path, item_id: str, *, block: str | None = None, k: int = 10) -> tuple[str, str, pl.DataFrame]:
    """Find the items nearest to one in the store at `path`, by the vectors that serve the test cut.

    Args:
        path: the store.
        item_id: whose neighbours.
        block: a vector block; None: the text's, or the store's first where there is none.
        k: how many.

    Returns:
        The item's title, the name of the block, and rank, item_id, title, cosine: by cosine, float32, equal ones by
        item_id. Items without a vector are left out.

    Raises:
        InputError: an unknown item or block, or an item without a vector.
        ArtefactError: no store there, or a damaged one.
    """
    store = open_store(path)
    titles = titles_of(store)
    row = find_item(titles, item_id)
    block = _block(store, block)
    vectors = store.tensors(features_table("test"))[block]
    if not vectors[row].any():
        raise InputError(
            f"{item_id}: expected an item with a vector in {block}, found zeros: nothing is known of it there"
        )
    rows, found = nearest_rows(vectors, row, k=k)
    nearest = titles[rows].with_columns(pl.Series("cosine", found), rank=np.arange(1, len(rows) + 1, dtype=np.uint32))
    return titles["title"][row], block, nearest.select("rank", "item_id", "title", "cosine")


def _block(store: Store, block: str | None) -> str:
    blocks: list[str] = store.manifest["blocks"]
    if block is None:
        return next((one for one in blocks if one in TEXT_BLOCKS), blocks[0])
    if block not in blocks:
        raise InputError(f"--block: expected one of {', '.join(blocks)}, found {block!r}")
    return block
