"""What the test period brought to items: rows, users, likes and ratings, and how chance would share them out."""

from typing import Any

import numpy as np
import polars as pl

from recsys_polars.foresight import DRAWS, Gaps, Outcome, Rows, Values

Sides = np.ndarray[Any, np.dtype[np.bool_]]

RARE = 0.05
"""A share of the items that may have fewer rows than the data were selected by."""
MOST_RATINGS = 50
"""Items with more test ratings are left out: there is hardly any chance in their mean."""


def list_outcomes(parted: pl.DataFrame, labelled: pl.DataFrame, item_ids: pl.Series) -> list[Outcome]:
    """List what a column of the items might foresee.

    Args:
        parted: `Interactions` and `part`.
        labelled: `Labelled`, nothing filtered out.
        item_ids: the ids of the catalogue, sorted; they number the items.

    Returns:
        The number of test rows, of test users and of test likes, those that differ; and the mean test rating, if any.
    """
    likes = labelled.filter(pl.col("label") == 1)
    counted: dict[bytes, Outcome] = {}
    for name, rows in (("test interactions", parted), ("test users", labelled), ("test likes", likes)):
        items, is_test = _items_and_sides(rows, item_ids)
        before, after = (np.bincount(items[side], minlength=len(item_ids)) for side in (~is_test, is_test))
        counted.setdefault(before.tobytes() + after.tobytes(), count_outcome(name, before, after))
    rated = parted.drop_nulls("rating")
    if rated.is_empty():
        return list(counted.values())
    items, is_test = _items_and_sides(rated, item_ids)
    ratings = rated["rating"].cast(pl.Float64).to_numpy()
    return [*counted.values(), rating_outcome("mean test rating", items, ratings, is_test, n_items=len(item_ids))]


def _items_and_sides(rows: pl.DataFrame, item_ids: pl.Series) -> tuple[Rows, Sides]:
    """The number of each row's item, and whether the row is of the test part."""
    return item_ids.search_sorted(rows["item_id"]).to_numpy().astype(np.int64), (rows["part"] == "test").to_numpy()


def count_outcome(name: str, n_before: Rows, n_after: Rows) -> Outcome:
    """Count the test rows of items with equally many rows before: by chance a coin gives each to one item of a pair.

    What an item needed to stand in the data at all is no chance. Where the data hold items from k rows on, only test
    rows beyond the k-th count; k is the total that all but `RARE` items reach.

    Args:
        name: of the outcome.
        n_before: rows of each item before the test cut, shape (n_items,).
        n_after: at or after it.
    """
    total = n_before + n_after
    needed = int(np.quantile(total[total > 0], RARE, method="lower")) if total.any() else 1
    free = total - np.maximum(n_before, needed)

    def gaps(one: Rows, other: Rows, rng: np.random.Generator) -> Values:
        of_pair = free[one] + free[other]
        by_coins = rng.binomial(of_pair, 0.5, size=(DRAWS, len(one)))
        apart: Values = np.abs(np.vstack([free[one], by_coins]) * 2.0 - of_pair)
        return apart

    of_all = np.where(n_after > 0, total, np.nan)
    return Outcome(name, n_before.astype(np.float64), of_all, np.where(total >= needed, n_before, -1), gaps)


def rating_outcome(name: str, items: Rows, ratings: Values, is_test: Sides, *, n_items: int) -> Outcome:
    """Average the test ratings of items with equally many train ratings of an equal mean.

    By chance the test ratings of a pair are shuffled between its items.

    Args:
        name: of the outcome.
        items: the item of each rating, shape (n,).
        ratings: shape (n,).
        is_test: whether a rating is of the test part, shape (n,).
        n_items: length of the arrays of the outcome.
    """
    n_before, n_after = (np.bincount(items[side], minlength=n_items) for side in (~is_test, is_test))
    sums_before, sums_after = (np.bincount(items[side], ratings[side], n_items) for side in (~is_test, is_test))
    with np.errstate(invalid="ignore"):  # no rows: NaN
        of_train = sums_before / n_before
        of_all = np.where(n_after > 0, (sums_before + sums_after) / (n_before + n_after), np.nan)
    equal = np.unique(np.stack([n_before, sums_before.round(3)], axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    groups = np.where((n_after > 0) & (n_after <= MOST_RATINGS), equal, -1)
    by_item = ratings[is_test][np.argsort(items[is_test], kind="stable")]
    return Outcome(name, of_train, of_all, groups, _rating_gaps(n_after, by_item))


def _rating_gaps(n_ratings: Rows, by_item: Values) -> Gaps:
    starts = n_ratings.cumsum() - n_ratings

    def gaps(one: Rows, other: Rows, rng: np.random.Generator) -> Values:
        both = np.stack([one, other], axis=1)
        sizes = n_ratings[both]
        firsts = sizes.cumsum().reshape(sizes.shape) - sizes  # of each item among the ratings of all pairs
        places = np.arange(sizes.sum())
        rows = places + np.repeat((starts[both] - firsts).ravel(), sizes.ravel())
        pairs = np.repeat(np.arange(len(both)), sizes.sum(axis=1))
        shuffled = np.argsort(pairs + rng.random((DRAWS, len(places))), axis=1)
        values = by_item[rows][np.vstack([places, shuffled])]
        means = np.add.reduceat(values, firsts.ravel(), axis=1).reshape(-1, *sizes.shape) / sizes
        apart: Values = np.abs(means[:, :, 0] - means[:, :, 1]).round(6)
        return apart

    return gaps
