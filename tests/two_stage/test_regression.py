"""EASE by users and by items against the closed form on all items."""

import numpy as np
import pytest
from scipy import sparse

from recsys_polars.two_stage import regression
from recsys_polars.two_stage.regression import Regression


def likes_of(n_users, n_items, seed=0):
    likes = (np.random.default_rng(seed).random((n_users, n_items)) < 0.2).astype(np.float32)
    likes[n_users // 2], likes[:, n_items // 3] = 0, 0  # a user and an item without likes
    return likes


def closed_form(likes, penalty):
    inverse = np.linalg.inv(likes.T.astype(np.float64) @ likes + penalty * np.eye(likes.shape[1]))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return weights


@pytest.mark.parametrize("shape", [(30, 12), (12, 30)], ids=["by items", "by users"])
@pytest.mark.parametrize("penalty", [1.0, 300.0])
def test_scores_are_those_of_the_closed_form_for_weighted_histories(shape, penalty, monkeypatch):
    monkeypatch.setattr(regression, "_ITEMS_AT_ONCE", 7)
    likes = likes_of(*shape)
    histories = likes * np.random.default_rng(1).random(shape).astype(np.float32)
    found = Regression(sparse.csr_array(likes), penalty).scores(sparse.csr_array(histories))
    np.testing.assert_allclose(found, histories @ closed_form(likes, penalty), rtol=1e-4, atol=1e-6)


def test_of_too_many_users_those_who_liked_most_are_learnt_from(monkeypatch):
    monkeypatch.setattr(regression, "MOST_ROWS", 6)
    likes = likes_of(12, 30)
    heavy = np.sort(np.argsort(-likes.sum(axis=1), kind="stable")[:6])
    found = Regression(sparse.csr_array(likes), 30).scores(sparse.csr_array(likes))
    np.testing.assert_allclose(found, likes @ closed_form(likes[heavy], 30), rtol=1e-4, atol=1e-6)


def test_nobody_liked_anything():
    nothing = sparse.csr_array((4, 3), dtype=np.float32)
    assert not Regression(nothing, 30).scores(nothing).any()


def test_a_users_scores_are_the_same_bits_in_any_company():
    likes = sparse.csr_array(likes_of(20, 50))
    learnt = Regression(likes, 30)
    together = learnt.scores(likes)
    alone = np.concatenate([learnt.scores(likes[[user]]) for user in range(20)])
    np.testing.assert_array_equal(together, alone)
