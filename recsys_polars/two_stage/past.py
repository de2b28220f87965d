"""What was known of users and items before a cut, as sparse matrices: what signals are computed from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse
from sklearn.preprocessing import normalize

from recsys_polars.tables import as_matrix, vector_columns

Rows: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float32]
Csr: TypeAlias = Any
"""A `scipy.sparse.csr_array`; scipy has no types. Products with it go row by row: no user's bits depend on another."""

GROUPS = ("category", "brand", "title", "description")
"""Columns of `Items` whose equal values make a group; item features of text are others."""


@dataclass(frozen=True)
class Catalogue:
    """What is known of users and items at all times.

    Attributes:
        user_ids, item_ids: sorted unique ids; row numbers are places in them.
        texts: title, description, brand and category of each item, in one string.
        groups: by column, the group of each item, shape (n_items,); items without a value are a group of their own.
        numbers: the price and the numeric item features, named `given[NAME]`, shape (n_items,);
            NaN where missing.
        vectors: the vector blocks that came with the items, named `vector[NAME]`, rows of length 1.
    """

    user_ids: pl.Series
    item_ids: pl.Series
    texts: Sequence[str]
    groups: Mapping[str, Rows]
    numbers: Mapping[str, Floats]
    vectors: Mapping[str, Floats]

    @property
    def shape(self) -> tuple[int, int]:
        """Users and items."""
        return len(self.user_ids), len(self.item_ids)


@dataclass(frozen=True)
class Past:
    """What was known before a cut. An age is the time up to the last known event, over the whole time known: 0 to 1.

    Attributes:
        likes: shape (n_users, n_items), 1 where the user liked the item.
        like_ages: the same pattern, how long ago.
        n_events, n_users: of each item, repeats of a pair counted and not counted, shape (n_items,). Pairs that were
            filtered out are left out here and everywhere.
        first_ages, last_ages: of each item's first and last event, NaN where it had none, shape (n_items,).
    """

    catalogue: Catalogue
    likes: Csr
    like_ages: Csr
    n_events: Floats
    n_users: Floats
    first_ages: Floats
    last_ages: Floats


def catalogue_of(items: pl.DataFrame, user_ids: pl.Series, *, item_features: Sequence[str] = ()) -> Catalogue:
    """Make a catalogue of `Items` sorted by item_id, with the item features and vector columns that follow."""
    texts = items.select(pl.concat_str("title", "description", "brand", "category", separator=" ", ignore_nulls=True))
    given = items.select(pl.col(name).alias(f"given[{name}]") for name in item_features)
    numbers = items.select("price", *given.select(pl.selectors.numeric()))
    groups = items.select(*GROUPS, *given.select(pl.selectors.string()))
    codes = groups.select(pl.all().fill_null("").rank("dense").cast(pl.Int64) - 1)
    return Catalogue(
        user_ids=user_ids,
        item_ids=items["item_id"],
        texts=texts.to_series().to_list(),
        # Not by the codes: an item without anything but an id, which may come later, must not make a second group.
        groups={name: codes[name].to_numpy() for name in codes.columns if groups[name].drop_nulls().n_unique() > 1},
        numbers={name: numbers[name].cast(pl.Float32).fill_null(np.nan).to_numpy() for name in numbers.columns},
        vectors={f"vector[{name}]": _unit_rows(items[name]) for name in vector_columns(items.schema)},
    )


def past_of(catalogue: Catalogue, history: pl.DataFrame, events: pl.DataFrame) -> Past:
    """Gather what was known before a cut.

    Args:
        catalogue: of all users and items.
        history: user_id, item_id, event_time, label: one row per pair.
        events: item_id, event_time: every event, repeats of a pair included; not empty.
    """
    times = events["event_time"].dt.epoch("us").to_numpy()
    now, span = int(times.max()), max(1, int(times.max() - times.min()))
    item_rows = rows_of(catalogue.item_ids, events["item_id"])
    liked = history.filter(pl.col("label") == 1)
    n_items = len(catalogue.item_ids)
    first, last = np.full(n_items, np.nan), np.full(n_items, np.nan)
    np.fmin.at(last, item_rows, (now - times) / span)
    np.fmax.at(first, item_rows, (now - times) / span)
    pairs = rows_of(catalogue.user_ids, liked["user_id"]), rows_of(catalogue.item_ids, liked["item_id"])
    ages = (now - liked["event_time"].dt.epoch("us").to_numpy()) / span
    n_users = np.bincount(rows_of(catalogue.item_ids, history["item_id"]), minlength=n_items)
    return Past(
        catalogue=catalogue,
        likes=_matrix(np.ones(liked.height, dtype=np.float32), pairs, catalogue.shape),
        like_ages=_matrix(ages.astype(np.float32), pairs, catalogue.shape),
        n_events=np.bincount(item_rows, minlength=n_items).astype(np.float32),
        n_users=n_users.astype(np.float32),
        first_ages=first.astype(np.float32),
        last_ages=last.astype(np.float32),
    )


def rows_of(sorted_ids: pl.Series, ids: pl.Series) -> Rows:
    """Return the places of known ids."""
    return sorted_ids.search_sorted(ids).to_numpy().astype(np.int64)


def _unit_rows(vectors: pl.Series) -> Floats:
    """The vectors at length 1, a missing one as zeros."""
    missing = vectors.is_null().to_numpy()
    rows: Floats = normalize(np.where(missing[:, None], np.float32(0), np.nan_to_num(as_matrix(vectors))))
    return rows


def _matrix(values: Floats, pairs: tuple[Rows, Rows], shape: tuple[int, int]) -> Csr:
    matrix = sparse.csr_array((values, pairs), shape=shape)
    matrix.sort_indices()
    return matrix
