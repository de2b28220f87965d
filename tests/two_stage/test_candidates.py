"""Candidates: the best unseen items of each signal; nobody's depend on who is asked beside them."""

import dataclasses

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_polars.ranking.protocol import SparseRows
from recsys_polars.two_stage import candidates as product
from recsys_polars.two_stage.candidates import Candidates, Pairs, choose_best, ranks_within
from recsys_polars.two_stage.past import catalogue_of, past_of
from tests.oracles import signals as oracle
from tests.two_stage.histories import events_of, everything, history_of, lists_of, small_history

SMALL = small_history(11, n_users=24, n_items=40, n_events=160)
CANDIDATES = Candidates(SMALL.past)
N_USERS, N_ITEMS = len(SMALL.user_ids), len(SMALL.item_ids)
EVERYBODY = np.arange(N_USERS)


def gathered(blocks: list[Pairs]) -> Pairs:
    """Blocks as one."""
    columns = (np.concatenate([getattr(one, name) for one in blocks]) for name in ("places", "items", "features"))
    return Pairs(0, blocks[-1].stop, *columns)


def pairs_of(users, seen, allowed, **least) -> Pairs:
    return gathered(list(CANDIDATES.blocks(users, seen=seen, allowed=allowed, **least)))


def of_place(pairs: Pairs, place: int) -> tuple[list[int], bytes]:
    mine = pairs.places == place
    return pairs.items[mine].tolist(), pairs.features[mine].tobytes()


@pytest.mark.parametrize("n_least", [0, 1, 7, 10_000])
@pytest.mark.parametrize("n_each", [1, 3])
def test_candidates_are_the_best_free_items_of_each_proposer(monkeypatch, n_each, n_least):
    monkeypatch.setattr(product, "N_EACH", n_each)
    allowed = np.random.default_rng(n_least).random(N_ITEMS) < 0.7
    seen = SMALL.seen(EVERYBODY)
    found = pairs_of(EVERYBODY, seen, allowed, n_least=n_least)
    features = everything(CANDIDATES, N_USERS, N_ITEMS)
    for user in EVERYBODY:
        hidden = set(seen.indices[seen.indptr[user] : seen.indptr[user + 1]].tolist())
        free = [item for item in range(N_ITEMS) if allowed[item] and item not in hidden]
        scores = {name: features[name][user].tolist() for name in CANDIDATES.proposers}
        expected = oracle.candidates(scores, free, n_each=n_each, n_least=n_least)
        assert found.items[found.places == user].tolist() == expected
        assert len(expected) >= min(n_least, len(free))


@pytest.mark.parametrize("n_least", [0, 5])
def test_candidates_are_what_signals_propose_each_the_best_first(monkeypatch, n_least):
    monkeypatch.setattr(product, "N_EACH", 3)
    allowed = np.random.default_rng(4).random(N_ITEMS) < 0.7
    features = everything(CANDIDATES, N_USERS, N_ITEMS)
    for user in EVERYBODY:
        seen = SMALL.seen(np.array([user]))
        found = CANDIDATES.proposals(user, seen=seen, allowed=allowed, n_least=n_least)
        free = [item for item in range(N_ITEMS) if allowed[item] and item not in set(seen.indices.tolist())]
        for name, items in found.items():
            scores = features[name][user]
            best = sorted((item for item in free if scores[item] > 0), key=lambda item: (-scores[item], item))
            assert items.tolist() == best[: max(3, n_least)]
        (pairs,) = CANDIDATES.blocks(np.array([user]), seen=seen, allowed=allowed, n_least=n_least)
        proposed = set().union(*(items.tolist() for items in found.values()))
        assert proposed <= set(pairs.items.tolist())
        assert len(pairs.items) == max(len(proposed), min(n_least, len(free)))


