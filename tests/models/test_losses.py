"""Each loss against numpy, written from its formula."""

import numpy as np
import pytest
import torch

from recsys_polars.models import losses

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(6, 4)) * 3


def test_cross_entropy_is_minus_the_log_chance_of_the_label():
    labels = RNG.integers(0, 2, 24)
    chances = 1 / (1 + np.exp(-SCORES.ravel()))
    expected = -np.mean(labels * np.log(chances) + (1 - labels) * np.log(1 - chances))
    found = losses.cross_entropy(torch.from_numpy(SCORES.ravel()), torch.from_numpy(labels.astype(float)))
    assert found.item() == pytest.approx(expected)


def test_bpr_is_minus_the_log_chance_that_the_positive_beats_each_negative():
    beats = 1 / (1 + np.exp(-(SCORES[:, :1] - SCORES[:, 1:])))
    assert losses.bayesian_ranking(torch.from_numpy(SCORES)).item() == pytest.approx(-np.log(beats).mean())


def test_bpr_of_equal_scores_is_log_2():
    assert losses.bayesian_ranking(torch.full((3, 5), 7.0)).item() == pytest.approx(np.log(2))


@pytest.mark.parametrize("shape", [(6, 4), (1, 4)])
def test_softmax_is_minus_the_log_share_of_the_positive_once_its_chance_is_taken_off(shape):
    chances, own = RNG.uniform(1, 50, shape), RNG.integers(0, 4, 6)
    odds = np.exp(SCORES) / chances
    expected = -np.log(odds[np.arange(6), own] / odds.sum(axis=1)).mean()
    arguments = [torch.from_numpy(one) for one in (SCORES, np.log(chances), own)]
    assert losses.softmax(*arguments).item() == pytest.approx(expected)


def test_equal_chances_change_no_softmax():
    own = torch.zeros(6, dtype=torch.int64)
    some, others = (losses.softmax(torch.from_numpy(SCORES), torch.full((1, 4), chance), own) for chance in (0.0, 3.0))
    assert some.item() == pytest.approx(others.item())


def test_a_masked_item_is_no_negative():
    own = torch.zeros(6, dtype=torch.int64)
    masked = torch.from_numpy(SCORES).clone()
    masked[:, 2] = -torch.inf
    without = torch.from_numpy(SCORES[:, [0, 1, 3]])
    chances = torch.zeros((1, 4))
    assert losses.softmax(masked, chances, own).item() == pytest.approx(
        losses.softmax(without, chances[:, :3], own).item()
    )


def test_seen_pairs_are_those_of_the_history_liked_or_not(make_knowledge):
    rows = [(0, 0, 1), (0, 3, 0), (1, 3, 1), (2, 5, -1)]
    known = make_knowledge(rows, np.eye(6, dtype=np.float32), n_users=4)
    users, items = np.array([0, 3, 2, 0, 1]), np.array([3, 5, 3, 1, 0])
    expected = [[(user, item) in {row[:2] for row in rows} for item in items] for user in users]
    assert losses.seen_pairs(known, users, items).tolist() == expected
