"""Small random models, each with the table of its canonical scores by brute force."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest

from recsys_polars.ranking import DotScorer, MlpScorer, PerItemScorer, SparseRows, TreeScorer, fused
from tests.ranking import oracle


class Case(NamedTuple):
    scorer: object
    scores: np.ndarray  # float64 (n_users, n_items)


def numbers(rng, *shape, levels=None):
    """Normal float32 numbers; of `levels`, small multiples of 1/2, so that scores tie exactly."""
    if levels is None:
        return rng.normal(size=shape).astype(np.float32)
    return (rng.integers(-levels, levels + 1, size=shape) / 2).astype(np.float32)


def layers(rng, widths, levels=None):
    return [
        (numbers(rng, d_out, d_in, levels=levels), numbers(rng, d_out, levels=levels))
        for d_in, d_out in pairwise(widths)
    ]


def near_ties(rng, vectors):
    """Half of the rows become a copy of row 0, one float32 step away in one column: scores that differ in the last
    bits."""
    for row in range(0, len(vectors), 2):
        vectors[row] = vectors[0]
        column = rng.integers(vectors.shape[1])
        vectors[row, column] = np.nextafter(vectors[0, column], np.float32(rng.choice([-9, 9])))
    return vectors


def dot(rng, n_users=7, n_items=60, levels=None):
    U, V = numbers(rng, n_users, 5, levels=levels), numbers(rng, n_items, 5, levels=levels)
    if levels is None:
        V = near_ties(rng, V)
    bias = numbers(rng, n_items, levels=levels) if rng.integers(2) else None
    return Case(DotScorer(U, V, item_bias=bias), oracle.dot_scores(U, V, item_bias=bias))


def bfloat16_dot(rng, n_users=7, n_items=60, levels=None):
    """As on a CPU with instructions for bfloat16: a first look, a closer one, and the canonical score."""
    U, V = numbers(rng, n_users, 5, levels=levels), numbers(rng, n_items, 5, levels=levels)
    if levels is None:
        V = near_ties(rng, V)
    bias = numbers(rng, n_items, levels=levels) - 2 if rng.integers(2) else None  # negative scores too
    return Case(DotScorer(U, V, item_bias=bias, bfloat16=True), oracle.dot_scores(U, V, item_bias=bias))


def two_tower(rng, n_users=7, n_items=60, levels=None):
    U, V = numbers(rng, n_users, 4, levels=levels), near_ties(rng, numbers(rng, n_items, 3, levels=levels))
    towers = {"user_tower": layers(rng, [4, 6, 5], levels), "item_tower": layers(rng, [3, 5], levels)}
    return Case(DotScorer(U, V, **towers), oracle.dot_scores(U, V, **towers))


def mlp(rng, n_users=6, n_items=50, levels=None):
    U, V = numbers(rng, n_users, 4, levels=levels), numbers(rng, n_items, 3, levels=levels)
    if levels is None:
        V = near_ties(rng, V)
    network = layers(rng, [7, 6, 4, 1] if rng.integers(2) else [7, 5, 1], levels)
    return Case(MlpScorer(U, V, network, scratch_pairs=int(rng.choice([1, 7, 4096]))), oracle.mlp_scores(U, V, network))


def bfloat16_mlp(rng, n_users=6, n_items=50, levels=None):
    """As on a CPU with instructions for bfloat16: a first look, a closer one, and the canonical score."""
    U, V = numbers(rng, n_users, 4, levels=levels), numbers(rng, n_items, 3, levels=levels)
    if levels is None:
        V = near_ties(rng, V)
    network = layers(rng, [7, int(rng.integers(1, 12)), int(rng.integers(1, 6)), 1], levels)
    scorer = MlpScorer(U, V, network, scratch_pairs=int(rng.choice([1, 7, 4096])), bfloat16=True)
    return Case(scorer, oracle.mlp_scores(U, V, network))


def fused_scorer(U, V, network, kernel=fused.reference, **options):
    """As on a GPU, but for the kernel: a first look in float16, a closer one, and the canonical score."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "load_kernel", lambda: kernel)
        return MlpScorer(U, V, network, fused=True, **options)


