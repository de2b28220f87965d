"""What a model may know before a cut, by row number, and the order of its inputs.

Row numbers are places in the sorted unique ids. Nothing else fixes the order of model inputs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from recsys_polars.errors import ArtefactError, InputError
from recsys_polars.store import Store
from recsys_polars.tables import ItemFeatures, Vectors, features_table

Rows = np.ndarray[Any, np.dtype[np.int64]]
NOBODY = -1
"""In place of a row number: none."""
SEEN_ONLY = -1
"""In place of a label: the user had the item, but the pair was filtered out and is not learnt from."""

META_FEATURES = (
    "title_len",
    "title_has_digit",
    "description_text_len",
    "is_top20_brand",
    "has_price",
    "is_top9_category_main",
)


@dataclass(frozen=True)
class Knowledge:
    """What was known before a cut.

    Attributes:
        user_ids: sorted unique ids of all users of the store, length n_users.
        item_ids: sorted unique ids of the catalogue, length n_items.
        item_table: `ItemFeatures` and item features by item row, without vectors.
        item_vectors: shape (n_items, d), the vector blocks side by side.
        blocks: the columns of each block in `item_vectors`.
        user_rows, item_rows, labels: the history pairs, sorted by user row, then item row; labels 1, 0 or SEEN_ONLY.
        times: the place of each pair's event_time among all different times of the history.
        offsets: shape (n_users + 1,): the pairs of user u are at offsets[u] to offsets[u + 1].
        means: shape (n_means, d), memory-mapped: mean item vectors of users with a positive.
        mean_rows: shape (n_users,): the row of each user in `means`, or NOBODY.
        n_positives: shape (n_users,).
        item_positives: how many users liked each item, shape (n_items,), where the pairs are those of some users only;
            None: the pairs say it.
    """

    user_ids: pl.Series
    item_ids: pl.Series
    item_table: pl.DataFrame
    item_vectors: Vectors
    blocks: Mapping[str, slice]
    user_rows: Rows
    item_rows: Rows
    labels: Rows
    times: Rows
    offsets: Rows
    means: Vectors
    mean_rows: Rows
    n_positives: Rows
    item_positives: Rows | None = None

    @property
    def n_users(self) -> int:
        """Users of the store, with or without a history here."""
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        """Items of the catalogue."""
        return len(self.item_ids)

    @cached_property
    def item_counts(self) -> Rows:
        """The number of users who liked each item, shape (n_items,)."""
        if self.item_positives is not None:
            return self.item_positives
        return np.bincount(self.item_rows[self.labels == 1], minlength=self.n_items)

    @cached_property
    def _likes_in_time(self) -> tuple[Rows, Rows]:
        """The times of all positives, sorted; and item row * n_times + time of each, sorted."""
        liked = self.labels == 1
        times = self.times[liked]
        return np.sort(times), np.sort(self.item_rows[liked] * self._n_times + times)

    @cached_property
    def _n_times(self) -> int:
        return int(self.times.max(initial=-1)) + 2

    def popularity(self, item_rows: Rows, times: Rows | None = None) -> Vectors:
        """Return how much more liked items were than the average one, as known strictly before a time.

        log(n_items (n_i + 1) / (N + n_items)), n_i and N the positives of the item and of all items before the time: 0
        is the average. An example must not know its own time: with its item's full count, less its own like, the count
        of an item would still be one lower in its positives than in its negatives.

        Args:
            item_rows: shape (n,).
            times: as in `times`, shape (n,); None: all that is known.

        Returns:
            Shape (n, 1).
        """
        if times is None:
            of_item, of_all = self.item_counts[item_rows], np.full(len(item_rows), self.item_counts.sum())
        else:
            all_times, likes = self._likes_in_time
            times = np.minimum(times, self._n_times - 1)  # later than all: the rows of the next item begin there
            first = np.searchsorted(likes, item_rows * self._n_times)
            of_item = np.searchsorted(likes, item_rows * self._n_times + times) - first
            of_all = np.searchsorted(all_times, times)
        column: Vectors = np.log(self.n_items * (of_item + 1) / (of_all + self.n_items)).astype(np.float32)[:, None]
        return column

    def rows_of_users(self, user_ids: pl.Series) -> Rows:
        """Return the row of each id, NOBODY for one that the store doesn't know."""
        places = self.user_ids.search_sorted(user_ids).to_numpy().astype(np.int64)
        found = self.user_ids.gather(np.minimum(places, self.n_users - 1)) == user_ids
        return np.where(found.to_numpy(), places, NOBODY)

    def seen(self, users: Rows) -> tuple[Rows, Rows]:
        """Return the items that each of `users` has in their history, liked or not; none for NOBODY.

        Returns:
            Offsets (n + 1,) and item rows: those of users[j] are at offsets[j] to offsets[j + 1].
        """
        starts = self.offsets[users]
        counts = np.where(users == NOBODY, 0, np.diff(self.offsets)[users])
        indptr = np.concatenate([[0], counts.cumsum()])
        places = np.arange(indptr[-1]) + np.repeat(starts - indptr[:-1], counts)
        return indptr, self.item_rows[places]


