"""Figures by group: whom a model serves and with what, how far down its lists, and which items it shows.

Definitions are those of `metrics`; every interval is a 95 % bootstrap interval over users, null where a group has one.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from recsys_polars.metrics import Floats, per_user, percentile_interval, resample_means

GROUPED = ("ndcg", "ap", "hit_rate")
OVER_K = ("precision", "recall")
COUNTS = (0, *(first * 10**power for power in range(18) for first in (1, 3)))
"""Where groups of counts begin: 0, 1, 3, 10, 30, 100 and so on."""
COLD_AND_WARM = (0, 1)
N_DECILES = 10


def by_history(users: pl.DataFrame, likes: pl.DataFrame, *, seed: int, bounds: Sequence[int] = COUNTS) -> pl.DataFrame:
    """The figures of users with few and with many likes before the cut.

    Args:
        users: as `metrics.per_user` returns.
        likes: user_id, n_positives before the cut; a user without a row had none.
        seed: of the resampling.
        bounds: where groups begin, ascending from 0.

    Returns:
        lowest and highest (n_positives of the group's users; null: no limit), n_users, metric (`GROUPED`), value, low,
        high; by lowest, without groups of nobody.
    """
    counted = users.join(likes.select("user_id", "n_positives"), on="user_id", how="left", maintain_order="left")
    groups = _grouped(counted, bounds)
    return pl.concat([_of_group(group, own, seed=seed) for group, own in groups.items()])


def by_popularity(
    predictions: pl.DataFrame, truth: pl.DataFrame, popularity: pl.DataFrame, *, k: int, seed: int
) -> pl.DataFrame:
    """The figures for items that few and that many users liked before the cut: each group alone is the truth.

    Args:
        predictions: user_id, item_id, rank.
        truth: user_id, item_id, one row per pair.
        popularity: item_id, n_positives; an item without a row had none.
        k: length of the list that is judged.
        seed: of the resampling.

    Returns:
        As `by_history`: lowest and highest are n_positives of the group's items, n_users those who took one of them.
    """
    counted = truth.join(popularity.select("item_id", "n_positives"), on="item_id", how="left", maintain_order="left")
    groups = _grouped(counted, COUNTS)
    return pl.concat(
        [
            _of_group(group, per_user(predictions, own.select("user_id", "item_id"), k=k), seed=seed)
            for group, own in groups.items()
        ]
    )


def over_k(predictions: pl.DataFrame, truth: pl.DataFrame, ks: Sequence[int], *, seed: int) -> pl.DataFrame:
    """Precision and recall of the first k places, for each of `ks`: k, metric (`OVER_K`), value, low, high."""
    judged = [per_user(predictions, truth, k=k).select(OVER_K).to_numpy() for k in ks]
    names = {"k": np.repeat(ks, len(OVER_K)), "metric": OVER_K * len(ks)}
    return pl.DataFrame(names).hstack(_with_intervals(np.hstack(judged), seed=seed))


def popularity_deciles(item_ids: pl.Series, popularity: pl.DataFrame) -> pl.DataFrame:
    """Divide a catalogue into ten parts of as many items, to one: the first has those that most users liked.

    Args:
        item_ids: the catalogue.
        popularity: item_id, n_positives before the cut; an item without a row had none.

    Returns:
        item_id, n_positives, decile (1 to 10), the most popular first, ties by item_id.
    """
    counted = item_ids.to_frame("item_id").join(popularity.select("item_id", "n_positives"), on="item_id", how="left")
    ordered = counted.with_columns(pl.col("n_positives").fill_null(0)).sort(
        "n_positives", "item_id", descending=[True, False]
    )
    return ordered.with_columns(decile=1 + pl.int_range(pl.len()) * N_DECILES // pl.len())


def shares_of_deciles(pairs: pl.DataFrame, deciles: pl.DataFrame, *, seed: int) -> pl.DataFrame:
    """How much of what users were shown, or took, is of each decile.

    Args:
        pairs: user_id, item_id. Items outside the catalogue are left out.
        deciles: as `popularity_deciles` returns.
        seed: of the resampling of users.

    Returns:
        decile (1 to 10), n_shown (distinct items), value (its share of the pairs; null without pairs), low, high.
    """
    placed = pairs.join(deciles.select("item_id", "decile"), on="item_id", how="inner")
    counts = _counts_by_user(placed)
    whole = counts.sum()
    shares = counts.sum(axis=0) / whole if whole else np.full(N_DECILES, np.nan)
    intervals = np.full((N_DECILES, 2), np.nan)
    if len(counts) > 1:
        resampled = resample_means(counts, seed=seed)
        intervals = percentile_interval(resampled / resampled.sum(axis=1, keepdims=True))
    n_shown = placed.group_by("decile").agg(n_shown=pl.col("item_id").n_unique().cast(pl.Int64))
    return (
        pl.DataFrame({"decile": np.arange(1, N_DECILES + 1)})
        .join(n_shown, on="decile", how="left", maintain_order="left")
        .with_columns(pl.col("n_shown").fill_null(0))
        .hstack(_columns(np.column_stack([shares, intervals])))
    )


def _grouped(counted: pl.DataFrame, bounds: Sequence[int]) -> dict[tuple[int, int | None], pl.DataFrame]:
    """The rows of each group of n_positives, by its lowest and highest, ascending."""
    starts = np.array(bounds)
    places = np.searchsorted(starts, counted["n_positives"].fill_null(0).to_numpy(), side="right") - 1
    ends = [*(start - 1 for start in bounds[1:]), None]
    return {(bounds[place], ends[place]): counted.filter(pl.Series(places == place)) for place in np.unique(places)}


def _of_group(group: tuple[int, int | None], users: pl.DataFrame, *, seed: int) -> pl.DataFrame:
    lowest, highest = (pl.lit(end, dtype=pl.Int64) for end in group)
    figures = _with_intervals(users.select(GROUPED).to_numpy(), seed=seed)
    return figures.select(
        lowest.alias("lowest"),
        highest.alias("highest"),
        pl.lit(len(users)).alias("n_users"),
        pl.Series("metric", GROUPED),
        "value",
        "low",
        "high",
    )


def _counts_by_user(placed: pl.DataFrame) -> Floats:
    """Pairs of each user in each decile: (n_users, 10)."""
    users = placed["user_id"].unique().sort()
    counts = np.zeros((len(users), N_DECILES))
    np.add.at(counts, (users.search_sorted(placed["user_id"]).to_numpy(), placed["decile"].to_numpy() - 1), 1)
    return counts


def _with_intervals(values: Floats, *, seed: int) -> pl.DataFrame:
    """Column means of (n_users, n_metrics), with the intervals of more than one user."""
    intervals = np.full((values.shape[1], 2), np.nan)
    if len(values) > 1:
        intervals = percentile_interval(resample_means(values, seed=seed))
    return _columns(np.column_stack([values.mean(axis=0), intervals]))


def _columns(figures: Floats) -> pl.DataFrame:
    return pl.DataFrame(figures, ["value", "low", "high"], orient="row", nan_to_null=True)
