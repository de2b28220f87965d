"""Shapley values by their definition: what a player adds, averaged over every order in which all may come."""

from collections.abc import Callable
from itertools import permutations


def shapley(worth: Callable[[frozenset[int]], float], n_players: int) -> list[float]:
    added, orders = [0.0] * n_players, list(permutations(range(n_players)))
    for order in orders:
        present: frozenset[int] = frozenset()
        for player in order:
            added[player] += worth(present | {player}) - worth(present)
            present |= {player}
    return [one / len(orders) for one in added]
