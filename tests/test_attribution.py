"""Parts are Shapley values, and add up."""

import catboost
import numpy as np
import pytest

from recsys_polars.attribution import coalitions, shapley_values, tree_parts
from tests.oracles.shapley import shapley


@pytest.mark.parametrize("n_players", [1, 2, 3, 5])
def test_shapley_values_are_what_players_add_over_every_order(n_players: int) -> None:
    worth = np.random.default_rng(n_players).normal(size=(2**n_players, 3))
    found = shapley_values(worth)
    for game in range(3):
        expected = shapley(lambda present, game=game: worth[sum(1 << one for one in present), game], n_players)
        np.testing.assert_allclose(found[:, game], expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=0), worth[-1] - worth[0], rtol=0, atol=1e-12)


def test_nobody_plays_and_nothing_is_added() -> None:
    assert shapley_values(np.ones((1, 4))).shape == (0, 4)
    assert coalitions(0).shape == (1, 0)


def test_a_coalition_has_the_players_whose_bit_its_number_has() -> None:
    assert coalitions(2).tolist() == [[False, False], [True, False], [False, True], [True, True]]


def test_parts_of_trees_add_up_to_what_catboost_predicts_and_each_is_that_of_its_features() -> None:
    chance = np.random.default_rng(0)
    numbers, words = chance.normal(size=(400, 3)), chance.choice(["a", "b", "c", "d"], size=400)
    labels = (numbers[:, 0] * numbers[:, 1] + (words == "a") > 0.3).astype(int)
    rows = [[*map(float, row), word] for row, word in zip(numbers, words, strict=True)]
    pool = catboost.Pool(rows, labels, cat_features=[3])
    options = {"iterations": 20, "depth": 3, "verbose": 0, "allow_writing_files": False}
    ensembles = [catboost.CatBoostClassifier(random_seed=seed, **options).fit(pool) for seed in (0, 1)]
    parts = tree_parts(ensembles, pool, ["x", "y", "x", "word"])
    assert list(parts) == ["base", "x", "y", "word"]
    predicted = sum(trees.predict(pool, prediction_type="RawFormulaVal") for trees in ensembles)
    np.testing.assert_allclose(sum(parts.values()), predicted, rtol=0, atol=1e-9)
    values = sum(trees.get_feature_importance(pool, type="ShapValues") for trees in ensembles)
    np.testing.assert_allclose(parts["x"], values[:, 0] + values[:, 2], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(parts["word"], values[:, 3])
