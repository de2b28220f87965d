import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from implicit.evaluation import ranking_metrics_at_k
from polars.testing import assert_frame_equal
from scipy.sparse import csr_matrix
from sklearn.metrics import ndcg_score

from recsys_polars.errors import InputError, TableError
from recsys_polars.metrics import (
    ACCURACY,
    MEANS,
    add_list_figures,
    compare,
    per_user,
    percentile_interval,
    resample_means,
    summarise,
)
from tests.oracles import metrics as oracle
from tests.oracles.notebook import apk, precision_at_k

Lists = dict[str, list[str]]
Truth = dict[str, set[str]]

ITEM_IDS = [f"item {letter}" for letter in "abcdefgh"]
USER_IDS = ["amy", "bob", "cy", "dee", "eve", "flo"]
lists_of_users = st.dictionaries(
    st.sampled_from(USER_IDS), st.lists(st.sampled_from(ITEM_IDS), min_size=1, unique=True), max_size=6
)
truths = st.dictionaries(st.sampled_from(USER_IDS), st.sets(st.sampled_from(ITEM_IDS), min_size=1), min_size=1)


def predictions_of(lists: Lists) -> pl.DataFrame:
    rows = [(user, item, rank) for user, items in lists.items() for rank, item in enumerate(items, start=1)]
    return pl.DataFrame(rows, {"user_id": pl.String, "item_id": pl.String, "rank": pl.UInt32}, orient="row")


def truth_of(truth: Truth) -> pl.DataFrame:
    rows = [(user, item) for user, items in truth.items() for item in sorted(items)]
    return pl.DataFrame(rows, {"user_id": pl.String, "item_id": pl.String}, orient="row")


def popularity_of(n_positives: dict[str, int]) -> pl.DataFrame:
    schema = {"item_id": pl.String, "n_positives": pl.UInt32}
    return pl.DataFrame(list(n_positives.items()), schema, orient="row")


def figures_of(lists: Lists, truth: Truth, *, k: int) -> pl.DataFrame:
    return per_user(predictions_of(lists), truth_of(truth), k=k)


def users_of(
    lists: Lists, truth: Truth, *, k: int, n_positives: dict[str, int] | None = None, n_train_users: int = 8
) -> pl.DataFrame:
    popularity = popularity_of(n_positives or {})
    figures = figures_of(lists, truth, k=k)
    return add_list_figures(figures, predictions_of(lists), popularity, k=k, n_train_users=n_train_users)


def row_of(summary: pl.DataFrame, metric: str) -> tuple[float, float, float]:
    value, low, high = summary.filter(metric=metric).select("value", "low", "high").row(0)
    return value, low, high


def random_lists(seed: int, *, n_users: int, n_items: int, length: int) -> tuple[Lists, Truth]:
    """Full lists of distinct items, and truths of 1 to 2 x length items, so that |rel| lies on both sides of k."""
    rng = np.random.default_rng(seed)
    items = np.array([f"i{number:03}" for number in range(n_items)])
    users = [f"u{number:03}" for number in range(n_users)]
    sizes = rng.integers(1, min(2 * length, n_items) + 1, size=n_users)
    lists = {user: rng.choice(items, length, replace=False).tolist() for user in users}
    truth = {
        user: set(rng.choice(items, size, replace=False).tolist()) for user, size in zip(users, sizes, strict=True)
    }
    return lists, truth


# Each figure, seen by eye


def test_two_hits_in_three_places_with_three_relevant() -> None:
    figures = figures_of({"amy": ["a", "x", "b"]}, {"amy": {"a", "b", "c"}}, k=3)
    expected = pl.DataFrame(
        {
            "user_id": ["amy"],
            "n_relevant": [3],
            "n_hits": [2],
            "precision": [2 / 3],
            "recall": [2 / 3],
            "ap": [(1 / 1 + 2 / 3) / 3],
            "ndcg": [(1 + 1 / 2) / (1 + 1 / np.log2(3) + 1 / 2)],
            "hit_rate": [1.0],
            "mrr": [1.0],
        },
        schema_overrides={"n_relevant": pl.UInt32, "n_hits": pl.UInt32},
    )
    assert_frame_equal(figures, expected)


