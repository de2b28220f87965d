"""Predictions and truth -> figures, one row per truth user; then means over users, with intervals.

    users = add_list_figures(per_user(predictions, truth, k=k), predictions, popularity, k=k, n_train_users=n)
    summarise(users, n_items=n_items, seed=seed)           # one model
    compare(users_a, users_b, n_items=n_items, seed=seed)  # model A minus model B

Others divide otherwise: AP by |rel| (RecTools, trec_eval), NDCG by an ideal over k (RecTools), precision by the list's
length and recall by min(|rel|, k) (LensKit).
"""

from statistics import NormalDist

import numpy as np
import polars as pl
from numpy.typing import NDArray

from recsys_polars.errors import InputError, TableError

__all__ = ["add_list_figures", "compare", "per_user", "summarise"]

Floats = NDArray[np.float64]

ACCURACY = ("precision", "recall", "ap", "ndcg", "hit_rate", "mrr")
MEANS = (*ACCURACY, "novelty")
"""The figures that are means over users. Coverage, the one that is not, comes last in a summary."""
LEVEL = 0.95


def per_user(predictions: pl.DataFrame, truth: pl.DataFrame, *, k: int) -> pl.DataFrame:
    """How well each truth user's top k matches what they liked; zeros for a truth user without a list.

    precision = hits / k, for shorter lists too; recall = hits / |rel|; ap = the precisions at the hits' ranks, summed,
    / min(|rel|, k); ndcg: gain 1, discount 1 / log2(rank + 1), ideal over min(|rel|, k) (Järvelin & Kekäläinen 2002);
    hit_rate = 1 with any hit; mrr = 1 / rank of the first hit, 0 without one.

    Args:
        predictions: user_id, item_id, rank, in any order. Ranks above k and users outside the truth are ignored.
        truth: user_id, item_id, one row per pair, in any order.
        k: length of the list that is judged.

    Returns:
        user_id, n_relevant, n_hits (UInt32) and `ACCURACY` (Float64), one row per truth user, sorted by user_id.

    Raises:
        InputError: k below 1.
        TableError: an empty truth, a repeated pair in either table, or a user's ranks other than 1, 2, .. n.

    Example:
        >>> lists = pl.DataFrame({"user_id": ["a", "a"], "item_id": ["x", "y"], "rank": [1, 2]})
        >>> truth = pl.DataFrame({"user_id": ["a", "b"], "item_id": ["y", "x"]})
        >>> rp.metrics.per_user(lists, truth, k=2).select("user_id", "n_hits", "precision", "mrr").rows()
        [('a', 1, 0.5, 0.5), ('b', 0, 0.0, 0.0)]
    """
    _check(predictions, truth, k=k)
    ideal_dcg = pl.lit(pl.Series(np.cumsum(1 / np.log2(np.arange(2, min(k, truth.height) + 2)))))
    users = truth.group_by("user_id").agg(n_relevant=pl.len()).sort("user_id")
    return (
        users.join(_hit_sums(predictions, truth, k=k), on="user_id", how="left", maintain_order="left")
        .with_columns(pl.col("n_hits", "ap_sum", "dcg", "mrr").fill_null(0), n_ideal=pl.col("n_relevant").clip(1, k))
        .with_columns(
            precision=pl.col("n_hits") / k,
            recall=pl.col("n_hits") / pl.col("n_relevant"),
            ap=pl.col("ap_sum") / pl.col("n_ideal"),
            ndcg=pl.col("dcg") / ideal_dcg.gather(pl.col("n_ideal") - 1),
            hit_rate=(pl.col("n_hits") > 0).cast(pl.Float64),
        )
        .select("user_id", "n_relevant", "n_hits", *ACCURACY)
    )


