"""Figures by group against plain loops on random lists, and by eye on a few rows."""

import numpy as np
import polars as pl
import pytest

from recsys_polars import breakdowns
from recsys_polars.metrics import per_user
from tests.oracles import breakdowns as oracle

SEED = 7
K = 5
Lists = dict[str, list[str]]
Truth = dict[str, set[str]]


def predictions_of(lists: Lists) -> pl.DataFrame:
    rows = [(user, item, rank) for user, items in lists.items() for rank, item in enumerate(items, start=1)]
    return pl.DataFrame(rows, {"user_id": pl.String, "item_id": pl.String, "rank": pl.UInt32}, orient="row")


def pairs_of(lists: Lists | Truth) -> pl.DataFrame:
    rows = [(user, item) for user, items in lists.items() for item in sorted(items)]
    return pl.DataFrame(rows, {"user_id": pl.String, "item_id": pl.String}, orient="row")


def counts_of(counts: dict[str, int], name: str) -> pl.DataFrame:
    return pl.DataFrame(list(counts.items()), {name: pl.String, "n_positives": pl.Int64}, orient="row")


def random_world(seed: int) -> tuple[Lists, Truth, dict[str, int], dict[str, int], list[str]]:
    """Lists of some users, truths of some, likes of users and of items (some have none), and the catalogue."""
    rng = np.random.default_rng(seed)
    items = [f"i{number:02}" for number in range(rng.integers(8, 40))]
    users = [f"u{number:02}" for number in range(rng.integers(2, 40))]
    lists = {
        user: rng.choice(items, rng.integers(1, 8), replace=False).tolist() for user in users if rng.random() < 0.9
    }
    truth = {user: set(rng.choice(items, rng.integers(1, 6), replace=False).tolist()) for user in users}
    likes = {user: int(10 ** rng.uniform(0, 3)) for user in users if rng.random() < 0.8}
    popularity = {item: int(10 ** rng.uniform(0, 2.5)) for item in items if rng.random() < 0.8}
    return lists, truth, likes, popularity, items


def as_groups(found: pl.DataFrame) -> dict[tuple[int, int], tuple[int, dict[str, tuple]]]:
    groups: dict[tuple[int, int], tuple[int, dict[str, tuple]]] = {}
    for lowest, highest, n_users, metric, *figures in found.iter_rows():
        groups.setdefault((lowest, highest), (n_users, {}))[1][metric] = tuple(figures)
    return groups


def assert_groups(found: pl.DataFrame, expected: dict[tuple[int, int], list]) -> None:
    groups = as_groups(found)
    assert list(groups) == sorted(expected)
    for group, (n_users, figures) in groups.items():
        [(expected_users, expected_figures)] = expected[group]
        assert n_users == expected_users
        for metric, values in expected_figures.items():
            assert figures[metric] == pytest.approx(values, abs=1e-9), (group, metric)


@pytest.mark.parametrize("seed", range(8))
def test_groups_by_history_follow_the_definitions(seed: int) -> None:
    lists, truth, likes, _, _ = random_world(seed)
    users = per_user(predictions_of(lists), pairs_of(truth), k=K)
    found = breakdowns.by_history(users, counts_of(likes, "user_id"), seed=SEED)
    assert_groups(found, oracle.by_history(lists, truth, likes, K, SEED))


@pytest.mark.parametrize("seed", range(8))
def test_groups_by_popularity_follow_the_definitions(seed: int) -> None:
    lists, truth, _, popularity, _ = random_world(seed)
    counts = counts_of(popularity, "item_id")
    found = breakdowns.by_popularity(predictions_of(lists), pairs_of(truth), counts, k=K, seed=SEED)
    assert_groups(found, oracle.by_popularity(lists, truth, popularity, K, SEED))