def test_a_perfect_list_scores_one_in_all_but_recall_when_more_is_relevant_than_fits() -> None:
    figures = figures_of({"amy": ["a", "b"]}, {"amy": {"a", "b", "c", "d"}}, k=2)
    assert figures.select(ACCURACY).row(0) == pytest.approx((1, 0.5, 1, 1, 1, 1))


def test_a_list_shorter_than_k_still_divides_by_k() -> None:
    assert figures_of({"amy": ["a"]}, {"amy": {"a"}}, k=4)["precision"].item() == 0.25


def test_a_list_shorter_than_k_can_be_perfect_in_ap_and_ndcg() -> None:
    assert figures_of({"amy": ["a"]}, {"amy": {"a"}}, k=4).select("ap", "ndcg").row(0) == (1, 1)


def test_a_hit_below_k_is_no_hit() -> None:
    assert figures_of({"amy": ["x", "y", "a"]}, {"amy": {"a"}}, k=2).select(ACCURACY).row(0) == (0, 0, 0, 0, 0, 0)


def test_the_first_hit_at_rank_two_has_a_reciprocal_rank_of_one_half() -> None:
    assert figures_of({"amy": ["x", "a", "b"]}, {"amy": {"a", "b"}}, k=3)["mrr"].item() == 0.5


def test_truth_users_without_a_list_score_zero_and_others_are_ignored() -> None:
    figures = figures_of({"amy": ["a"], "stranger": ["a"]}, {"zoe": {"a"}, "amy": {"a"}}, k=1)
    assert figures.select("user_id", "ap").rows() == [("amy", 1.0), ("zoe", 0.0)]


def test_without_any_list_every_truth_user_scores_zero() -> None:
    figures = figures_of({}, {"amy": {"a"}, "bob": {"b"}}, k=10)
    assert figures.select(pl.sum("n_hits", *ACCURACY)).row(0) == (0,) * 7
    assert not figures.select(pl.any_horizontal(pl.all().is_null().any())).item()


def test_the_order_of_the_input_rows_changes_nothing() -> None:
    lists, truth = random_lists(3, n_users=20, n_items=12, length=6)
    shuffled = per_user(
        predictions_of(lists).sample(fraction=1, shuffle=True, seed=1),
        truth_of(truth).sample(fraction=1, shuffle=True, seed=2),
        k=5,
    )
    assert_frame_equal(shuffled, figures_of(lists, truth, k=5), check_exact=True)


# Novelty and coverage


def test_novelty_is_the_mean_of_minus_log2_of_the_share_of_users() -> None:
    users = users_of({"amy": ["all", "half"]}, {"amy": {"z"}}, k=2, n_positives={"all": 8, "half": 4}, n_train_users=8)
    assert users["novelty"].item() == (0 + 1) / 2


def test_an_item_without_positives_is_as_novel_as_one_with_one() -> None:
    lists = {"amy": ["unknown"], "bob": ["never liked"], "cy": ["liked once"]}
    truth = {user: {"z"} for user in lists}
    users = users_of(lists, truth, k=1, n_positives={"never liked": 0, "liked once": 1}, n_train_users=8)
    assert users["novelty"].to_list() == [3, 3, 3]


def test_a_user_without_a_list_has_no_novelty_and_is_left_out_of_its_mean() -> None:
    users = users_of({"amy": ["a"]}, {"amy": {"a"}, "bob": {"a"}}, k=1, n_train_users=4)
    assert users["novelty"].to_list() == [2, None]
    assert row_of(summarise(users, n_items=1, seed=0, n_resamples=50), "novelty") == (2, 2, 2)