def add_list_figures(
    users: pl.DataFrame, predictions: pl.DataFrame, popularity: pl.DataFrame, *, k: int, n_train_users: int
) -> pl.DataFrame:
    """`users` with what each top k shows, liked or not: its novelty, and its part in the coverage.

    novelty: mean self-information -log2(n_positives / n_train_users) of the shown items, in bits (Zhou et al. 2010;
    Vargas & Castells 2011). An item without positives counts as if it had one, as in RecTools: log2(n_train_users).

    Args:
        users: as `per_user` returns, from the same predictions and k.
        predictions: user_id, item_id, rank.
        popularity: item_id, n_positives (users who liked it before the cut), one row per item; items may be missing.
        k: length of the list that is judged.
        n_train_users: users with a positive before the cut.

    Returns:
        `users` in their order and, of the shown items: novelty (Float64, null without a list), n_first (shown to no
        earlier user: they add up to the distinct items shown) and n_only (shown to no other user), UInt32.

    Raises:
        TableError: an item with more positives than there are train users.

    Example:
        >>> lists = pl.DataFrame({"user_id": ["a", "a"], "item_id": ["x", "y"], "rank": [1, 2]})
        >>> truth = pl.DataFrame({"user_id": ["a"], "item_id": ["y"]})
        >>> liked = pl.DataFrame({"item_id": ["x", "y"], "n_positives": [4, 1]})
        >>> users = rp.metrics.per_user(lists, truth, k=2)
        >>> rp.metrics.add_list_figures(users, lists, liked, k=2, n_train_users=4)["novelty"].to_list()
        [1.0]
    """
    if (most := popularity.select(pl.col("n_positives").max().fill_null(0)).item()) > n_train_users:
        raise TableError(f"popularity: expected n_positives up to the {n_train_users:,} train users, found {most:,}")
    share = pl.col("n_positives").fill_null(0).clip(lower_bound=1) / max(n_train_users, 1)
    lists = (
        _shown(predictions, users, k=k)
        .join(popularity.select("item_id", "n_positives"), on="item_id", how="left", maintain_order="left")
        .with_columns(n_lists=pl.len().over("item_id"), first_user=pl.col("user_id").min().over("item_id"))
        .group_by("user_id", maintain_order=True)
        .agg(
            novelty=_sum_in_order((1 / share).log(2)) / pl.len(),
            n_first=(pl.col("first_user") == pl.col("user_id")).sum(),
            n_only=(pl.col("n_lists") == 1).sum(),
        )
    )
    joined = users.join(lists, on="user_id", how="left", maintain_order="left")
    return joined.with_columns(pl.col("n_first", "n_only").fill_null(0))


def summarise(users: pl.DataFrame, *, n_items: int, seed: int, n_resamples: int = 1000) -> pl.DataFrame:
    """Each figure over all users with its 95 % interval: metric, value, low, high; `MEANS` in order, then coverage.

    A mean (over the users who have the figure: novelty needs a list) has a percentile bootstrap interval over users.
    coverage = distinct items shown / n_items: it grows with the number of users. Its interval: see `_coverage`.

    Args:
        users: as `add_list_figures` returns.
        n_items: size of the catalogue.
        seed: of the resampling; the same seed gives the same bytes.
        n_resamples: how often the users are drawn again.

    Raises:
        TableError: fewer items in the catalogue than the lists show.

    Example:
        >>> lists = pl.read_parquet("preds.parquet")
        >>> truth = store.scan("labelled").filter((pl.col("part") == "test") & (pl.col("label") == 1)).collect()
        >>> liked = rp.popularity(store.scan("labelled").filter(pl.col("part") != "test")).collect()
        >>> users = rp.metrics.per_user(lists, truth.select("user_id", "item_id"), k=2)
        >>> users = rp.metrics.add_list_figures(users, lists, liked, k=2, n_train_users=3)
        >>> rp.metrics.summarise(users, n_items=4, seed=42)["metric"].to_list()
        ['precision', 'recall', 'ap', 'ndcg', 'hit_rate', 'mrr', 'novelty', 'coverage']
    """
    values = users.select(MEANS).to_numpy()
    resampled = resample_means(values, seed=seed, n_resamples=n_resamples)
    coverage = _coverage(_shown_counts(users, n_items), n_items)
    return _summary(_means(values), percentile_interval(resampled), np.clip(coverage, 0, 1))