@pytest.mark.parametrize("seed", range(8))
def test_shares_of_deciles_follow_the_definitions(seed: int) -> None:
    lists, _, _, popularity, items = random_world(seed)
    known = items[: len(items) - 2]  # two are shown that the catalogue doesn't know
    deciles = breakdowns.popularity_deciles(pl.Series(known), counts_of(popularity, "item_id"))
    found = breakdowns.shares_of_deciles(predictions_of(lists), deciles, seed=SEED)
    assert found["decile"].to_list() == list(range(1, 11))
    for row, expected in zip(
        found.drop("decile").iter_rows(), oracle.shares(lists, known, popularity, SEED), strict=True
    ):
        assert row == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_figures_over_k_are_those_of_each_k_alone(seed: int) -> None:
    lists, truth, _, _, _ = random_world(seed)
    found = breakdowns.over_k(predictions_of(lists), pairs_of(truth), [1, 3, 7], seed=SEED)
    for k, metric, *figures in found.iter_rows():
        of_users = [oracle.metrics.accuracy(lists.get(user, []), truth[user], k)[metric] for user in sorted(truth)]
        assert figures == pytest.approx(oracle.mean_and_interval(of_users, SEED), abs=1e-9)
    assert found.select("k", "metric").rows() == [(k, name) for k in (1, 3, 7) for name in ("precision", "recall")]


@pytest.mark.parametrize(
    ("count", "group"),
    [
        (0, (0, 0)),
        (1, (1, 2)),
        (2, (1, 2)),
        (3, (3, 9)),
        (9, (3, 9)),
        (10, (10, 29)),
        (99, (30, 99)),
        (10**6, (10**6, 3 * 10**6 - 1)),
    ],
)
def test_a_count_stands_in_one_group(count: int, group: tuple[int, int]) -> None:
    users = per_user(predictions_of({}), pairs_of({"amy": {"a"}}), k=1)
    found = breakdowns.by_history(users, counts_of({"amy": count}, "user_id"), seed=0)
    assert found.select("lowest", "highest").unique().rows() == [group]


def test_a_group_of_one_user_is_shown_without_an_interval() -> None:
    users = per_user(predictions_of({"amy": ["a"]}), pairs_of({"amy": {"a"}, "bob": {"b"}, "cy": {"b"}}), k=1)
    found = breakdowns.by_history(users, counts_of({"amy": 5}, "user_id"), seed=0).filter(metric="ndcg")
    assert found.drop("metric").rows() == [(0, 0, 2, 0.0, 0.0, 0.0), (3, 9, 1, 1.0, None, None)]


def test_cold_users_are_those_without_a_like() -> None:
    users = per_user(predictions_of({"amy": ["a"]}), pairs_of({"amy": {"a"}, "bob": {"b"}}), k=1)
    likes = counts_of({"amy": 500}, "user_id")
    found = breakdowns.by_history(users, likes, seed=0, bounds=breakdowns.COLD_AND_WARM).filter(metric="hit_rate")
    assert found.select("lowest", "highest", "n_users", "value").rows() == [(0, 0, 1, 0.0), (1, None, 1, 1.0)]


def test_a_hit_counts_for_the_group_of_its_item_alone() -> None:
    lists, truth = {"amy": ["new", "hit"]}, {"amy": {"hit", "new"}, "bob": {"hit"}}
    counts = counts_of({"hit": 40}, "item_id")
    found = breakdowns.by_popularity(predictions_of(lists), pairs_of(truth), counts, k=1, seed=0)
    rows = found.filter(metric="hit_rate").select("lowest", "n_users", "value").rows()
    assert rows == [(0, 1, 1.0), (30, 2, 0.0)]


def test_the_most_liked_items_are_in_the_first_tenth_and_ties_go_by_id() -> None:
    items = pl.Series([f"i{number:02}" for number in range(20)])
    deciles = breakdowns.popularity_deciles(items, counts_of({"i07": 9, "i03": 9, "i11": 1}, "item_id"))
    assert deciles["item_id"].to_list()[:4] == ["i03", "i07", "i11", "i00"]
    assert deciles["decile"].to_list() == [1 + place // 2 for place in range(20)]


def test_without_a_list_no_decile_has_a_share() -> None:
    deciles = breakdowns.popularity_deciles(pl.Series(["a", "b"]), counts_of({}, "item_id"))
    found = breakdowns.shares_of_deciles(predictions_of({}), deciles, seed=0)
    assert found["n_shown"].sum() == 0
    assert found.select(pl.col("value", "low", "high").null_count()).row(0) == (10, 10, 10)