def test_what_features_tell_of_is_the_family_of_their_signal():
    found = dict(zip(CANDIDATES.names, CANDIDATES.groups, strict=True))
    assert len(found) == len(CANDIDATES.names) == len(CANDIDATES.groups)
    expected = {
        "popularity": ("popularity_0.02", "popularity", "popularity_0.05_rank"),
        "cosine": ("cosine", "cosine_lately", "cosine_recent_rank"),
        "regression": ("regression_recent",),
        "text": ("text", "text_rank"),
        "cooccurrence": ("cooccurrence_recent",),
        "title": ("title_count", "title_share"),
        "item": ("age", "price"),
        "user": ("n_likes", "user_idle"),
    }
    assert {group: {found[name] for name in names} for group, names in expected.items()} == {
        group: {group} for group in expected
    }


def test_candidates_come_by_place_and_item_and_their_features_are_those_of_the_pair():
    allowed = np.ones(N_ITEMS, dtype=bool)
    users = np.array([5, 3, 3, 20])
    found = pairs_of(users, SMALL.seen(users), allowed)
    assert (np.lexsort((found.items, found.places)) == np.arange(len(found.items))).all()
    whole = everything(CANDIDATES, N_USERS, N_ITEMS)
    for column, name in enumerate(CANDIDATES.names):
        if not name.endswith("_rank"):
            expected = whole[name][users[found.places], found.items]
            np.testing.assert_array_equal(found.features[:, column], expected, err_msg=name)


@settings(max_examples=25, deadline=None)
@given(
    users=st.lists(st.integers(0, N_USERS - 1), min_size=1, max_size=30),
    block=st.integers(1, 9),
    most=st.integers(1, 200),
    n_least=st.sampled_from([0, 5, 60]),
    seed=st.integers(0, 99),
)
def test_candidates_and_features_have_the_same_bits_in_every_company_and_block(users, block, most, n_least, seed):
    allowed = np.random.default_rng(seed).random(N_ITEMS) < 0.8
    users = np.array(users)
    with pytest.MonkeyPatch.context() as patch:
        alone = pairs_of(EVERYBODY, SMALL.seen(EVERYBODY), allowed, n_least=n_least)
        patch.setattr(product, "BLOCK_SCORES", block * N_ITEMS)
        patch.setattr(product, "BLOCK_USERS", most)
        together = pairs_of(users, SMALL.seen(users), allowed, n_least=n_least)
    for place, user in enumerate(users):
        assert of_place(together, place) == of_place(alone, user)


def test_blocks_follow_one_another_and_are_no_larger_than_asked(monkeypatch):
    monkeypatch.setattr(product, "BLOCK_USERS", 7)
    blocks = list(CANDIDATES.blocks(EVERYBODY, seen=None, allowed=np.ones(N_ITEMS, dtype=bool)))
    assert [(one.start, one.stop) for one in blocks] == [(0, 7), (7, 14), (14, 21), (21, 24)]
    assert all(((one.start <= one.places) & (one.places < one.stop)).all() for one in blocks)
    assert not list(CANDIDATES.blocks(EVERYBODY[:0], seen=None, allowed=np.ones(N_ITEMS, dtype=bool)))


def test_who_comes_after_the_cut_changes_no_feature():
    """Users of the store without a past may lie anywhere among the others."""
    many = small_history(11, n_users=24, n_items=40, n_events=160)
    ids = sorted([*many.user_ids, *(f"t{number:02}" for number in range(60)), "u0035", "z"])
    with_others = dataclasses.replace(many.catalogue, user_ids=pl.Series(ids))
    crowd = Candidates(past_of(with_others, history_of(many.told), events_of(many.told)))
    rows = np.array([ids.index(user) for user in many.user_ids])
    allowed = np.ones(N_ITEMS, dtype=bool)
    found = gathered(list(crowd.blocks(rows, seen=None, allowed=allowed)))
    alone = pairs_of(EVERYBODY, None, allowed)
    for column, name in enumerate(CANDIDATES.names):
        np.testing.assert_array_equal(found.features[:, column], alone.features[:, column], err_msg=name)


