"""Trees that share a table: the same sums, whatever the groups."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_polars.ranking import BlockSizes, TreeScorer, rank_blocks
from recsys_polars.ranking.patterns import first_of_each_kind, joint_patterns
from tests.ranking import oracle
from tests.ranking.small_models import lists_of


def random_bits(rng, n_items=200, n_trees=12):
    return np.column_stack([rng.integers(0, rng.integers(1, 9), size=n_items) for _ in range(n_trees)]).astype(np.uint8)


@given(seed=st.integers(0, 1000), most_rows=st.sampled_from([1, 2, 20, 100, 10_000]))
def test_the_joint_rows_of_an_item_are_its_rows_of_all_trees(seed, most_rows):
    bits = random_bits(np.random.default_rng(seed))
    found = joint_patterns(bits, most_rows=most_rows)
    members = np.split(found.members, found.offsets[1:])
    for item in (0, 1, 199):
        rows = np.concatenate([members[code] for code in found.codes[item]])
        rows = rows[np.argsort(found.tree[rows])]
        assert found.tree[rows].tolist() == list(range(12))
        assert found.bits[rows].tolist() == bits[item].tolist()


@pytest.mark.parametrize("most_rows", [1, 20, 100])
def test_a_shared_table_has_no_more_rows_than_allowed(most_rows):
    found = joint_patterns(random_bits(np.random.default_rng(0)), most_rows=most_rows)
    widest_tree = np.bincount(found.tree).max()
    assert (np.array([len(np.unique(codes)) for codes in found.codes.T]) <= max(most_rows, widest_tree)).all()


def test_trees_that_split_items_in_the_same_way_share_one_table():
    bits = np.arange(64)[:, None].repeat(5, axis=1)
    assert joint_patterns(bits, most_rows=64).codes.shape == (64, 1)


def test_items_of_a_kind_are_alike_in_all_trees():
    first, kind = first_of_each_kind(np.array([[1, 2], [3, 4], [1, 2], [1, 4]], dtype=np.uint8))
    assert first.tolist() == [0, 1, 3]
    assert kind.tolist() == [0, 1, 0, 2]


def test_values_that_cancel_between_trees_keep_the_bound():
    rng = np.random.default_rng(2)
    values = [1e-6 * rng.normal(size=16) + 1e9 * (-1) ** tree for tree in range(12)]
    user_bits, item_bits = np.zeros((1, 12), np.uint8), random_bits(rng)
    block = TreeScorer(user_bits, item_bits, values, n_users=1).block(np.arange(1))
    scores = oracle.tree_scores(user_bits, item_bits, values, 1.0, 0.0)
    assert np.abs(block.score(slice(0, 200)).double().numpy() - scores).max() <= block.bound[0].item()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    magnitude=st.sampled_from([0.0, 1e-40, 1e-12, 1e-3, 1.0, 1e5, 1e30]),
    offset=st.sampled_from([0.0, 1e-3, 10.0, 1e6]),
)
def test_lists_and_bounds_hold_whatever_the_size_of_the_leaf_values(seed, magnitude, offset):
    rng = np.random.default_rng(seed)
    user_bits, item_bits = rng.integers(0, 2, size=(3, 12)) * 8, random_bits(rng)
    values = [magnitude * rng.normal(size=16) + offset * rng.normal() for _ in range(12)]
    scorer = TreeScorer(user_bits, item_bits, values, n_users=3, scale=float(rng.choice([-2.0, 0.7])), bias=offset)
    scores = oracle.tree_scores(user_bits, item_bits, values, scorer._scale, offset)
    block = scorer.block(np.arange(3))
    fast, bound = block.score(slice(0, 200)).double().numpy(), block.bound.double().numpy()
    assert (np.abs(fast - scores).max(axis=1) <= bound).all()
    found = lists_of(rank_blocks(scorer, np.arange(3), k=5, sizes=BlockSizes(2, 90, 50)), np.arange(3))
    assert found == oracle.lists(scores, np.arange(3), 5)