def test_shown_items_count_for_the_first_user_and_for_the_only_one() -> None:
    users = users_of({"amy": ["a", "b"], "bob": ["b", "c"], "cy": []}, {u: {"z"} for u in ("amy", "bob", "cy")}, k=2)
    assert users.select("n_first", "n_only").rows() == [(2, 1), (1, 1), (0, 0)]


def test_coverage_is_of_the_top_k_of_truth_users_over_the_catalogue() -> None:
    users = users_of({"amy": ["a", "b", "cut off"], "stranger": ["d"]}, {"amy": {"z"}}, k=2)
    assert row_of(summarise(users, n_items=8, seed=0, n_resamples=10), "coverage")[0] == 2 / 8


def test_the_same_list_for_everyone_covers_the_same_items_whoever_is_asked() -> None:
    users = users_of({"amy": ["a", "b"], "bob": ["b", "a"]}, {"amy": {"z"}, "bob": {"z"}}, k=2)
    assert row_of(summarise(users, n_items=4, seed=0, n_resamples=10), "coverage") == (0.5, 0.5, 0.5)


# Intervals


def test_a_bootstrap_standard_error_is_that_of_the_mean() -> None:
    values = np.random.default_rng(0).normal(size=(400, 1))
    resampled = resample_means(values, seed=1, n_resamples=2000)
    assert resampled.std() == pytest.approx(values.std() / np.sqrt(400), rel=0.05)
    assert percentile_interval(resampled)[0] == pytest.approx(values.mean() + np.array([-1.96, 1.96]) / 20, abs=0.01)


def test_all_metrics_see_the_same_draws() -> None:
    column = np.random.default_rng(0).random(30)
    resampled = resample_means(np.column_stack([column, 2 * column]), seed=1, n_resamples=20)
    assert resampled[:, 1] == pytest.approx(2 * resampled[:, 0])


