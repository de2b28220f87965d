"""The first look of an MLP on a GPU: the kernel itself by Triton's interpreter, and the same arithmetic by torch."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from recsys_polars.ranking import BlockSizes, MlpScorer, fused, rank_blocks
from tests.ranking import oracle
from tests.ranking.small_models import fused_scorer, layers, lists_of, near_ties, numbers, seen_rows
from tests.ranking.test_bfloat16 import trained, worst

os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported: no GPU here

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton isn't installed")
SIZES = [(1.0, 1.0), (100.0, 0.01), (1e-3, 30.0), (1e6, 1e6), (1e-20, 1e-20), (1e-12, 1e25)]
ONE_THREAD = BlockSizes(users=4, items=90, pending=1000)  # the interpreter knows one program at a time


def network_of(rng, width, middle, sizes, one_sign):
    network = layers(rng, [9, width, middle, 1])
    network = [(weight * size, bias) for (weight, bias), size in zip(network, (1.0, *sizes), strict=True)]
    if one_sign:  # every rounding counts, none cancels
        network = [(np.abs(weight), np.abs(bias)) for weight, bias in network]
    return network


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    width=st.sampled_from([1, 3, 33, 65, 256]),
    middle=st.sampled_from([1, 5, 64]),
    sizes=st.sampled_from(SIZES),
    offset=st.sampled_from([0.0, 3.0, -3.0]),
    one_sign=st.booleans(),
)
def test_no_first_score_is_further_than_its_bound_from_the_canonical_one(seed, width, middle, sizes, offset, one_sign):
    rng = np.random.default_rng(seed)
    network = network_of(rng, width, middle, sizes, one_sign)
    U, V = numbers(rng, 4, 5) + np.float32(offset), numbers(rng, 70, 4)
    for errors, bound in worst(fused_scorer(U, V, network)):
        assert np.isfinite(bound).all()
        assert (errors <= bound).all()


@needs_triton
@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    width=st.sampled_from([1, 17, 40, 130]),
    middle=st.sampled_from([1, 17, 129, 256]),
    sizes=st.sampled_from(SIZES),
    n_items=st.sampled_from([1, 31, 70]),
    n_users=st.integers(1, 9),
)
def test_the_kernel_is_within_its_bound_and_beside_the_reference(seed, width, middle, sizes, n_items, n_users):
    rng = np.random.default_rng(seed)
    network = network_of(rng, width, middle, sizes, one_sign=bool(seed % 2))
    U, V = numbers(rng, n_users, 5), numbers(rng, n_items, 4)
    scorer, plain = fused_scorer(U, V, network, fused.load_kernel()), fused_scorer(U, V, network)
    by_kernel, by_torch = (one.block(np.arange(n_users)) for one in (scorer, plain))
    assume(by_kernel.closer)  # a user half may be too large for the scale of the only item's
    for errors, bound in worst(scorer):
        assert (errors <= bound).all()
    chosen = torch.from_numpy(rng.permutation(n_items)[: n_items // 2 + 1])
    for items in (slice(n_items // 3, n_items), chosen):
        found, wanted = by_kernel.score(items), by_torch.score(items)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=float(by_kernel.bound.max()) / 10)


@needs_triton
@pytest.mark.parametrize("seed", range(3))
def test_lists_by_the_kernel_are_those_of_a_brute_force(seed):
    rng = np.random.default_rng(seed)
    U, V, network = numbers(rng, 6, 5), near_ties(rng, numbers(rng, 150, 4)), layers(rng, [9, 24, 10, 1])
    scorer, users, seen = fused_scorer(U, V, network, fused.load_kernel()), np.arange(6), seen_rows(rng, 6, 150)
    candidates = np.flatnonzero(rng.random(150) < 0.7) if seed else None
    assert scorer.block(users).closer is not None
    blocks = rank_blocks(scorer, users, k=5, seen=seen, candidates=candidates, sizes=ONE_THREAD)
    assert lists_of(blocks, users) == oracle.lists(oracle.mlp_scores(U, V, network), users, 5, seen, candidates)


def test_on_a_trained_network_each_look_leaves_few_pairs_and_the_lists_are_the_same():
    U, V, network = trained(np.random.default_rng(2))
    first, plain, users = fused_scorer(U, V, network), MlpScorer(U, V, network, bfloat16=False), np.arange(20)
    for errors, bound in worst(first):
        assert (errors <= bound).all()
    first._patience.n_closer = 0
    assert lists_of(rank_blocks(first, users), users) == lists_of(rank_blocks(plain, users), users)
    assert 10 * 20 <= first._patience.n_closer <= 3000 * 20 / 50


def test_a_user_beyond_the_range_of_float16_is_scored_in_float32():
    rng = np.random.default_rng(7)
    U, V = numbers(rng, 3, 5), numbers(rng, 50, 4)
    U[1] *= 100_000
    scorer = fused_scorer(U, V, layers(rng, [9, 32, 8, 1]))
    assert scorer.block(np.array([0, 2])).closer is not None
    assert scorer.block(np.array([0, 1])).closer is None


def test_a_sum_beyond_the_range_of_float32_has_no_bound():
    network = [(np.full((4, 9), 1e15), np.zeros(4)), (np.full((2, 4), 1e24), np.zeros(2)), (np.ones((1, 2)), [0.0])]
    network[2] = (np.full((1, 2), 1e-30), np.zeros(1))
    scorer = fused_scorer(np.ones((2, 5), np.float32), np.ones((5, 4), np.float32), network)
    assert scorer.block(np.arange(2)).closer is None


def raises():
    raise RuntimeError("no such device\nand a long trace")


@pytest.mark.parametrize(
    ("load", "reason"),
    [
        (raises, "RuntimeError: no such device$"),
        (lambda: lambda users, halves, items, network, out: out.zero_(), "differ from the reference"),
        (lambda: lambda users, halves, items, network, out: None, "differ from the reference"),
    ],
)
def test_a_kernel_that_fails_or_errs_is_a_warning_and_float32(monkeypatch, load, reason):
    rng = np.random.default_rng(8)
    U, V, network = numbers(rng, 3, 5), numbers(rng, 50, 4), layers(rng, [9, 32, 8, 1])
    monkeypatch.setattr(fused, "load_kernel", load)
    with pytest.warns(RuntimeWarning, match=reason) as warned:
        scorer = MlpScorer(U, V, network, fused=True)
    assert len(warned) == 1
    assert scorer.block(np.arange(3)).closer is None
    plain = MlpScorer(U, V, network, bfloat16=False)
    assert lists_of(rank_blocks(scorer, np.arange(3)), np.arange(3)) == lists_of(
        rank_blocks(plain, np.arange(3)), np.arange(3)
    )


@pytest.mark.parametrize("widths", [[9, 64, 1], [9, 64, 32, 16, 1], [9, 16, 257, 1]])
def test_other_shapes_are_scored_in_float32_without_a_word(widths):
    rng = np.random.default_rng(9)
    scorer = fused_scorer(numbers(rng, 4, 5), numbers(rng, 30, 4), layers(rng, widths))
    assert scorer.block(np.arange(4)).closer is None


def test_triton_is_imported_only_where_the_kernel_is_wanted():
    code = "import sys, recsys_polars.ranking; sys.exit('triton' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