def compare(
    users_a: pl.DataFrame, users_b: pl.DataFrame, *, n_items: int, seed: int, n_resamples: int = 1000
) -> pl.DataFrame:
    """`summarise`'s table for A minus B, with paired intervals: both means of a resample are over the same users.

    Raises:
        TableError: other users or another n_relevant in A than in B, or a catalogue smaller than what the lists show.

    Example:
        >>> truth, liked = ({"user_id": ["a"], "item_id": ["y"]}, {"item_id": ["x"], "n_positives": [1]})
        >>> def judged(item):
        ...     lists = pl.DataFrame({"user_id": ["a"], "item_id": [item], "rank": [1]})
        ...     users = rp.metrics.per_user(lists, pl.DataFrame(truth), k=1)
        ...     return rp.metrics.add_list_figures(users, lists, pl.DataFrame(liked), k=1, n_train_users=1)
        >>> rp.metrics.compare(judged("y"), judged("x"), n_items=2, seed=42).select("metric", "value").row(0)
        ('precision', 1.0)
    """
    if not users_a.select("user_id", "n_relevant").equals(users_b.select("user_id", "n_relevant")):
        raise TableError("compare: expected the same truth for both models, found other users or other n_relevant")
    values = np.hstack([users_a.select(MEANS).to_numpy(), users_b.select(MEANS).to_numpy()])
    resampled = _a_minus_b(resample_means(values, seed=seed, n_resamples=n_resamples))
    shown_counts = _shown_counts(users_a, n_items) - _shown_counts(users_b, n_items)
    return _summary(_a_minus_b(_means(values)), percentile_interval(resampled), _coverage(shown_counts, n_items))


def resample_means(values: Floats, *, seed: int, n_resamples: int = 1000) -> Floats:
    """Column means of bootstrap samples of the rows: (n_users, n_metrics) -> (n_resamples, n_metrics).

    All columns share a resample's draw. NaN is an absent value; a column drawn without any value gets NaN. One draw is
    in memory at a time. No BLAS, so that the number of threads changes no byte.
    """
    rng, n_users = np.random.default_rng(seed), len(values)
    draws = (np.bincount(rng.integers(n_users, size=n_users), minlength=n_users) for _ in range(n_resamples))
    sums_and_counts = _sums_and_counts(values)
    return np.stack([_weighted_means(sums_and_counts, draw.astype(np.float64)) for draw in draws])


def percentile_interval(resampled: Floats) -> Floats:
    """The middle 95 % of each column, NaN left out: (n_resamples, n_metrics) -> (n_metrics, 2), low and high."""
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    columns = (column[~np.isnan(column)] for column in resampled.T)
    return np.array([np.quantile(column, tails) if column.size else [np.nan, np.nan] for column in columns])


def _check(predictions: pl.DataFrame, truth: pl.DataFrame, *, k: int) -> None:
    if k < 1:
        raise InputError(f"k: expected at least 1, found {k}")
    problems = [*_repeats(predictions, "predictions"), *_wrong_ranks(predictions), *_repeats(truth, "truth")]
    if truth.is_empty():
        problems.append("truth: expected at least one pair, found none")
    if problems:
        raise TableError("\n".join(problems))


def _repeats(pairs: pl.DataFrame, name: str) -> list[str]:
    repeated = pairs.group_by("user_id", "item_id").len().filter(pl.col("len") > 1).sort("user_id", "item_id")
    return [
        f"{name}: expected unique pairs, found {user_id!r}, {item_id!r} {times} times (such pairs: {repeated.height:,})"
        for user_id, item_id, times in repeated.head(1).iter_rows()
    ]