def test_of_equal_scores_the_first_items_are_chosen_and_nothing_at_or_below_zero():
    scores = np.array([[1, 3, 1, 1, 0, -1], [0, 0, 0, 0, 0, 0], [np.nan, 2, 2, 2, 2, 9]], dtype=np.float32)
    hidden = np.zeros(scores.shape, dtype=bool)
    hidden[2, 5] = hidden[0, 0] = True
    chosen = np.zeros(scores.shape, dtype=bool)
    choose_best(scores, hidden, 2, chosen)
    assert chosen.tolist() == [
        [False, True, True, False, False, False],
        [False] * 6,
        [False, True, True, False, False, False],
    ]


def test_ranks_start_anew_at_each_place_and_ties_go_by_position():
    places = np.array([0, 0, 0, 2, 2, 2, 2])
    values = np.array([1, 5, 5, 0, 0, 7, -1], dtype=np.float32)
    assert ranks_within(places, values).tolist() == [2, 0, 1, 1, 2, 0, 3]


def test_a_past_of_one_item_and_one_user_has_candidates():
    small = small_history(0, n_users=2, n_items=2, n_events=3)
    told = small.told._replace(pairs=[("u001", "i001", 0, 1)], events=[("i001", 0)])
    one = small._replace(user_ids=["u001"], items=small.items[1:], told=told)
    found = Candidates(one.past)
    pairs = gathered(list(found.blocks(np.array([0]), seen=None, allowed=np.ones(1, dtype=bool))))
    assert pairs.items.tolist() == [0]
    assert not pairs.features[:, found.names.index("cooccurrence")].any()
    nothing = list(found.blocks(np.array([0]), seen=lists_of([[0]]), allowed=np.ones(1, dtype=bool), n_least=5))
    assert nothing[0].items.tolist() == []
    assert nothing[0].features.shape == (0, len(found.names))


def test_what_signals_leave_open_is_filled_with_the_first_items_and_no_more():
    few = small_history(1, n_users=3, n_items=30, n_events=6)
    liked = {few.item_ids.index(item) for _, item, _, label in few.told.pairs if label}
    assert len(liked) == 2
    without_words = few.items.with_columns(title=None, description=None, brand=None, category=None, clip=None)
    few = few._replace(items=without_words.cast(few.items.schema), told=few.told._replace(item_features=()))
    pairs = next(
        iter(Candidates(few.past).blocks(np.array([0]), seen=None, allowed=np.ones(30, dtype=bool), n_least=6))
    )
    assert pairs.items.tolist() == sorted({*liked, *[item for item in range(30) if item not in liked][:4]})


def test_nobody_liked_anything_and_everybody_still_gets_the_first_items():
    dislikes = [(user, item, time, 0) for user, item, time, _ in SMALL.told.pairs]
    disliked = Candidates(SMALL._replace(told=SMALL.told._replace(pairs=dislikes)).past)
    allowed = np.ones(N_ITEMS, dtype=bool)
    allowed[:2] = False
    pairs = gathered(
        list(disliked.blocks(EVERYBODY, seen=SparseRows(*lists_of([[2]] * N_USERS)), allowed=allowed, n_least=3))
    )
    assert pairs.items.reshape(N_USERS, 3).tolist() == [[3, 4, 5]] * N_USERS


def test_columns_of_the_user_never_share_a_name_with_ours():
    vectors = [pl.col("clip").alias(f"clip{end}") for end in ("_recent", "_rank", "]_rank", "_recent]")]
    numbers = [pl.col("weight").alias(f"maker{end}") for end in ("_count", "_share", "]_count", "_count_recent")]
    items = SMALL.items.with_columns(vectors + numbers)
    features = ("weight", "maker", *(number.meta.output_name() for number in numbers))
    catalogue = catalogue_of(items, SMALL.catalogue.user_ids, item_features=features)
    names = Candidates(past_of(catalogue, history_of(SMALL.told), events_of(SMALL.told))).names
    assert len(set(names)) == len(names) == len(CANDIDATES.names) + 4 + 4 * 3