def test_a_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    values = np.random.default_rng(0).random((30, 2))
    first, again, other = (resample_means(values, seed=seed, n_resamples=20) for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes() != other.tobytes()


def test_one_user_has_an_interval_of_no_width() -> None:
    summary = summarise(users_of({"amy": ["a"]}, {"amy": {"a"}}, k=1), n_items=2, seed=0, n_resamples=20)
    assert summary.select(pl.all_horizontal(pl.col("low", "high") == pl.col("value")).all()).item()


def test_the_interval_holds_the_mean_of_the_population_about_19_times_in_20() -> None:
    rng = np.random.default_rng(0)
    samples = rng.binomial(10, 0.3, size=(200, 80)) / 10
    intervals = [percentile_interval(resample_means(s[:, None], seed=1, n_resamples=200))[0] for s in samples]
    assert 0.9 <= np.mean([low <= 0.3 <= high for low, high in intervals]) <= 0.99


def test_the_coverage_interval_holds_the_mean_coverage_of_other_samples_of_as_many_users() -> None:
    summaries = [summary_of_random_lists(seed) for seed in range(40)]
    coverage = np.array([row_of(summary, "coverage") for summary in summaries])
    holds = (coverage[:, 1] <= coverage[:, 0].mean()) & (coverage[:, 0].mean() <= coverage[:, 2])
    assert holds.mean() >= 0.9


def summary_of_random_lists(seed: int) -> pl.DataFrame:
    lists, truth = random_lists(seed, n_users=40, n_items=400, length=10)
    return summarise(users_of(lists, truth, k=10), n_items=400, seed=0, n_resamples=2)


def test_a_coverage_interval_ends_at_the_whole_catalogue() -> None:
    users = users_of({"amy": ["a", "b"], "bob": []}, {"amy": {"z"}, "bob": {"z"}}, k=2)
    assert row_of(summarise(users, n_items=2, seed=0, n_resamples=10), "coverage")[2] == 1


def test_a_summary_has_every_metric_in_order_and_value_within_low_and_high() -> None:
    lists, truth = random_lists(5, n_users=60, n_items=30, length=8)
    summary = summarise(users_of(lists, truth, k=5), n_items=30, seed=0)
    assert summary["metric"].to_list() == [*MEANS, "coverage"]
    assert summary.select((pl.col("low") <= pl.col("value")).all() & (pl.col("value") <= pl.col("high")).all()).item()
    assert summary.schema == {"metric": pl.String, "value": pl.Float64, "low": pl.Float64, "high": pl.Float64}


def test_without_any_list_novelty_is_null_and_the_rest_zero() -> None:
    summary = summarise(users_of({}, {"amy": {"a"}}, k=1), n_items=3, seed=0, n_resamples=20)
    assert summary.filter(metric="novelty").select("value", "low", "high").row(0) == (None, None, None)
    assert summary.filter(pl.col("metric") != "novelty").select(pl.sum("value", "low", "high")).row(0) == (0, 0, 0)


# One model against another


def test_a_model_against_itself_differs_by_nothing() -> None:
    lists, truth = random_lists(6, n_users=10, n_items=12, length=5)
    users = users_of(lists, truth, k=5)
    difference = compare(users, users, n_items=12, seed=0, n_resamples=50)
    assert difference.select(pl.sum("value", "low", "high")).row(0) == (0, 0, 0)


def test_a_gain_shared_by_every_user_is_certain_though_each_mean_is_not() -> None:
    lists, truth = random_lists(7, n_users=50, n_items=30, length=8)
    worse = users_of(lists, truth, k=5)
    better = worse.with_columns(pl.col("ap") + 0.01)
    assert row_of(compare(better, worse, n_items=30, seed=0), "ap") == pytest.approx((0.01, 0.01, 0.01))
    _, low, high = row_of(summarise(better, n_items=30, seed=0), "ap")
    assert high - low > 0.02


def test_a_difference_is_a_minus_b_for_each_metric() -> None:
    (lists_a, truth), (lists_b, _) = (random_lists(seed, n_users=20, n_items=12, length=5) for seed in (8, 9))
    users_a, users_b = (users_of(lists, truth, k=3) for lists in (lists_a, lists_b))
    summary_a, summary_b = (summarise(users, n_items=12, seed=0, n_resamples=20) for users in (users_a, users_b))
    difference = compare(users_a, users_b, n_items=12, seed=0, n_resamples=20)
    assert difference["value"].to_list() == pytest.approx((summary_a["value"] - summary_b["value"]).to_list())


def test_models_over_other_users_or_another_truth_are_not_compared() -> None:
    users = users_of({}, {"amy": {"a"}}, k=1)
    for truth in ({"bob": {"a"}}, {"amy": {"a", "b"}}, {"amy": {"a"}, "bob": {"a"}}):
        with pytest.raises(TableError, match="same truth"):
            compare(users, users_of({}, truth, k=1), n_items=3, seed=0)


# What can't be judged


def test_a_repeated_item_in_a_list_is_named() -> None:
    with pytest.raises(TableError, match=r"predictions: .* 'amy', 'a' 2 times"):
        figures_of({"amy": ["a", "b", "a"]}, {"amy": {"a"}}, k=3)


def test_a_repeated_pair_of_the_truth_is_named() -> None:
    truth = pl.concat([truth_of({"amy": {"a"}})] * 2)
    with pytest.raises(TableError, match=r"truth: .* 'amy', 'a' 2 times"):
        per_user(predictions_of({}), truth, k=3)


@pytest.mark.parametrize("ranks", [[1, 3], [2, 3], [0, 1], [1, 1]])
def test_ranks_other_than_one_two_to_n_are_named(ranks: list[int]) -> None:
    predictions = predictions_of({"amy": ["a", "b"]}).with_columns(rank=pl.Series(ranks, dtype=pl.UInt32))
    with pytest.raises(TableError, match=rf"ranks 1, 2, .. n, found \[{ranks[0]}, {ranks[1]}\] for user 'amy'"):
        per_user(predictions, truth_of({"amy": {"a"}}), k=3)


def test_all_problems_are_told_at_once() -> None:
    predictions = predictions_of({"amy": ["a", "a"]}).with_columns(rank=pl.Series([5, 6], dtype=pl.UInt32))
    with pytest.raises(TableError, match=r"(?s)2 times.*found \[5, 6\].*truth: expected at least one"):
        per_user(predictions, truth_of({}), k=3)


def test_a_k_of_zero_is_bad_input() -> None:
    with pytest.raises(InputError, match="k: expected at least 1, found 0"):
        figures_of({}, {"amy": {"a"}}, k=0)


def test_a_catalogue_smaller_than_what_the_lists_show_is_an_error() -> None:
    with pytest.raises(TableError, match="at least the 2 items that the lists show, found 1"):
        summarise(users_of({"amy": ["a", "b"]}, {"amy": {"a"}}, k=2), n_items=1, seed=0)


def test_more_positives_than_train_users_is_an_error() -> None:
    with pytest.raises(TableError, match="up to the 8 train users, found 9"):
        users_of({"amy": ["a"]}, {"amy": {"a"}}, k=1, n_positives={"a": 9}, n_train_users=8)


# Against definitions in loops, the notebook and other libraries


@settings(deadline=None, max_examples=60)
@given(lists=lists_of_users, truth=truths, k=st.integers(1, 10))
def test_every_users_figures_follow_the_definitions(lists: Lists, truth: Truth, k: int) -> None:
    for row in figures_of(lists, truth, k=k).iter_rows(named=True):
        user_id = row.pop("user_id")
        assert row == pytest.approx(oracle.accuracy(lists.get(user_id, []), truth[user_id], k), abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(
    lists=lists_of_users,
    truth=truths,
    k=st.integers(1, 10),
    n_positives=st.dictionaries(st.sampled_from(ITEM_IDS), st.integers(0, 20)),
)
def test_every_users_list_figures_follow_the_definitions(
    lists: Lists, truth: Truth, k: int, n_positives: dict[str, int]
) -> None:
    users = users_of(lists, truth, k=k, n_positives=n_positives, n_train_users=20)
    judged = {user_id: lists.get(user_id, []) for user_id in truth}
    expected = [oracle.novelty(judged[user_id], n_positives, 20, k) for user_id in sorted(truth)]
    assert users["novelty"].to_list() == pytest.approx(expected, abs=1e-12)
    assert users["n_first"].sum() == len(oracle.distinct_shown(judged, k))
    for user_id, n_only in users.select("user_id", "n_only").iter_rows():
        others = oracle.distinct_shown({other: shown for other, shown in judged.items() if other != user_id}, k)
        assert n_only == len(set(judged[user_id][:k]) - others)


@settings(deadline=None, max_examples=40)
@given(lists=lists_of_users, truth=truths, k=st.integers(1, 10))
def test_the_notebooks_figures_are_ours_over_users_with_both_a_list_and_a_truth(
    lists: Lists, truth: Truth, k: int
) -> None:
    both = sorted(lists.keys() & truth.keys())
    figures = figures_of(lists, truth, k=k).filter(pl.col("user_id").is_in(both))
    assert figures["ap"].to_list() == pytest.approx([apk(lists[user], truth[user], k) for user in both])
    if both:
        assert figures["precision"].mean() == pytest.approx(precision_at_k(lists, truth, k))


class FixedLists:
    """A model of implicit's kind that recommends given lists of item numbers, padded with -1."""

    def __init__(self, lists: np.ndarray) -> None:
        self.lists = lists

    def recommend(self, userid: np.ndarray, user_items: csr_matrix, N: int = 10) -> tuple[np.ndarray, None]:
        return self.lists[np.asarray(userid), :N], None


def implicit_figures(shown: list[str], relevant: set[str], items: list[str], k: int) -> dict[str, float]:
    """implicit's figures for one user: it returns means only."""
    numbers = np.full((1, k), -1, dtype=np.int32)
    numbers[0, : len(shown)] = [items.index(item_id) for item_id in shown]
    liked = csr_matrix(np.isin(items, list(relevant))[None].astype(np.float32))
    figures = ranking_metrics_at_k(FixedLists(numbers), csr_matrix(liked.shape), liked, K=k, show_progress=False)
    return {name: float(value) for name, value in figures.items()}


@pytest.mark.parametrize("length", [3, 7])
def test_implicit_gives_the_same_ap_and_ndcg_and_divides_precision_by_what_can_be_found(length: int) -> None:
    lists, truth = random_lists(length, n_users=40, n_items=25, length=length)
    items = [f"i{number:03}" for number in range(25)]
    figures = figures_of(lists, truth, k=7).with_columns(n_ideal=pl.col("n_relevant").clip(1, 7))
    theirs = pl.DataFrame([implicit_figures(lists[user], truth[user], items, 7) for user in figures["user_id"]])
    assert figures["ap"].to_list() == pytest.approx(theirs["map"].to_list())
    assert figures["ndcg"].to_list() == pytest.approx(theirs["ndcg"].to_list())
    found = (figures["n_hits"] / figures["n_ideal"]).to_list()
    assert theirs["precision"].to_list() == pytest.approx(found), (
        "implicit's precision is over min(|rel|, k), ours over k"
    )


def trec_eval_figures(lists: Lists, truth: Truth, k: int) -> pl.DataFrame:
    """trec_eval's figures by user, of lists cut to k (its recip_rank knows no cut-off)."""
    pytrec_eval = pytest.importorskip("pytrec_eval", reason="pytrec-eval-terrier has no wheel for this platform")
    names = [f"{name}_{k}" for name in ("P", "recall", "map_cut", "ndcg_cut", "success")] + ["recip_rank"]
    relevance = {user: dict.fromkeys(items, 1) for user, items in truth.items()}
    scores = {user: {item: -float(rank) for rank, item in enumerate(items[:k])} for user, items in lists.items()}
    by_user = pytrec_eval.RelevanceEvaluator(relevance, set(names)).evaluate(scores)
    return pl.DataFrame([by_user[user] for user in sorted(by_user)]).select(names)


@pytest.mark.parametrize("length", [4, 10])
def test_trec_eval_gives_the_same_figures_and_divides_ap_by_all_that_is_relevant(length: int) -> None:
    lists, truth = random_lists(length, n_users=200, n_items=25, length=length)
    theirs = trec_eval_figures(lists, truth, k=5).rename(
        {"P_5": "precision", "recall_5": "recall", "ndcg_cut_5": "ndcg", "success_5": "hit_rate", "recip_rank": "mrr"}
    )
    figures = figures_of(lists, truth, k=5)
    same = ["precision", "recall", "ndcg", "hit_rate", "mrr"]
    assert_frame_equal(figures.select(same), theirs.select(same), abs_tol=1e-12)
    ap_over_all_relevant = figures["ap"] * figures["n_relevant"].clip(1, 5) / figures["n_relevant"]
    assert ap_over_all_relevant.to_list() == pytest.approx(theirs["map_cut_5"].to_list()), "RecTools divides so too"


def test_trec_eval_leaves_out_users_without_a_list_where_ours_score_zero() -> None:
    lists, truth = {"amy": ["a"]}, {"amy": {"a"}, "bob": {"a"}}
    assert trec_eval_figures(lists, truth, k=5)["recip_rank"].to_list() == [1.0]
    assert figures_of(lists, truth, k=5)["mrr"].to_list() == [1.0, 0.0]


def test_scikit_learn_gives_the_same_ndcg_for_a_ranking_of_the_whole_catalogue() -> None:
    lists, truth = random_lists(11, n_users=40, n_items=12, length=12)
    items = [f"i{number:03}" for number in range(12)]
    liked = np.array([[item in truth[user] for item in items] for user in lists], dtype=float)
    scores = np.array([[-lists[user].index(item) for item in items] for user in lists], dtype=float)
    theirs = [ndcg_score(liked[[row]], scores[[row]], k=5) for row in range(40)]
    assert figures_of(lists, truth, k=5)["ndcg"].to_list() == pytest.approx(theirs)