def fused_mlp(rng, n_users=6, n_items=50, levels=None):
    U, V = numbers(rng, n_users, 4, levels=levels), numbers(rng, n_items, 3, levels=levels)
    if levels is None:
        V = near_ties(rng, V)
    network = layers(rng, [7, int(rng.integers(1, 40)), int(rng.integers(1, 20)), 1], levels)
    scorer = fused_scorer(U, V, network, scratch_pairs=int(rng.choice([1, 7, 4096])))
    return Case(scorer, oracle.mlp_scores(U, V, network))


def trees(rng, n_users=7, n_items=60, levels=None):
    depths = rng.integers(0, 5, size=6)
    masks = np.array([rng.integers(0, 1 << d) for d in depths])
    user_bits = (rng.integers(0, 16, size=(n_users, 6)) & ~masks & ((1 << depths) - 1)).astype(np.uint16)
    item_bits = (rng.integers(0, 16, size=(n_items, 6)) & masks).astype(np.uint16)
    values = [numbers(rng, 1 << d, levels=levels).astype(np.float64) / 3 for d in depths]
    given = user_bits if rng.integers(2) else user_bits.__getitem__
    scorer = TreeScorer(given, item_bits, values, n_users=n_users, scale=0.7, bias=-1.3)
    return Case(scorer, oracle.tree_scores(user_bits, item_bits, values, 0.7, -1.3))


def trees_of_few_kinds(rng, n_users=7, n_items=60, levels=None):
    """Five kinds of items, which are scored once each; deep trees, so that leaves need more than a byte."""
    user_bits = (rng.integers(0, 512, size=(n_users, 6)) & 0b101010101).astype(np.int64)
    item_bits = (rng.integers(0, 512, size=(5, 6)) & 0b010101010)[rng.integers(0, 5, size=n_items)].astype(np.uint32)
    values = [numbers(rng, 512, levels=levels).astype(np.float64) / 3 for _ in range(6)]
    scorer = TreeScorer(user_bits, item_bits, values, n_users=n_users, scale=-0.3, bias=2.0)
    return Case(scorer, oracle.tree_scores(user_bits, item_bits, values, -0.3, 2.0))


def popularity(rng, n_users=7, n_items=60, levels=None):
    scores = np.floor(rng.gamma(1.0, 3.0, size=n_items)) if levels else rng.normal(size=n_items)
    return Case(PerItemScorer(scores, n_users=n_users), np.tile(scores, (n_users, 1)))


def user_free_mlp(rng, n_users=5, n_items=40, levels=None):
    U, V = np.zeros((n_users, 0), dtype=np.float32), numbers(rng, n_items, 3, levels=levels)
    network = layers(rng, [3, 4, 1], levels)
    return Case(MlpScorer(U, V, network), oracle.mlp_scores(U, V, network))


def user_free_trees(rng, n_users=5, n_items=40, levels=None):
    item_bits = rng.integers(0, 8, size=(n_items, 4)).astype(np.uint32)
    values = [numbers(rng, 8, levels=levels).astype(np.float64) for _ in range(4)]
    scores = oracle.tree_scores(np.zeros((n_users, 4), dtype=int), item_bits, values, 1.0, 0.0)
    return Case(TreeScorer(None, item_bits, values, n_users=n_users), scores)


def crowd(rng, width, n):
    """n copies of one vector, a few float32 steps off in each column: scores differ by less than float32 errs."""
    return (numbers(rng, width) * (1 + rng.integers(-2, 3, size=(n, width)) * 2.0**-23)).astype(np.float32)


def crowded_dot(rng):
    U, V = numbers(rng, 3, 64), crowd(rng, 64, 400)
    return Case(DotScorer(U, V), oracle.dot_scores(U, V))


