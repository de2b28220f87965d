"""A score as a sum of parts: the Shapley values of groups of inputs.

A part is what a group adds to the score, averaged over every order in which the groups may come to be known.
"""

from collections.abc import Mapping, Sequence
from math import factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray

Parts = Mapping[str, NDArray[np.float64]]
"""By name, what it adds to each of some scores, shape (n,): together the scores."""
BASE = "base"


def tree_parts(ensembles: Sequence[Any], pool: Any, groups: Sequence[str]) -> Parts:
    """Return the parts of the sum of some CatBoost models' raw values: their own Shapley values, added up by group.

    Args:
        ensembles: the models.
        pool: the rows, as the models take them.
        groups: of each feature, in the order of training; the parts come in the order in which these are met.

    Returns:
        `base`, the mean raw value of the rows that the models were trained on, then the groups.
    """
    values = sum(trees.get_feature_importance(pool, type="ShapValues") for trees in ensembles)
    parts = {BASE: values[:, -1], **{group: np.zeros(len(values)) for group in groups}}
    for group, column in zip(groups, values.T, strict=False):
        parts[group] = parts[group] + column
    return parts


def coalitions(n_players: int) -> NDArray[np.bool_]:
    """Return every set of players, shape (2 ** n_players, n_players): that of number s has those whose bit s has."""
    has: NDArray[np.bool_] = (np.arange(2**n_players)[:, None] >> np.arange(n_players)) % 2 == 1
    return has


def shapley_values(worth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what each player adds: with the worth of nobody they add up to that of all.

    Args:
        worth: of each of `coalitions(n_players)`, in several games at once, shape (2 ** n_players, n_games).

    Returns:
        Shape (n_players, n_games).
    """
    n = len(worth).bit_length() - 1
    sets, sizes = np.arange(len(worth)), coalitions(n).sum(axis=1)
    weights = np.array([factorial(size) * factorial(n - size - 1) / factorial(n) for size in range(n)])
    without = [sets[sets >> player & 1 == 0] for player in range(n)]
    added = [weights[sizes[some]] @ (worth[some | 1 << player] - worth[some]) for player, some in enumerate(without)]
    return np.array(added).reshape(n, worth.shape[1])
