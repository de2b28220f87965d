import numpy as np
import pytest
import torch

from recsys_polars.errors import InputError
from recsys_polars.ranking import MlpScorer, SparseRows, rank_blocks
from recsys_polars.ranking import approximate as module
from recsys_polars.ranking.approximate import ApproximateScorer, approximate
from recsys_polars.ranking.landmarks import fit_landmarks
from recsys_polars.ranking.rank import BlockSizes
from tests.ranking.small_models import layers, numbers

N_USERS, N_ITEMS = 400, 600


@pytest.fixture(autouse=True)
def _few_users(monkeypatch):
    for name, n in (("N_FITTED", 60), ("N_TUNED", 20), ("N_CHECKED", 100), ("LEAST_USERS", N_USERS)):
        monkeypatch.setattr(module, name, n)


def network(seed=0, n_users=N_USERS):
    rng = np.random.default_rng(seed)
    U, V = numbers(rng, n_users, 4), numbers(rng, N_ITEMS, 6)
    return MlpScorer(U, V, layers(rng, [10, 24, 8, 1]))


def lists(scorer, users=None, **options):
    users = np.arange(scorer.n_users) if users is None else users
    blocks = list(rank_blocks(scorer, users, **options))
    return [np.concatenate(parts) for parts in list(zip(*blocks, strict=True))[2:]]


def pairs(found):
    users, items, scores, _ = found
    return dict(zip(zip(users.tolist(), items.tolist(), strict=True), scores.tolist(), strict=True))


def test_logits_of_low_rank_are_found_again_from_a_few_landmarks():
    rng = np.random.default_rng(0)
    left, right = (torch.from_numpy(numbers(rng, n, 3)) for n in (50, 80))
    logits = left @ right.t() + torch.from_numpy(numbers(rng, 80))
    landmarks = fit_landmarks(logits[:40], rank=3, n_landmarks=12)
    coordinates, misfit = landmarks.coordinates(logits[40:, landmarks.items])
    np.testing.assert_allclose(coordinates @ landmarks.factors.t(), logits[40:], atol=0.05)
    assert misfit.max() < 0.05


def test_users_who_are_all_alike_are_their_mean():
    logits = torch.arange(30.0).repeat(8, 1)
    landmarks = fit_landmarks(logits, rank=4, n_landmarks=5)
    coordinates, _ = landmarks.coordinates(logits[:, landmarks.items])
    np.testing.assert_allclose(coordinates @ landmarks.factors.t(), logits, atol=1e-3)


def test_almost_all_of_the_exact_lists_is_found_with_its_exact_scores():
    scorer = network()
    near = approximate(scorer, n_left=60, least_recall=0.95)
    exact, found = pairs(lists(scorer)), pairs(lists(near))
    shared = exact.keys() & found.keys()
    assert len(shared) >= 0.95 * len(exact)
    assert {pair: exact[pair] for pair in shared} == {pair: found[pair] for pair in shared}


def test_without_a_bound_nothing_is_left_out():
    scorer = network()
    near = ApproximateScorer(scorer, fit_landmarks(torch.randn(20, N_ITEMS), rank=2, n_landmarks=4))
    near.scale = 1e6
    assert pairs(lists(near)) == pairs(lists(scorer))


def test_a_small_shortlist_memory_changes_nothing():
    near = approximate(network(), n_left=60, least_recall=0.9)
    tight = BlockSizes(users=7, items=64, pending=50)
    assert pairs(lists(near, sizes=tight)) == pairs(lists(near))


def test_scores_that_are_all_off_by_the_same_lose_nothing():
    scorer = network()
    near = approximate(scorer, n_left=60, least_recall=0.9)
    before = pairs(lists(near))
    near._dot._items[:, -1] -= 100.0
    assert pairs(lists(near, sizes=BlockSizes(users=7, items=64, pending=50))).keys() >= before.keys()


def test_seen_items_and_others_than_the_candidates_stay_out():
    scorer = network()
    seen = SparseRows(np.arange(N_USERS + 1), np.arange(N_USERS))
    candidates = np.arange(0, N_ITEMS, 2)
    near = approximate(scorer, seen=seen, candidates=candidates, n_left=60, least_recall=0.9)
    users, items, _, _ = lists(near, seen=seen, candidates=candidates)
    assert not (items % 2).any()
    assert not (users == items).any()


def test_a_low_recall_is_refused():
    with pytest.raises(InputError, match=r"expected to find 100.00% of the exact lists, found \d+\.\d+%"):
        approximate(network(), n_left=11, least_recall=1.0)


def test_too_few_users_are_refused():
    with pytest.raises(InputError, match="expected 400 users or more, found 50"):
        approximate(network(n_users=50))
