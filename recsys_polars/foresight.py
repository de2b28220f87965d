"""Whether a column of the items foresees an outcome. Why by these tests: docs/decisions/0009-leak-audit.md.

However good an honest column is, it can't know the chance in what comes. Two items of equal train statistic that it
holds for alike share their test rows as coins would fall, or less evenly; never more evenly. A column that has seen
those rows knows them, chance and all, and puts items of nearly the same outcome side by side. Where few items have an
equal train statistic, a mere copy of the statistic over all rows shows all the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

ALPHA = 0.001
"""How often any of the columns of a store may be called a leak by chance."""
LARGEST_SHARE = 0.47
"""0.5 is chance; what is hardly less may have another reason than foresight, items that are taken together, say."""
FEWEST_PAIRS = 5
MOST_PAIRS = 2_000
DRAWS = 100
PAIRINGS = 50
SEED = 42
COPY = 0.999
"""The rank correlation of a copy with its original, a tenth as far from 1 as that with the train statistic."""
FEWEST_ITEMS = 10

Values = np.ndarray[Any, np.dtype[np.float64]]
Rows = np.ndarray[Any, np.dtype[np.int64]]
Gaps = Callable[[Rows, Rows, np.random.Generator], Values]
"""Item rows of pairs, shape (n,) each -> shape (1 + DRAWS, n): how far their outcomes lie apart, as it was, and as it
would be by chance."""


@dataclass(frozen=True)
class Outcome:
    """What the test period brought to each item; all arrays have the shape (n_items,).

    Attributes:
        name: what the user calls it.
        of_train: the statistic over train rows, NaN where there are none.
        of_all: the same over all rows, NaN where there are none in the test part.
        groups: items of one number have an equal train statistic; negative: left out.
        gaps: see `Gaps`.
    """

    name: str
    of_train: Values
    of_all: Values
    groups: Rows
    gaps: Gaps


@dataclass(frozen=True)
class Foresight:
    """What a column knows of an outcome.

    Attributes:
        n_pairs: the pairs of items that could tell.
        share: how many of the ways in which chance shares out the test rows of a pair are more even than the real one;
            a mean over the pairs: 0.5 is chance, 0 foresight.
        p_chance: the probability of such a share by chance, for a column that knows all that can be known beforehand.
        p_equals: the same for pairs of items of equal train statistic, whatever the column says.
        r_train, r_all: rank correlations, without their sign, with the statistic over train rows, and over all, among
            items with test rows.
    """

    n_pairs: int
    share: float
    p_chance: float
    p_equals: float
    r_train: float
    r_all: float

    def is_too_even(self, n_tests: int) -> bool:
        """Return whether the column knows the chance in the outcome, where `n_tests` are made in all (Bonferroni)."""
        return self.share <= LARGEST_SHARE and max(self.p_chance, self.p_equals) <= ALPHA / n_tests

    def is_copy(self) -> bool:
        """Return whether the column is the statistic over all rows, or a function of it."""
        return self.r_all >= COPY and 1 - self.r_all < (1 - self.r_train) / 10


def pair_at_random(outcome: Outcome) -> Values:
    """Return the shares of `PAIRINGS` random pairings of items of equal train statistic."""
    rng = np.random.default_rng(SEED)
    pairings = (rng.random(len(outcome.groups)) for _ in range(PAIRINGS))
    return np.array([_evenness(pairing, outcome, rng)[1] for pairing in pairings])


def foresee(column: Values, outcome: Outcome, at_random: Values) -> Foresight:
    """Measure what a column knows of an outcome.

    Args:
        column: a value of each item, NaN where it is missing; shape (n_items,). Only its order matters.
        outcome: what it might know.
        at_random: what `pair_at_random` returns for the outcome.

    Returns:
        The same on every run. With fewer than `FEWEST_PAIRS` pairs that could tell, share 0.5 and p 1; with fewer than
        `FEWEST_ITEMS` items, correlations of 0.
    """
    has_tests = ~np.isnan(outcome.of_all)
    correlations = [_rank_correlation(column[has_tests], of[has_tests]) for of in (outcome.of_train, outcome.of_all)]
    n_pairs, share, z = _evenness(_missing_first(column), outcome, np.random.default_rng(SEED))
    if n_pairs < FEWEST_PAIRS:
        return Foresight(n_pairs, 0.5, 1.0, 1.0, *correlations)
    spread = at_random.std(ddof=1) * np.sqrt(1 + 1 / PAIRINGS)
    p_equals = stats.t.cdf((share - at_random.mean()) / spread, PAIRINGS - 1) if spread else 1.0
    return Foresight(n_pairs, share, float(stats.t.cdf(z, DRAWS - 1)), float(p_equals), *correlations)


def _missing_first(column: Values) -> Values:
    return np.where(np.isnan(column), -np.inf, column)


def _rank_correlation(column: Values, statistic: Values) -> float:
    known = ~np.isnan(column)
    if known.sum() < FEWEST_ITEMS:
        return 0.0
    ranks = stats.rankdata([column[known], _missing_first(statistic[known])], axis=1)
    return round(abs(float(np.corrcoef(ranks)[0, 1])), 6) if ranks.std(axis=1).all() else 0.0


def _evenness(column: Values, outcome: Outcome, rng: np.random.Generator) -> tuple[int, float, float]:
    """Pair items by a column: the number of pairs that can tell, their mean share, and its z-score by chance."""
    one, other = _neighbours(column, outcome.groups, rng)
    apart = outcome.gaps(one, other, rng) if len(one) else np.zeros((1 + DRAWS, 0))
    apart = apart[:, (apart[1:] != apart[1]).any(axis=0)]
    if not apart.shape[1]:
        return 0, 0.5, 0.0
    shares = ((stats.rankdata(apart, axis=0) - 0.5) / len(apart)).mean(axis=1)
    return apart.shape[1], float(shares[0]), float((shares[0] - shares[1:].mean()) / shares[1:].std(ddof=1))


def _neighbours(column: Values, groups: Rows, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Pair the items of each group in the order of a column, equal ones by chance; MOST_PAIRS at most."""
    order = np.lexsort((rng.random(len(column)), column, groups))
    order = order[groups[order] >= 0]
    places = np.arange(len(order)) - np.searchsorted(groups[order], groups[order])
    left = np.flatnonzero((places[:-1] % 2 == 0) & (places[1:] == places[:-1] + 1))
    if len(left) > MOST_PAIRS:
        left = np.sort(rng.choice(left, MOST_PAIRS, replace=False))
    return order[left], order[left + 1]
