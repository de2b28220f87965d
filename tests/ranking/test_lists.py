"""What holds for every scorer: the lists are those of brute force, however the work is cut up."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_polars.ranking import BlockSizes, rank_blocks
from recsys_polars.ranking.rounding import floor_below
from tests.ranking import oracle
from tests.ranking.small_models import CROWDED, KINDS, lists_of, seen_rows

sizes = st.builds(
    BlockSizes,
    users=st.integers(1, 9),
    items=st.integers(1, 70),
    pending=st.sampled_from([1, 5, 40, 10_000]),
    threads=st.integers(1, 3),
)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    seed=st.integers(0, 10_000),
    levels=st.sampled_from([None, 1, 3]),
    k=st.sampled_from([1, 3, 10, 80]),
    hide=st.booleans(),
    choose=st.booleans(),
    cut=sizes,
)
def test_lists_equal_brute_force_whatever_the_block_and_tile_sizes(kind, seed, levels, k, hide, choose, cut):
    rng = np.random.default_rng(seed)
    case = KINDS[kind](rng, levels=levels)
    n_users, n_items = case.scores.shape
    users = rng.integers(0, n_users, size=rng.integers(0, 12)) if rng.integers(2) else rng.permutation(n_users)
    seen = seen_rows(rng, n_users, n_items) if hide else None
    candidates = np.flatnonzero(rng.random(n_items) < rng.random()) if choose else None
    blocks = rank_blocks(case.scorer, users, k=k, seen=seen, candidates=candidates, sizes=cut)
    assert lists_of(blocks, users) == oracle.lists(case.scores, users, k, seen, candidates)


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("memory_bytes", [0, 50_000, 10 << 20])
def test_memory_changes_nothing_in_the_lists(kind, memory_bytes):
    case = KINDS[kind](np.random.default_rng(3), levels=1)
    users = np.arange(len(case.scores))
    blocks = rank_blocks(case.scorer, users, k=7, memory_bytes=memory_bytes)
    assert lists_of(blocks, users) == oracle.lists(case.scores, users, 7)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_exact_gives_a_pair_the_same_bits_in_every_batch(kind):
    rng = np.random.default_rng(5)
    case = KINDS[kind](rng)
    n_users, n_items = case.scores.shape
    users, items = rng.integers(0, n_users, 5000), rng.integers(0, n_items, 5000)
    batch = case.scorer.exact(users, items)
    assert batch.dtype == np.float64
    assert np.array_equal(batch, case.scores[users, items])
    for one in range(0, 5000, 700):
        assert case.scorer.exact(users[one : one + 1], items[one : one + 1])[0] == batch[one]


LOOSE = {"trees": 2.0**-9, "bfloat16": 2.0**-4, "fused": 2.0**-7}  # trees are added up in float16


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("levels", [None, 3])
def test_no_fast_score_is_further_than_its_bound_from_the_canonical_one(kind, levels):
    case = KINDS[kind](np.random.default_rng(6), levels=levels)
    users = np.arange(len(case.scores))
    block = case.scorer.block(users)
    fast = block.score(slice(0, case.scorer.n_items)).double().numpy()
    assert fast.shape == case.scores.shape
    assert block.bound.dtype == torch.float32
    assert (np.abs(fast - case.scores).max(axis=1) <= block.bound.double().numpy()).all()
    loose = next((loss for word, loss in LOOSE.items() if word in kind), 1e-5)
    assert block.bound.max() < 2 * loose * np.abs(case.scores).max() + loose  # and a bound that says something


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_fast_scores_of_chosen_rows_are_those_of_a_slice(kind):
    case = KINDS[kind](np.random.default_rng(7))
    block = case.scorer.block(np.array([1, 0, 1]))
    whole = block.score(slice(0, case.scorer.n_items)).clone()
    rows = torch.tensor([3, 4, 30])
    assert torch.allclose(block.score(rows), whole[:, rows], atol=1e-5)


@pytest.mark.parametrize("kind", ["dot", "bfloat16_dot", "two_tower", "mlp", "bfloat16_mlp", "trees"])
def test_the_thread_count_changes_no_bit(kind):
    found = []
    threads = torch.get_num_threads()
    try:
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            case = KINDS[kind](np.random.default_rng(8), n_users=9, n_items=400)
            users = np.arange(9)
            found.append(lists_of(rank_blocks(case.scorer, users, k=20), users))
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", sorted(CROWDED))
@pytest.mark.parametrize("seed", range(3))
def test_scores_closer_than_float32_can_tell_are_ordered_by_their_canonical_value(kind, seed):
    case = CROWDED[kind](np.random.default_rng(seed))
    users = np.arange(len(case.scores))
    for k, cut in ((1, BlockSizes(3, 400, 10_000)), (10, BlockSizes(1, 64, 30))):
        found = lists_of(rank_blocks(case.scorer, users, k=k, sizes=cut), users)
        assert found == oracle.lists(case.scores, users, k)


@pytest.mark.parametrize("kind", sorted(CROWDED))
@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_lists_and_bounds_hold_at_every_matmul_precision_of_torch(kind, precision):
    case = CROWDED[kind](np.random.default_rng(9))
    users = np.arange(len(case.scores))
    try:
        torch.set_float32_matmul_precision(precision)
        block = case.scorer.block(users)
        fast, bound = block.score(slice(0, case.scorer.n_items)).double().numpy(), block.bound.double().numpy()
        found = lists_of(rank_blocks(case.scorer, users, k=10), users)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert found == oracle.lists(case.scores, users, 10)
    assert (np.abs(fast - case.scores).max(axis=1) <= bound).all()


@given(
    value=st.floats(-(2.0**99), 2.0**99, width=32),
    share=st.sampled_from([0.0, 1e-9, 1e-7, 1e-3, 1.0, 100.0]),
)
def test_an_item_below_the_floor_cannot_be_stored_as_high_as_the_k_th(value, share):
    margin = torch.tensor([abs(value) * share], dtype=torch.float32)
    floor = floor_below(torch.tensor([value], dtype=torch.float32), margin)
    best_left_out = np.nextafter(floor.numpy()[0], np.float32(-np.inf)).astype(np.float64)
    half = float(margin[0]) / 2
    assert np.float32(best_left_out + half) < np.float32(value - half)
