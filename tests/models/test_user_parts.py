"""What each block of a user's mean adds: against Shapley values by their definition, of the network's own outputs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recsys_polars.models import model_class, user_parts
from recsys_polars.models.protocol import FitSettings
from tests.oracles.shapley import shapley

BLOCKS = {"a": slice(0, 2), "b": slice(2, 3), "c": slice(3, 6)}
USER, ITEMS = 4, np.array([4, 0, 3])


@pytest.fixture(scope="module")
def known(make_knowledge):
    chance = np.random.default_rng(0)
    rows = [(user, item, int(chance.random() < 0.7)) for user in range(5) for item in range(6) if (user + item) % 4]
    return replace(make_knowledge(rows, chance.normal(size=(6, 6)).astype(np.float32), n_users=6), blocks=BLOCKS)


def logit(model, known, mean, count, item):
    """The network's own output for a mean vector, a count and an item, in float64."""
    user = torch.tensor([*mean, np.log1p(count)], dtype=torch.float64)
    popularity = known.popularity(np.array([item]))[0]
    of_item = torch.tensor([*known.item_vectors[item], *popularity], dtype=torch.float64)
    with torch.no_grad():
        if model.kind == "mlp":
            return float(model.network.double().eval()(torch.cat([user, of_item])))
        return float(model.towers["user"].double()(user) @ model.towers["item"].double()(of_item))


@pytest.mark.parametrize("kind", ["mlp", "two-tower"])
def test_parts_are_what_the_user_s_own_blocks_and_count_add_to_the_average_user(kind, known):
    model = model_class(kind).fit(known, FitSettings(device="cpu"), rounds=2)
    found = model.parts(known, USER, ITEMS)
    assert list(found) == ["average user", "user a", "user b", "user c", "user count"]
    warm = np.flatnonzero(known.n_positives)
    liked = known.labels == 1
    means = [known.item_vectors[known.item_rows[liked & (known.user_rows == user)]].mean(axis=0) for user in warm]
    usual, count = sorted(known.n_positives[warm])[(len(warm) - 1) // 2], known.n_positives[USER]
    assert usual != count
    own, average = means[list(warm).index(USER)], np.mean(means, axis=0)
    for place, item in enumerate(ITEMS):

        def worth(present, item=item):
            mean = average.copy()
            for player, columns in enumerate(BLOCKS.values()):
                if player in present:
                    mean[columns] = own[columns]
            return logit(model, known, mean, count if 3 in present else usual, item)

        expected = [worth(frozenset()), *shapley(worth, 4)]
        np.testing.assert_allclose([part[place] for part in found.values()], expected, rtol=0, atol=1e-5)


def test_blocks_beyond_the_most_count_as_one(known, monkeypatch):
    monkeypatch.setattr(user_parts, "MOST_PLAYERS", 2)
    model = model_class("two-tower").fit(known, FitSettings(device="cpu"), rounds=1)
    found = model.parts(known, USER, ITEMS)
    assert list(found) == ["average user", "user a", "other blocks", "user count"]
    scores = model.scorer(known, np.array([USER]), device="cpu").exact(np.zeros(3, dtype=int), ITEMS)
    np.testing.assert_allclose(sum(found.values()), scores, rtol=0, atol=1e-9)
