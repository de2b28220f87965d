"""The tables of the project and their contracts: one home for every column's name, type, null rule and key.

Row numbers of users and items are never stored: they are the position in the sorted unique ids, derived on opening.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dataframely as dy
import numpy as np
import polars as pl

from recsys_polars.errors import TableError

EventTime = pl.Datetime("us", "UTC")
Vectors = np.ndarray[Any, np.dtype[np.float32]]
"""Rows of float32, in memory or memory-mapped."""
TEXT_BLOCKS = ("tfidf", "minilm")
"""Vector blocks of title and description."""
PARTS = ("train", "valid", "test")
IDS = ("user_id", "item_id")
CUTS = ("valid", "test")
"""The two cuts, by the part that begins there. A table `before` a cut knows nothing of what came at or after it."""


def _id(*, key: bool = True) -> dy.String:
    return dy.String(nullable=False, primary_key=key, min_length=1)


def _event_time() -> dy.Datetime:
    return dy.Datetime(nullable=False, time_unit="us", time_zone="UTC")


def _one_of(values: Sequence[str], *, key: bool = False) -> dy.String:
    return dy.String(nullable=False, primary_key=key, check={"known": lambda column: column.is_in(list(values))})


class Interactions(dy.Schema):
    """What users did, one row per event. Repeats of a (user_id, item_id) pair are legal here."""

    user_id = _id(key=False)
    item_id = _id(key=False)
    rating = dy.Float32(nullable=True)
    event_time = _event_time()


class Items(dy.Schema):
    """The catalogue, one row per item: every id of the metadata and of the interactions. Vector columns may follow."""

    item_id = _id()
    title = dy.String(nullable=True)
    description = dy.String(nullable=True)
    brand = dy.String(nullable=True)
    category = dy.String(nullable=True)
    image_url = dy.String(nullable=True)
    price = dy.Float64(nullable=True)


class Labelled(dy.Schema):
    """The pairs of each part, one row per (user_id, item_id): no pair stands in two parts.

    `train` is the history before the valid cut; `valid` lies between the cuts; `test` at or after the test cut.
    """

    user_id = _id()
    item_id = _id()
    rating = dy.Float32(nullable=True)
    event_time = _event_time()
    label = dy.Int8(nullable=False, is_in=[0, 1])
    part = _one_of(PARTS)


class Repeats(dy.Schema):
    """Later rows of pairs that the user had already before a cut: no truth, but what the pair's history became.

    One row per (user_id, item_id, part); `part` is the part that the row would have stood in.
    """

    user_id = _id()
    item_id = _id()
    rating = dy.Float32(nullable=True)
    event_time = _event_time()
    label = dy.Int8(nullable=False, is_in=[0, 1])
    part = _one_of(CUTS, key=True)


class ItemFeatures(dy.Schema):
    """What a model may know of an item before a cut, one row per item of the catalogue. Vector columns follow."""

    item_id = _id()
    title_len = dy.Int32(nullable=False)
    title_has_digit = dy.Int8(nullable=False, is_in=[0, 1])
    description_text_len = dy.Int32(nullable=False)
    is_top20_brand = dy.Int8(nullable=False, is_in=[0, 1])
    has_price = dy.Int8(nullable=False, is_in=[0, 1])
    is_top9_category_main = dy.Int8(nullable=False, is_in=[0, 1])
    brand = dy.String(nullable=True)
    category = dy.String(nullable=True)
    price = dy.Float64(nullable=True)


class UserMeans(dy.Schema):
    """The mean item vector of each user's positives before a cut. A user without positives there has no row.

    The `mean` column, Array(Float32, d), follows.
    """

    user_id = _id()
    before = _one_of(CUTS, key=True)
    n_positives = dy.UInt32(nullable=False, min=1)


class Predictions(dy.Schema):
    """Ranked lists, sorted by user_id and rank. Rank counts from 1; score falls, ties ascend by item_id."""

    user_id = _id()
    rank = dy.UInt32(nullable=False, primary_key=True, min=1)
    item_id = dy.String(nullable=False, min_length=1)
    score = dy.Float32(nullable=False)


class ItemVectors(dy.Schema):
    """What an item is multiplied by, sorted by item_id. The `vector` column, Array(Float32, d), follows."""

    item_id = _id()


class UserVectors(dy.Schema):
    """What a user is multiplied by, sorted by user_id. The `vector` column, Array(Float32, d), follows."""

    user_id = _id()


def features_table(before: str) -> str:
    """Return the name of the `ItemFeatures` table that serves a cut."""
    return "item_features" if before == "test" else f"item_features_{before}"


def vector_columns(schema: Mapping[str, pl.DataType]) -> list[str]:
    """Return the names of the vector columns, in their order."""
    return [name for name, dtype in schema.items() if isinstance(dtype, pl.Array)]


def as_matrix(vectors: pl.Series) -> Vectors:
    """Return an Array(Float32, d) column as a matrix of shape (n_rows, d)."""
    width = vectors.dtype.shape[0] if isinstance(vectors.dtype, pl.Array) else 0
    return vectors.to_numpy().reshape(len(vectors), width)


def check(table: type[dy.Schema], frame: pl.DataFrame, *, name: str, dense: bool = False) -> pl.DataFrame:
    """Return `frame` if it keeps the contract of `table`; columns outside the contract pass as they are.

    Args:
        table: the contract.
        frame: the rows.
        name: of the table, for the message.
        dense: ids stand as row numbers, UInt32.

    Raises:
        TableError: naming the table, every broken rule and the number of rows that break it.
    """
    missing = [column for column in table.column_names() if column not in frame.columns]
    if missing:
        raise TableError(f"{name}: expected the columns {table.column_names()}, found no {', '.join(missing)}")
    wrong = _wrong_types(table, frame.schema, dense=dense)
    if wrong:
        raise TableError(f"{name}: {'; '.join(wrong)}")
    counts = _broken_rules(table, frame, dense=dense)
    if counts:
        broken = "; ".join(f"{rule}: {rows:,} rows" for rule, rows in counts.items())
        raise TableError(f"{name}: rows break the contract of {table.__name__}: {broken}")
    return frame


def _wrong_types(table: type[dy.Schema], schema: Mapping[str, pl.DataType], *, dense: bool) -> list[str]:
    expected = {name: column.dtype for name, column in table.columns().items()}
    if dense:
        expected |= {name: pl.UInt32() for name in IDS if name in expected}
    return [
        f"{name}: expected {dtype}, found {schema[name]}" for name, dtype in expected.items() if schema[name] != dtype
    ]


def _broken_rules(table: type[dy.Schema], frame: pl.DataFrame, *, dense: bool) -> dict[str, int]:
    """How many rows break each rule of a column, and how many share their key with another row."""
    rules = {
        f"{name}|{rule}": is_kept
        for name, column in table.columns().items()
        for rule, is_kept in column.validation_rules(pl.col(name)).items()
        if not (dense and name in IDS and rule != "nullability")
    }
    broken = frame.select((~is_kept).sum().alias(rule) for rule, is_kept in rules.items()).row(0, named=True)
    broken["primary_key"] = _n_repeated(frame, table.primary_key())
    return {rule: rows for rule, rows in broken.items() if rows}


def _n_repeated(frame: pl.DataFrame, key: Sequence[str]) -> int:
    """How many rows share their key with another: none, at first sight, where the rows ascend by it."""
    if not key or frame.height < 2:
        return 0
    ascends = pl.lit(value=False)
    for name in reversed(key):
        before = pl.col(name).shift()
        ascends = (pl.col(name) > before) | ((pl.col(name) == before) & ascends)
    if frame.lazy().select(ascends.slice(1).all()).collect().item():
        return 0
    return int(frame.select(pl.struct(key).is_duplicated().sum()).item())