def crowded_bfloat16_dot(rng):
    """Many more items than bfloat16 can tell apart, all of negative scores, in tiles of several groups of groups."""
    U, V = np.abs(numbers(rng, 3, 12)), -np.abs(numbers(rng, 12)) * (1 + numbers(rng, 2000, 12) * 2.0**-10)
    V = V.astype(np.float32)
    return Case(DotScorer(U, V, bfloat16=True), oracle.dot_scores(U, V))


def crowded_two_tower(rng):
    U, V = numbers(rng, 3, 12), crowd(rng, 12, 400)
    towers = {"user_tower": layers(rng, [12, 16]), "item_tower": layers(rng, [12, 20, 16])}
    return Case(DotScorer(U, V, **towers), oracle.dot_scores(U, V, **towers))


def crowded_mlp(rng):
    U, V, network = numbers(rng, 3, 10), crowd(rng, 10, 300), layers(rng, [20, 32, 8, 1])
    return Case(MlpScorer(U, V, network), oracle.mlp_scores(U, V, network))


def crowded_bfloat16_mlp(rng):
    """Many more items than bfloat16 can tell apart, some of them no more than float32 can."""
    near = [crowd(rng, 10, 150), numbers(rng, 10) * (1 + numbers(rng, 150, 10) * 2.0**-10)]
    U, V, network = numbers(rng, 3, 10), np.concatenate(near).astype(np.float32), layers(rng, [20, 32, 8, 1])
    return Case(MlpScorer(U, V, network, bfloat16=True), oracle.mlp_scores(U, V, network))


def crowded_fused_mlp(rng):
    """The same for float16."""
    near = [crowd(rng, 10, 150), numbers(rng, 10) * (1 + numbers(rng, 150, 10) * 2.0**-13)]
    U, V, network = numbers(rng, 3, 10), np.concatenate(near).astype(np.float32), layers(rng, [20, 32, 8, 1])
    return Case(fused_scorer(U, V, network), oracle.mlp_scores(U, V, network))


def crowded_trees(rng):
    """Items with the same leaf values in another order of trees: equal sums but for the last bits."""
    values = [(np.array([0.0, 1.0, 3.0]) / 7 + 1e-9 * rng.normal(size=3)) for _ in range(20)]
    one = rng.integers(0, 3, size=20)
    item_bits = np.array([rng.permutation(one) for _ in range(300)]).astype(np.uint16)
    scores = oracle.tree_scores(np.zeros((2, 20), dtype=int), item_bits, values, 1.0, 0.0)
    return Case(TreeScorer(np.zeros((2, 20), np.uint16), item_bits, values, n_users=2), scores)


CROWDED = {
    make.__name__: make
    for make in (
        crowded_dot,
        crowded_bfloat16_dot,
        crowded_two_tower,
        crowded_mlp,
        crowded_bfloat16_mlp,
        crowded_fused_mlp,
        crowded_trees,
    )
}
KINDS = {
    make.__name__: make
    for make in (
        dot,
        bfloat16_dot,
        two_tower,
        mlp,
        bfloat16_mlp,
        fused_mlp,
        trees,
        trees_of_few_kinds,
        popularity,
        user_free_mlp,
        user_free_trees,
    )
}


def seen_rows(rng, n_users, n_items, most=20):
    """Up to `most` seen items a user, unsorted, with repeats."""
    rows = [rng.integers(0, n_items, size=rng.integers(0, most + 1)) for _ in range(n_users)]
    return SparseRows(np.concatenate([[0], np.cumsum([len(row) for row in rows])]), np.concatenate(rows))


def lists_of(blocks, users):
    """Flat blocks -> {place in `users`: [(item, score), ...]}. A user without items has no row, so places are matched
    in order."""
    found, covered = {place: [] for place in range(len(users))}, 0
    for block in blocks:
        assert block.start == covered
        place, covered = block.start - 1, block.stop
        for user, item, score, rank in zip(block.users, block.items, block.scores, block.ranks, strict=True):
            if rank == 1:
                place = next(p for p in range(place + 1, block.stop) if users[p] == user)
            assert users[place] == user
            assert rank == len(found[place]) + 1
            found[place].append((int(item), score))
    assert covered == len(users)
    return found
