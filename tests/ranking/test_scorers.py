"""What one scorer alone promises."""

import numpy as np
import pytest
import torch

from recsys_polars.errors import ArtefactError
from recsys_polars.ranking import DotScorer, MlpScorer, TreeScorer, rank_blocks
from tests.ranking.small_models import layers, numbers


def everything(scorer):
    users, items = np.divmod(np.arange(scorer.n_users * scorer.n_items), scorer.n_items)
    return scorer.exact(users, items).reshape(scorer.n_users, scorer.n_items)


def test_an_mlp_scores_as_its_network_does_on_the_concatenation():
    rng = np.random.default_rng(0)
    U, V = numbers(rng, 5, 4), numbers(rng, 9, 3)
    network = torch.nn.Sequential(
        torch.nn.Linear(7, 6), torch.nn.ReLU(), torch.nn.Linear(6, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1)
    )
    scorer = MlpScorer(U, V, [(layer.weight, layer.bias) for layer in network[::2]])
    pairs = torch.from_numpy(np.concatenate([np.repeat(U, 9, axis=0), np.tile(V, (5, 1))], axis=1))
    with torch.no_grad():
        wanted = network.double()(pairs.double()).view(5, 9).numpy()
    assert np.allclose(everything(scorer), wanted, rtol=1e-12)


def test_two_towers_score_as_their_networks_do():
    rng = np.random.default_rng(1)
    U, V, bias = numbers(rng, 5, 4), numbers(rng, 9, 3), numbers(rng, 9)
    user_tower, item_tower = layers(rng, [4, 8, 6]), layers(rng, [3, 6])
    scorer = DotScorer(U, V, user_tower=user_tower, item_tower=item_tower, item_bias=bias)
    (W1, b1), (W2, b2) = [(w.astype(float), b.astype(float)) for w, b in user_tower]
    (W3, b3) = item_tower[0]
    users = np.maximum(U.astype(float) @ W1.T + b1, 0) @ W2.T + b2
    items = V.astype(float) @ W3.T.astype(float) + b3
    assert np.allclose(everything(scorer), users @ items.T + bias, rtol=1e-12)


def test_user_vectors_may_be_a_read_only_memory_map(tmp_path):
    rng = np.random.default_rng(2)
    U, V = numbers(rng, 5, 4), numbers(rng, 9, 4)
    np.save(tmp_path / "u.npy", U)
    np.save(tmp_path / "v.npy", V)
    mapped = [np.load(tmp_path / name, mmap_mode="r") for name in ("u.npy", "v.npy")]
    assert np.array_equal(everything(DotScorer(*mapped)), everything(DotScorer(U, V)))


@pytest.mark.parametrize("cache_bytes", [0, 200, 600, 1 << 20])
def test_the_item_cache_changes_no_score(cache_bytes):
    rng = np.random.default_rng(3)
    U, V, network = numbers(rng, 3, 4), numbers(rng, 50, 4), layers(rng, [8, 5, 1])
    scorer = MlpScorer(U, V, network, cache_bytes=cache_bytes)
    wanted = everything(MlpScorer(U, V, network))
    rng = np.random.default_rng(4)
    for _ in range(20):
        users, items = rng.integers(0, 3, 9), rng.integers(0, 50, 9)
        assert np.array_equal(scorer.exact(users, items), wanted[users, items])


def test_only_a_model_that_looks_at_no_user_is_user_invariant():
    bits, leaves = np.zeros((2, 1), np.uint16), [np.zeros(1)]
    assert TreeScorer(None, bits, leaves, n_users=2).user_invariant
    assert not TreeScorer(bits, bits, leaves, n_users=2).user_invariant
    network = [(np.ones((2, 1)), np.zeros(2)), (np.ones((1, 2)), np.zeros(1))]
    assert MlpScorer(np.ones((2, 0), np.float32), np.ones((2, 1), np.float32), network).user_invariant
    assert not MlpScorer(np.ones((2, 1), np.float32), np.ones((2, 0), np.float32), network).user_invariant


def test_user_bits_are_asked_for_block_by_block():
    asked = []

    def user_bits(users):
        asked.append(len(users))
        return np.zeros((len(users), 1), np.uint16)

    scorer = TreeScorer(user_bits, np.arange(2, dtype=np.uint16)[:, None], [np.array([0.0, 1.0])], n_users=1000)
    list(rank_blocks(scorer, np.arange(1000), k=1))
    assert max(asked) <= scorer.block_users < 1000


def test_shapes_that_do_not_fit_are_errors_that_name_the_model():
    two, three = np.ones((4, 2), np.float32), np.ones((4, 3), np.float32)
    with pytest.raises(ArtefactError, match="tt: expected user and item vectors of one width, found 2 and 3"):
        DotScorer(two, three, name="tt")
    with pytest.raises(ArtefactError, match=r"tt: item_bias: expected the shape \(4,\), found \(3,\)"):
        DotScorer(two, two, item_bias=np.ones(3), name="tt")
    with pytest.raises(ArtefactError, match=r"m: layer 2: expected a weight \(d_out, 5\).*found \(1, 4\)"):
        MlpScorer(two, three, [(np.ones((5, 5)), np.ones(5)), (np.ones((1, 4)), np.ones(1))], name="m")
    with pytest.raises(ArtefactError, match="m: expected two layers or more"):
        MlpScorer(two, three, [(np.ones((1, 5)), np.ones(1))], name="m")


def test_bits_that_lead_to_no_leaf_are_an_error():
    leaves, good, bad = [np.zeros(4), np.zeros(2)], np.ones((3, 2), np.uint16), np.full((3, 2), 2, np.uint16)
    with pytest.raises(ArtefactError, match="trees: item bits: tree 1 has 2 leaves, found leaf number 2"):
        TreeScorer(good, bad, leaves, n_users=3, name="trees")
    with pytest.raises(ArtefactError, match="trees: user bits: tree 1 has 2 leaves"):
        TreeScorer(bad, good, leaves, n_users=3, name="trees").block(np.arange(3))
    with pytest.raises(ArtefactError, match="trees: item bits: expected 2 trees"):
        TreeScorer(good, good[:, :1], leaves, n_users=3, name="trees")