def _wrong_ranks(predictions: pl.DataFrame) -> list[str]:
    in_order = pl.col("rank") == pl.int_range(1, pl.len() + 1)
    lists = predictions.sort("user_id", "rank").group_by("user_id", maintain_order=True)
    wrong = lists.agg(pl.col("rank").head(20), right=in_order.all()).filter(~pl.col("right"))
    return [
        f"predictions: expected ranks 1, 2, .. n, found {ranks} for user {user_id!r} (such users: {wrong.height:,})"
        for user_id, ranks in wrong.select("user_id", "rank").head(1).iter_rows()
    ]


def _shown(predictions: pl.DataFrame, users: pl.DataFrame, *, k: int) -> pl.DataFrame:
    """The rows that are judged, sorted by user_id and rank."""
    judged = predictions.filter(pl.col("rank") <= k).join(users, on="user_id", how="semi")
    return judged.select("user_id", "item_id", "rank").sort("user_id", "rank")


def _hit_sums(predictions: pl.DataFrame, truth: pl.DataFrame, *, k: int) -> pl.DataFrame:
    """n_hits, ap_sum (not yet divided), dcg and mrr, one row per user with a hit."""
    hits = _shown(predictions, truth, k=k).join(truth, on=["user_id", "item_id"], how="semi", maintain_order="left")
    return hits.group_by("user_id", maintain_order=True).agg(
        n_hits=pl.len(),
        ap_sum=_sum_in_order(pl.int_range(1, pl.len() + 1) / pl.col("rank")),
        dcg=_sum_in_order(1 / (pl.col("rank") + 1).log(2)),
        mrr=1 / pl.col("rank").min(),
    )


def _sum_in_order(terms: pl.Expr) -> pl.Expr:
    """A group's sum in row order: `sum()` may add in another order, with another last bit, on more threads."""
    return terms.cum_sum().last()


def _sums_and_counts(values: Floats) -> Floats:
    known = ~np.isnan(values)
    return np.hstack([np.where(known, values, 0.0), known.astype(np.float64)])


def _weighted_means(sums_and_counts: Floats, weights: Floats) -> Floats:
    sums, counts = np.split(np.einsum("u,um->m", weights, sums_and_counts), 2)
    return sums / np.where(counts > 0, counts, np.nan)


def _means(values: Floats) -> Floats:
    return _weighted_means(_sums_and_counts(values), np.ones(len(values)))


def _a_minus_b(means: Floats) -> Floats:
    means_a, means_b = np.split(means, 2, axis=-1)
    return means_a - means_b


def _shown_counts(users: pl.DataFrame, n_items: int) -> Floats:
    if (n_shown := users.get_column("n_first").sum()) > n_items:
        raise TableError(f"items: expected at least the {n_shown:,} items that the lists show, found {n_items:,}")
    return users.select("n_first", "n_only").to_numpy().astype(np.float64)


def _coverage(shown_counts: Floats, n_items: int) -> Floats:
    """Coverage, or a difference of two: value, low and high, from n_first and n_only (n_users, 2).

    The jackknife's interval, value +- z standard errors: without user u, n_only[u] items fewer are shown; their spread
    estimates the variance, if anything from above (Efron & Stein 1981). A bootstrap sample has lost a third of the
    users, and the items of their own with them: it would lie wholly below the value.
    """
    value, n_only = float(shown_counts[:, 0].sum()), shown_counts[:, 1]
    margin = NormalDist().inv_cdf((1 + LEVEL) / 2) * float(np.sqrt((len(n_only) - 1) * n_only.var()))
    return np.array([value, value - margin, value + margin]) / n_items


def _summary(means: Floats, intervals: Floats, coverage: Floats) -> pl.DataFrame:
    figures = np.vstack([np.column_stack([means, intervals]), coverage])
    columns = pl.DataFrame(figures, ["value", "low", "high"], orient="row", nan_to_null=True)
    return columns.insert_column(0, pl.Series("metric", [*MEANS, "coverage"]))
