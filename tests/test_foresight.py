"""What a column may know of the test period, and what only one that has seen it can."""

from itertools import combinations
from math import comb

import numpy as np
import polars as pl
import pytest

from recsys_polars.foresight import DRAWS, Foresight, foresee, pair_at_random
from recsys_polars.outcomes import count_outcome, list_outcomes, rating_outcome

N_TESTS = 6


def look(column, outcome) -> Foresight:
    return foresee(np.asarray(column, dtype=np.float64), outcome, pair_at_random(outcome))


def is_leak(seen: Foresight) -> bool:
    return seen.is_too_even(N_TESTS) or seen.is_copy()


class Shop:
    """Items sold at rates of their own, before a cut and after it; rated by their quality and by chance."""

    def __init__(self, seed: int = 0, n_items: int = 2_000, needed: int = 0) -> None:
        self.rng = rng = np.random.default_rng(seed)
        rates = rng.gamma(0.5, 2, n_items)
        before, after = rng.poisson(4 * rates), rng.poisson(rates)
        kept = before + after >= needed
        self.rates, self.before, self.after = rates[kept], before[kept], after[kept]
        self.quality = rng.normal(3.5, 0.5, kept.sum())
        self.items = np.repeat(np.arange(kept.sum()), self.before + self.after)
        self.is_test = np.concatenate([np.arange(b + a) >= b for b, a in zip(self.before, self.after, strict=True)])
        self.ratings = np.clip((self.quality[self.items] + rng.normal(0, 1, len(self.items))).round(), 1, 5)

    def counts(self):
        return count_outcome("test interactions", self.before, self.after)

    def means(self):
        return rating_outcome("mean test rating", self.items, self.ratings, self.is_test, n_items=len(self.before))

    def mean(self, rows):
        n = np.bincount(self.items[rows], minlength=len(self.before))
        with np.errstate(invalid="ignore"):
            return np.bincount(self.items[rows], self.ratings[rows], len(self.before)) / n


@pytest.fixture(scope="module", params=[0, 3], ids=["all items", "items from 3 rows on"])
def shop(request) -> Shop:
    return Shop(needed=request.param)


COUNTS = {
    "all": lambda shop: shop.before + shop.after,
    "log": lambda shop: np.log1p(shop.before + shop.after),
    "rank": lambda shop: (-(shop.before + shop.after)).argsort().argsort(),
    "test alone": lambda shop: shop.after,
    "halves of the test part": lambda shop: shop.before + shop.rng.binomial(shop.after, 0.8),
}
HONEST = {
    "train": lambda shop: shop.before,
    "a function of train": lambda shop: -np.sqrt(shop.before) // 0.7,
    "the latest half of train": lambda shop: shop.rng.binomial(shop.before, 0.5),
    "the true rate": lambda shop: shop.rates,
    "the true rate, rounded": lambda shop: shop.rates.round(1),
    "train and the true rate": lambda shop: shop.before + shop.rates,
    "noise": lambda shop: shop.rng.random(len(shop.before)),
    "one value": lambda shop: np.ones(len(shop.before)),
    "missing": lambda shop: np.full(len(shop.before), np.nan),
}


@pytest.mark.parametrize("column", COUNTS)
def test_a_count_that_has_seen_test_rows_is_a_leak(shop, column) -> None:
    assert look(COUNTS[column](shop), shop.counts()).is_too_even(N_TESTS)


@pytest.mark.parametrize("column", HONEST)
def test_an_honest_column_passes_however_good_it_is(shop, column) -> None:
    assert not is_leak(look(HONEST[column](shop), shop.counts()))
    assert not is_leak(look(HONEST[column](shop), shop.means()))


def test_a_mean_over_all_ratings_is_a_leak_and_one_over_train_ratings_is_none(shop) -> None:
    assert look(shop.mean(slice(None)), shop.means()).is_copy()
    assert look(shop.mean(shop.is_test), shop.means()).is_too_even(N_TESTS)
    for honest in (shop.mean(~shop.is_test), shop.quality):
        assert not is_leak(look(honest, shop.means()))


def test_honest_columns_are_called_leaks_as_rarely_as_is_said() -> None:
    shares, p_values = [], []
    for seed in range(200):
        shop = Shop(seed, n_items=500)
        seen = foresee(shop.rates, shop.counts(), np.zeros(2))
        shares.append(seen.share)
        p_values.append(seen.p_chance)
    assert np.mean(shares) >= 0.49
    assert 0 < np.mean(np.array(p_values) < 0.1) < 0.2


