"""How the time of ranking a user grows with users, items and the length of a list."""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from torch import nn

from benchmarks.ranking import top_items, trained_network, warm_users
from benchmarks.synthetic import Synthetic
from recsys_polars.ranking import DotScorer, MlpScorer, Scorer

DIMENSIONS = 64  # of the two-tower
STEPS = (0.25, 1, 4)
KS = (10, 100, 1000)


class Point(NamedTuple):
    """One measurement."""

    model: str
    n_users: int
    n_items: int
    k: int
    seconds: float
    """For each user."""


def growth(data: Synthetic) -> Iterator[Point]:
    """Vary one of users, items and k at a time, for a two-tower and for the notebook's network."""
    network = trained_network(data)
    layers = [(layer.weight, layer.bias) for layer in network if isinstance(layer, nn.Linear)]
    chance = np.random.default_rng(0)

    def two_tower(n_users: int, n_items: int) -> Scorer:
        users = chance.standard_normal((n_users, DIMENSIONS), dtype=np.float32)
        return DotScorer(users, chance.standard_normal((n_items, DIMENSIONS), dtype=np.float32))

    def mlp(n_users: int, n_items: int) -> Scorer:
        means = data.knowledge.means[data.knowledge.mean_rows[warm_users(data, n_users)]]
        near = data.vectors[chance.integers(len(data.vectors), size=n_items)]
        return MlpScorer(means, near * chance.normal(1, 0.1, near.shape).astype(np.float32), layers)

    for model, make, n_users in (("two-tower", two_tower, 4096), ("mlp", mlp, 128)):
        yield from _vary(model, make, n_users, data.shape.n_items)


def _vary(model: str, make: Callable[[int, int], Scorer], n_users: int, n_items: int) -> Iterator[Point]:
    for step in STEPS:
        yield _measured(model, make(int(step * n_users), n_items), int(step * n_users), KS[0])
    for step in STEPS:
        if step != 1:
            yield _measured(model, make(n_users, int(step * n_items)), n_users, KS[0])
    for k in KS[1:]:
        yield _measured(model, make(n_users, n_items), n_users, k)


def _measured(model: str, scorer: Scorer, n_users: int, k: int) -> Point:
    top_items(scorer, n_users, k)
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        top_items(scorer, n_users, k)
        seconds.append(time.perf_counter() - began)
    return Point(model, n_users, scorer.n_items, k, sorted(seconds)[1] / n_users)
