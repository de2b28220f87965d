"""The loop's edges: short lists, empty ones, huge ties, broken scores, bad arguments."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recsys_polars.errors import ArtefactError, InputError
from recsys_polars.ranking import (
    BlockSizes,
    DotScorer,
    MlpScorer,
    PerItemScorer,
    SparseRows,
    TreeScorer,
    devices,
    rank_blocks,
)
from recsys_polars.ranking.rank import block_sizes


def plain(scores):
    """A scorer whose table of scores is seen by eye: user u, item i -> scores[u][i]."""
    scores = np.array(scores, dtype=np.float32)
    return DotScorer(np.eye(len(scores), dtype=np.float32), scores.T.copy(), name="plain")


def flat(blocks):
    blocks = list(blocks)
    return [(int(u), int(i)) for block in blocks for u, i in zip(block.users, block.items, strict=True)]


def test_equal_scores_are_ordered_by_item_row_ascending():
    assert flat(rank_blocks(plain([[1, 2, 2, 0, 2]]), np.array([0]), k=4)) == [(0, 1), (0, 2), (0, 4), (0, 0)]


def test_scores_that_round_to_the_same_float32_are_equal():
    almost = np.array([1.0, 1.0 + 1e-12, 1.0 - 1e-12, 1.0 + 1e-3])
    assert flat(rank_blocks(PerItemScorer(almost, n_users=1), np.array([0]), k=4)) == [(0, 3), (0, 0), (0, 1), (0, 2)]


def test_the_stored_score_decides_where_the_float64_scores_differ():
    # 1 + 2^-30 beats 1 in float64; stored, both are 1, and the lower row comes first.
    scorer = DotScorer(np.ones((1, 2), np.float32), np.array([[1, 0], [1, 2.0**-30], [1, 2.0**-22]], np.float32))
    assert flat(rank_blocks(scorer, np.array([0]), k=2)) == [(0, 2), (0, 0)]


def test_zero_has_no_sign():
    scorer = PerItemScorer(np.array([-0.0, 0.0]), n_users=1)
    (block,) = rank_blocks(scorer, np.array([0]), k=2)
    assert block.items.tolist() == [0, 1]
    assert not np.signbit(block.scores).any()


def test_a_block_has_the_promised_types():
    (block,) = rank_blocks(plain([[1, 2, 3]]), np.array([0]), k=2)
    assert (block.scores.dtype, block.ranks.dtype) == (np.float32, np.uint32)
    assert block.ranks.tolist() == [1, 2]
    assert block.scores.tolist() == [3.0, 2.0]


def test_lists_follow_the_order_of_users_also_where_one_is_asked_twice():
    scorer = plain([[1, 2], [2, 1]])
    assert flat(rank_blocks(scorer, np.array([1, 0, 1]), k=1)) == [(1, 0), (0, 1), (1, 0)]


@pytest.mark.parametrize("scorer", [plain([[3, 2, 1], [1, 2, 3]]), PerItemScorer(np.arange(3.0), n_users=2)])
class TestShortLists:
    def test_k_beyond_the_candidates_gives_them_all(self, scorer):
        (block,) = rank_blocks(scorer, np.array([1]), k=50, candidates=np.array([0, 2]))
        assert block.items.tolist() == [2, 0]

    def test_a_user_who_has_seen_everything_has_no_list(self, scorer):
        seen = SparseRows(np.array([0, 3, 3]), np.array([2, 0, 1]))
        (block,) = rank_blocks(scorer, np.array([0, 1]), k=1, seen=seen, sizes=BlockSizes(2, 3, 10))
        assert (block.users.tolist(), block.items.tolist(), block.stop) == ([1], [2], 2)

    def test_no_candidates_give_an_empty_block_per_block_of_users(self, scorer):
        nothing = np.array([], dtype=np.int64)
        blocks = list(rank_blocks(scorer, np.array([0, 1]), candidates=nothing, sizes=BlockSizes(2, 3, 10)))
        assert [(block.start, block.stop, len(block.items)) for block in blocks] == [(0, 2, 0)]

    def test_no_users_give_no_blocks(self, scorer):
        assert list(rank_blocks(scorer, np.array([], dtype=np.int64))) == []

    def test_a_seen_item_off_the_candidates_hides_nothing(self, scorer):
        seen = SparseRows(np.array([0, 0, 1]), np.array([1]))
        (block,) = rank_blocks(scorer, np.array([1]), candidates=np.array([0, 2]), seen=seen)
        assert block.items.tolist() == [2, 0]


def huge_ties():
    rng = np.random.default_rng(0)
    U, V = np.ones((3, 4), np.float32), np.full((5000, 4), 0.1, np.float32)
    network = [(rng.normal(size=(6, 8)).astype(np.float32), np.ones(6, np.float32)), (np.ones((1, 6)), np.ones(1))]
    leaves = [np.array([0.1, 0.2])] * 5
    return {
        "dot": DotScorer(U, V),
        "mlp": MlpScorer(U, V, network),
        "trees": TreeScorer(np.ones((3, 5), np.uint16), np.zeros((5000, 5), np.uint16), leaves, n_users=3),
        "popularity": PerItemScorer(np.ones(5000), n_users=3),
    }


@pytest.mark.parametrize("kind", ["dot", "mlp", "trees", "popularity"])
def test_five_thousand_equal_scores_give_the_lowest_unseen_rows_in_little_memory(kind):
    scorer = huge_ties()[kind]
    seen = SparseRows(np.array([0, 2, 2, 3]), np.array([0, 2, 1]))
    found = flat(rank_blocks(scorer, np.arange(3), k=3, seen=seen, memory_bytes=100_000))
    assert found == [(0, 1), (0, 3), (0, 4), (1, 0), (1, 1), (1, 2), (2, 0), (2, 2), (2, 3)]


def test_a_shortlist_never_asks_for_more_pairs_than_its_capacity_allows():
    scorer, asked = DotScorer(np.ones((8, 2), np.float32), np.ones((5000, 2), np.float32)), []
    exact = scorer.exact
    scorer.exact = lambda users, items: asked.append(len(users)) or exact(users, items)
    list(rank_blocks(scorer, np.arange(8), k=2, sizes=BlockSizes(users=8, items=5000, pending=300)))
    assert max(asked) <= 2 * 300


def test_sizes_shrink_with_the_memory_down_to_one_user():
    scorer = plain(np.zeros((4, 3)))
    wide = block_sizes(scorer, n_users=1000, n_items=100_000, k=10, memory_bytes=1 << 30)
    narrow = block_sizes(scorer, n_users=1000, n_items=100_000, k=10, memory_bytes=1 << 20)
    least = block_sizes(scorer, n_users=1000, n_items=100_000, k=10, memory_bytes=0)
    assert wide.users * wide.items > narrow.users * narrow.items > least.users * least.items
    assert (least.users, least.items) == (1, 256)


def test_a_gpu_gets_large_blocks_and_tiles_in_the_same_memory():
    device = torch.device("cuda")
    scorer = SimpleNamespace(
        device=device, block_users=devices.block_users(device), user_bytes=17_000, threads_share_blocks=False
    )
    sizes = block_sizes(scorer, n_users=85_083, n_items=67_706, k=10, memory_bytes=1 << 30)
    assert (sizes.users, sizes.threads) == (4096, 1)
    assert sizes.items > 10_000
    assert sizes.users * (4 * sizes.items + scorer.user_bytes) < 1 << 29


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("of", ["user", "item"])
def test_a_score_that_is_no_number_is_an_error_that_names_scorer_user_and_item(value, of):
    U, V = np.ones((3, 2), np.float32), np.ones((40, 2), np.float32)
    (U[2:] if of == "user" else V[7:8])[...] = value
    with pytest.raises(ArtefactError, match=r"tt: score of user row \d, item row \d+: expected a finite float32"):
        list(rank_blocks(DotScorer(U, V, name="tt"), np.arange(3)))


def test_a_nan_in_a_user_invariant_scorer_is_an_error_too():
    scorer = PerItemScorer(np.array([1.0, np.nan]), n_users=2)
    with pytest.raises(ArtefactError, match=r"popularity: score of user row 0, item row 1: .* found nan"):
        list(rank_blocks(scorer, np.array([0])))


def test_a_nan_inside_an_mlp_is_an_error():
    U, V = np.ones((2, 1), np.float32), np.array([[1], [np.nan]], np.float32)
    scorer = MlpScorer(U, V, [(np.ones((2, 2)), np.zeros(2)), (np.ones((1, 2)), np.zeros(1))])
    with pytest.raises(ArtefactError, match="mlp: score of user row 0, item row 1"):
        list(rank_blocks(scorer, np.array([0])))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "k: expected 1 or more, found 0"),
        ({"users": np.array([2])}, "users: expected rows from 0 to 1, found 2 to 2"),
        ({"users": np.array([-1])}, "users: expected rows from 0 to 1"),
        ({"candidates": np.array([1, 0])}, "candidates: expected strictly ascending"),
        ({"candidates": np.array([1, 1])}, "candidates: expected strictly ascending"),
        ({"candidates": np.array([3])}, "candidates: expected rows from 0 to 2"),
        ({"seen": SparseRows(np.array([0, 0]), np.array([], dtype=int))}, "seen: expected 3 offsets, found 2"),
        ({"seen": SparseRows(np.array([0, 0, 1]), np.array([3]))}, "seen: expected rows from 0 to 2"),
    ],
)
def test_wrong_arguments_are_named_before_any_work(change, message):
    with pytest.raises(InputError, match=message):
        rank_blocks(plain([[1, 2, 3], [1, 2, 3]]), **{"users": np.array([0]), **change})


def test_a_killed_ranking_goes_on_from_the_stop_of_its_last_block():
    scorer, users = plain(np.random.default_rng(1).normal(size=(9, 30))), np.array([4, 2, 8, 0, 7, 1])
    whole = list(rank_blocks(scorer, users, k=3, sizes=BlockSizes(2, 10, 100)))
    rest = rank_blocks(scorer, users[whole[0].stop :], k=3, sizes=BlockSizes(3, 30, 100))
    assert flat(whole) == flat(whole[:1]) + flat(rest)