class ItemSide(NamedTuple):
    """What is known of the items; see `Knowledge`."""

    item_ids: pl.Series
    item_table: pl.DataFrame
    item_vectors: Vectors
    blocks: Mapping[str, slice]


def items_before(store: Store, before: str) -> ItemSide:
    """Open what was known of the items before a cut.

    Raises:
        ArtefactError: the store lacks vectors that its manifest names.
    """
    table = features_table(before)
    features = store.scan(table).select(pl.all().exclude(pl.Array)).collect()
    tensors = store.tensors(table)
    blocks, start = {}, 0
    missing = [name for name in store.manifest["blocks"] if name not in tensors]
    if missing:
        raise ArtefactError(
            f"{store.path}: {table}: expected the vectors {', '.join(missing)}, found none; build it again"
        )
    for name in store.manifest["blocks"]:
        blocks[name] = slice(start, start + tensors[name].shape[1])
        start = blocks[name].stop
    return ItemSide(features["item_id"], features, np.hstack([tensors[name] for name in blocks]), blocks)


def known_before(store: Store, history: pl.LazyFrame, *, before: str) -> Knowledge:
    """Open what was known before the `valid` or the `test` cut.

    Args:
        store: the feature store.
        history: user_id, item_id, event_time, label, one row per pair known before that cut.
        before: the part that begins at the cut.
    """
    items, user_ids = items_before(store, before), user_ids_of(store)
    pairs = _pairs(history, user_ids, items.item_ids)
    user_rows = pairs["user_row"].to_numpy().astype(np.int64)
    counts = store.scan("user_means").filter(pl.col("before") == before).select("user_id", "n_positives").collect()
    mean_rows, n_positives = np.full(len(user_ids), NOBODY), np.zeros(len(user_ids), dtype=np.int64)
    of_users = user_ids.search_sorted(counts["user_id"]).to_numpy()
    mean_rows[of_users] = np.arange(counts.height)
    n_positives[of_users] = counts["n_positives"].to_numpy()
    return Knowledge(
        user_ids=user_ids,
        **items._asdict(),
        user_rows=user_rows,
        item_rows=pairs["item_row"].to_numpy().astype(np.int64),
        labels=pairs["label"].to_numpy().astype(np.int64),
        times=pairs["time"].to_numpy().astype(np.int64),
        offsets=np.searchsorted(user_rows, np.arange(len(user_ids) + 1)),
        means=store.tensors("user_means")[before],
        mean_rows=mean_rows,
        n_positives=n_positives,
    )


def user_ids_of(store: Store) -> pl.Series:
    """Return the sorted unique ids of all users of a store: row numbers are places in them."""
    users = pl.concat([store.scan(table).select("user_id") for table in ("labelled", "repeats", "filtered")])
    return users.unique().collect()["user_id"].sort()


