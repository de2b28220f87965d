"""The first look of an MLP in bfloat16: its bound is a proof, and nobody sees it in the lists."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_polars.errors import ArtefactError
from recsys_polars.ranking import DotScorer, MlpScorer, bfloat16, rank_blocks
from tests.ranking.small_models import layers, lists_of, numbers


def canonical(scorer):
    users, items = np.divmod(np.arange(scorer.n_users * scorer.n_items), scorer.n_items)
    return scorer.exact(users, items).reshape(scorer.n_users, scorer.n_items)


def worst(scorer):
    """(How far first scores are from the canonical ones, their bound; the same of the closer scores), per user."""
    block, wanted = scorer.block(np.arange(scorer.n_users)), canonical(scorer)
    first = block.score(slice(0, scorer.n_items)).double().numpy().copy()
    places, items = (torch.from_numpy(at) for at in np.divmod(np.arange(wanted.size), scorer.n_items))
    closer = block.closer.score(places, items).double().numpy().reshape(wanted.shape)
    return [
        (np.abs(found - wanted).max(axis=1), bound.double().numpy())
        for found, bound in ((first, block.bound), (closer, block.closer.bound))
    ]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    width=st.sampled_from([1, 3, 33, 256]),
    middle=st.sampled_from([1, 5, 64]),
    sizes=st.sampled_from([(1.0, 1.0), (100.0, 0.01), (1e-3, 30.0), (1e6, 1e6), (1e-20, 1e-20)]),
    offset=st.sampled_from([0.0, 3.0, -3.0]),
    one_sign=st.booleans(),
)
def test_no_first_score_is_further_than_its_bound_from_the_canonical_one(seed, width, middle, sizes, offset, one_sign):
    rng = np.random.default_rng(seed)
    network = layers(rng, [9, width, middle, 1])
    network = [(weight * size, bias) for (weight, bias), size in zip(network, (1.0, *sizes), strict=True)]
    if one_sign:  # every rounding counts, none cancels
        network = [(np.abs(weight), np.abs(bias)) for weight, bias in network]
    U, V = numbers(rng, 4, 5) + np.float32(offset), numbers(rng, 70, 4)
    for errors, bound in worst(MlpScorer(U, V, network, bfloat16=True)):
        assert (errors <= bound).all()


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_the_bound_holds_when_torch_may_round_float32_products(precision):
    rng = np.random.default_rng(1)
    scorer = MlpScorer(numbers(rng, 4, 5), numbers(rng, 300, 4), layers(rng, [9, 256, 64, 1]), bfloat16=True)
    try:
        torch.set_float32_matmul_precision(precision)
        for errors, bound in worst(scorer):
            assert (errors <= bound).all()
    finally:
        torch.set_float32_matmul_precision("highest")


def trained(rng, steps=60):
    """Vectors and a network that has learnt something of them."""
    torch.manual_seed(0)
    U, V = numbers(rng, 20, 12), numbers(rng, 3000, 12)
    network = torch.nn.Sequential(
        torch.nn.Linear(24, 128), torch.nn.ReLU(), torch.nn.Linear(128, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1)
    )
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(steps):
        users, items = rng.integers(20, size=512), rng.integers(3000, size=512)
        inputs = torch.from_numpy(np.hstack([U[users], V[items]]))
        liked = torch.from_numpy(((U[users] * V[items]).sum(axis=1) > 0).astype(np.float32))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(inputs)[:, 0], liked)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return U, V, [(layer.weight, layer.bias) for layer in network if isinstance(layer, torch.nn.Linear)]


def test_on_a_trained_network_each_look_leaves_few_pairs_and_the_lists_are_the_same():
    U, V, network = trained(np.random.default_rng(2))
    first, plain = (MlpScorer(U, V, network, bfloat16=choice) for choice in (True, False))
    for errors, bound in worst(first):
        assert (errors <= bound).all()
    first._patience.n_closer, asked, exact = 0, [], first.exact
    first.exact = lambda users, items: asked.append(len(users)) or exact(users, items)
    users = np.arange(20)
    assert lists_of(rank_blocks(first, users), users) == lists_of(rank_blocks(plain, users), users)
    assert 10 * 20 <= sum(asked) <= 12 * 20 <= first._patience.n_closer <= 3000 * 20 / 10


@pytest.mark.parametrize(("supported", "looks"), [(True, True), (False, False)])
def test_only_a_cpu_with_bfloat16_instructions_has_a_first_look(monkeypatch, supported, looks):
    rng = np.random.default_rng(3)
    monkeypatch.setattr(bfloat16, "_has_bfloat16", lambda: supported)
    U, V = numbers(rng, 4, 5), numbers(rng, 300, 4)
    block = MlpScorer(U, V, layers(rng, [9, 64, 32, 1])).block(np.arange(4))
    assert (block.closer is not None) == looks


@pytest.mark.parametrize("widths", [[9, 64, 1], [9, 64, 32, 16, 1], [9, 64, 8, 1]])
def test_other_shapes_are_scored_in_float32(widths):
    rng = np.random.default_rng(4)
    block = MlpScorer(numbers(rng, 4, 5), numbers(rng, 30, 4), layers(rng, widths)).block(np.arange(4))
    assert block.closer is None


def test_a_first_look_that_tells_nothing_apart_is_given_up():
    rng = np.random.default_rng(5)
    V = np.ones((400, 4), np.float32) + numbers(rng, 400, 4) * np.float32(1e-6)
    scorer = MlpScorer(numbers(rng, 4, 5), V, layers(rng, [9, 64, 32, 1]), bfloat16=True)
    assert scorer.block(np.arange(4)).closer is not None
    list(rank_blocks(scorer, np.arange(4)))
    assert scorer.block(np.arange(4)).closer is None


@pytest.mark.parametrize(("spread", "looks"), [(1e-6, False), (1.0, True)])
def test_on_many_items_a_sample_says_whether_a_first_look_is_worth_it(spread, looks):
    U, V, network = trained(np.random.default_rng(7))
    V = V[0] + np.tile(V - V[0], (2, 1)) * np.float32(spread)
    for scorer in (DotScorer(U, V, bfloat16=True), MlpScorer(U, V, network, bfloat16=True)):
        assert (scorer.block(np.arange(20)).closer is not None) == looks


def test_a_pair_that_is_no_number_is_still_an_error():
    rng = np.random.default_rng(6)
    V = numbers(rng, 50, 4)
    V[7] = np.nan
    scorer = MlpScorer(numbers(rng, 4, 5), V, layers(rng, [9, 64, 32, 1]), bfloat16=True)
    with pytest.raises(ArtefactError, match="item row 7"):
        list(rank_blocks(scorer, np.arange(4)))