def test_a_copy_shows_where_few_items_have_an_equal_train_statistic() -> None:
    before, after = np.arange(10, 100, 3), np.random.default_rng(0).integers(1, 12, 30)
    outcome = count_outcome("counts", before, after)
    seen = look(np.sqrt(before + after), outcome)
    assert not seen.is_too_even(1)
    assert seen.is_copy()
    assert not look(before, outcome).is_copy()


def test_items_that_all_sell_alike_make_nobody_a_leak() -> None:
    outcome = count_outcome("counts", 9 + np.arange(400) % 3, np.full(400, 3))
    seen = look(np.random.default_rng(0).random(400), outcome)
    assert seen.share < 0.4
    assert not is_leak(seen)


@pytest.mark.parametrize(("before", "after"), [([], []), ([1, 2], [0, 0]), ([0, 0], [1, 1]), ([3, 3], [5, 5])])
def test_too_little_to_tell_is_no_leak(before, after) -> None:
    outcome = count_outcome("counts", np.array(before, dtype=np.int64), np.array(after, dtype=np.int64))
    assert not is_leak(look(np.arange(len(before)), outcome))


def test_the_figures_are_the_same_on_every_run(shop) -> None:
    assert look(shop.rates, shop.counts()) == look(shop.rates, shop.counts())


def in_101ths(share: float) -> float:
    """A share among the draws alone, as the middle of a place among the draws and the real one."""
    return (DRAWS * share + 0.5) / (DRAWS + 1)


@pytest.mark.parametrize(("one", "other"), [(1, 1), (2, 0), (3, 1), (4, 3)])
def test_the_share_of_counts_is_that_of_all_ways_to_toss_coins(one, other) -> None:
    # 300 pairs, each in a group of its own, beside two items without rows that make 0 the rows an item needs.
    groups = np.arange(300).repeat(2)
    after = np.tile([one, other], 300)
    outcome = count_outcome("counts", groups + 1, after)
    ways = {abs(2 * k - one - other): 0 for k in range(one + other + 1)}
    for k in range(one + other + 1):
        ways[abs(2 * k - one - other)] += comb(one + other, k)
    gap = abs(one - other)
    exact = (sum(n for apart, n in ways.items() if apart < gap) + ways[gap] / 2) / 2 ** (one + other)
    assert look(np.zeros(600), outcome).share == pytest.approx(in_101ths(exact), abs=0.01)


def test_the_share_of_ratings_is_that_of_all_ways_to_deal_them() -> None:
    first, second = (5.0, 4.0), (5.0, 3.0, 1.0)
    pair = np.array(first + second)
    items = np.concatenate([np.array([0, 0, 1, 1, 1, 0, 1]) + 2 * pair_row for pair_row in range(300)])
    n_train = np.arange(300)  # as a rating: pairs differ in their train mean
    ratings = np.concatenate([np.append(pair, [row, row]) for row in n_train])
    is_test = np.tile([True] * 5 + [False] * 2, 300)
    outcome = rating_outcome("means", items, ratings, is_test, n_items=600)
    gaps = [abs(np.mean(pair[list(chosen)]) - np.mean(np.delete(pair, chosen))) for chosen in combinations(range(5), 2)]
    gap = abs(np.mean(first) - np.mean(second))
    exact = np.mean([(0.5 if np.isclose(other, gap) else float(other < gap)) for other in gaps])
    assert look(np.zeros(600), outcome).share == pytest.approx(in_101ths(exact), abs=0.01)


def test_outcomes_that_are_the_same_are_listed_once() -> None:
    rows = pl.DataFrame({"user_id": ["a", "b", "b"], "item_id": ["x", "x", "y"], "part": ["train", "test", "test"]})
    item_ids = pl.Series(["x", "y"])
    for ratings, labels, names in (
        ([None] * 3, [1, 1, 1], ["test interactions"]),
        ([5.0, 1.0, None], [1, 0, 1], ["test interactions", "test likes", "mean test rating"]),
    ):
        parted = rows.with_columns(pl.Series("rating", ratings, dtype=pl.Float32))
        labelled = parted.with_columns(pl.Series("label", labels))
        assert [outcome.name for outcome in list_outcomes(parted, labelled, item_ids)] == names
    means = list_outcomes(parted, labelled, item_ids)[-1]
    assert means.of_train.tolist()[:1] == [5.0]
    assert means.of_all.tolist()[:1] == [3.0]
    assert np.isnan([means.of_train[1], means.of_all[1]]).all()