def _pairs(rows: pl.LazyFrame, user_ids: pl.Series, item_ids: pl.Series) -> pl.DataFrame:
    users = pl.LazyFrame({"user_id": user_ids}).with_row_index("user_row")
    items = pl.LazyFrame({"item_id": item_ids}).with_row_index("item_row")
    numbered = rows.join(users, on="user_id").join(items, on="item_id")
    time = pl.col("event_time").rank("dense") - 1
    return numbered.select("user_row", "item_row", "label", time=time).sort("user_row", "item_row").collect()


def user_vectors(known: Knowledge, users: Rows, *, without: Rows | None = None) -> tuple[Vectors, Rows]:
    """Gather the mean vector and the number of positives of users, one item left out of both where asked.

    Args:
        known: what is known.
        users: user rows, shape (n,).
        without: for each user the row of one of their positives that is to be unknown, or NOBODY; shape (n,).

    Returns:
        Shape (n, d) and (n,). A user without (other) positives has zeros and count 0. The mean without item i is
        (n_positives * mean - item_vectors[i]) / (n_positives - 1).
    """
    rows, counts = known.mean_rows[users], known.n_positives[users]
    vectors = np.zeros((len(users), known.item_vectors.shape[1]), dtype=np.float32)
    vectors[rows != NOBODY] = known.means[rows[rows != NOBODY]]
    if without is None:
        return vectors, counts
    left = np.flatnonzero(without != NOBODY)
    n = counts[left, None].astype(np.float32)
    rest = (n * vectors[left] - known.item_vectors[without[left]]) / np.maximum(n - 1, 1)
    vectors[left] = np.where(n > 1, rest, np.float32(0))
    counts[left] -= 1
    return vectors, counts


def numeric_inputs(known: Knowledge, blocks: Sequence[str]) -> tuple[Vectors, list[str]]:
    """Return what trees see of each item: vector blocks, meta features, item features and the price; and the names.

    Returns:
        Shape (n_items, n_inputs); NaN where a price or an item feature is missing.
    """
    table = known.item_table
    names = [*META_FEATURES, *_given(known, lambda dtype: dtype.is_numeric()), "price"]
    numbers = table.select(pl.col(name).cast(pl.Float32).fill_null(float("nan")) for name in names).to_numpy()
    columns = vector_columns_of(known, blocks)
    named = [f"{block}_{place}" for block in blocks for place in range(width(known.blocks[block]))]
    return np.hstack([known.item_vectors[:, columns], numbers]), named + names


def _given(known: Knowledge, is_kind: Callable[[pl.DataType], bool]) -> list[str]:
    """The item features that the user asked for, of one kind."""
    own = ItemFeatures.column_names()
    return [name for name, dtype in known.item_table.schema.items() if name not in own and is_kind(dtype)]


def categorical_inputs(known: Knowledge) -> tuple[list[list[str]], list[str]]:
    """Return each category's value by item, a missing one as the empty string; and the names, brand first."""
    table = known.item_table
    names = ["brand", "category", *_given(known, lambda dtype: dtype == pl.String)]
    return [table[name].fill_null("").to_list() for name in names], names


def vector_columns_of(known: Knowledge, blocks: Sequence[str]) -> Rows:
    """Return the columns of `item_vectors` that make up `blocks`, in their order.

    Raises:
        InputError: the store lacks one of the blocks.
    """
    missing = [block for block in blocks if block not in known.blocks]
    if missing:
        raise InputError(f"vector blocks: expected {', '.join(missing)}, found {', '.join(known.blocks)}")
    columns = [np.arange(known.blocks[block].start, known.blocks[block].stop) for block in blocks]
    return np.concatenate(columns) if columns else np.empty(0, dtype=np.int64)


def width(columns: slice) -> int:
    """Return the number of columns of a block."""
    return int(columns.stop - columns.start)
