"""The second stage: what one scorer listed, in the order of another."""

import numpy as np
import pytest

from recsys_polars.ranking import DotScorer, rank_blocks
from recsys_polars.ranking.rescore import rescored


def plain(scores):
    """A scorer whose table of scores is seen by eye: user u, item i -> scores[u][i]."""
    scores = np.array(scores, dtype=np.float32)
    return DotScorer(np.eye(len(scores), dtype=np.float32), scores.T.copy(), name="plain")


FIRST = [[5, 4, 3, 2], [1, 2, 3, 4], [9, 9, 0, 9]]
SECOND = [[0, 7, 1, 9], [6, 5, 8, 8], [2, 3, 9, 3]]


def two_stages(users, *, n, k):
    tops = [rescored(top, plain(SECOND), k=k) for top in rank_blocks(plain(FIRST), np.array(users), k=n)]
    lists = [zip(top.users, top.items, top.scores, top.ranks, strict=True) for top in tops]
    return [(int(u), int(i), float(s), int(r)) for one in lists for u, i, s, r in one]


def test_only_what_the_first_stage_listed_is_ordered_by_the_second():
    assert two_stages([0], n=3, k=2) == [(0, 1, 7.0, 1), (0, 2, 1.0, 2)]  # item 3 scores 9, but wasn't listed


def test_equal_scores_are_ordered_by_item_row():
    assert two_stages([1], n=4, k=3) == [(1, 2, 8.0, 1), (1, 3, 8.0, 2), (1, 0, 6.0, 3)]


def test_users_keep_their_order_also_where_one_is_asked_for_twice():
    assert [(u, i) for u, i, _, _ in two_stages([2, 0, 2], n=2, k=1)] == [(2, 1), (0, 1), (2, 1)]


@pytest.mark.parametrize("k", [1, 3])
def test_all_items_from_the_first_stage_give_the_lists_of_the_second(k):
    tops = list(rank_blocks(plain(SECOND), np.arange(3), k=k))
    columns = (np.concatenate([getattr(top, name) for top in tops]) for name in ("users", "items", "scores"))
    whole = list(zip(*(column.tolist() for column in columns), strict=True))
    assert [(u, i, s) for u, i, s, _ in two_stages([0, 1, 2], n=4, k=k)] == whole
