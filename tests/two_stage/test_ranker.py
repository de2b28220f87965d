"""Lists of both stages: what brute force would give, for every user, whoever is asked beside them."""

import numpy as np
import pytest

from recsys_polars.errors import ArtefactError
from recsys_polars.two_stage import candidates as first_stage
from recsys_polars.two_stage import trees as second_stage
from recsys_polars.two_stage.candidates import Candidates, Pairs
from recsys_polars.two_stage.ranker import TREES, Order, best_pairs, load_orders, rank_candidates, save_orders
from recsys_polars.two_stage.trees import Lesson, contains, learn, lesson, scores_of
from tests.ranking import oracle
from tests.two_stage.histories import lists_of, small_history
from tests.two_stage.shops import FEW

SMALL = small_history(21, n_users=20, n_items=130, n_events=300)
CANDIDATES = Candidates(SMALL.past)
N_USERS, N_ITEMS = len(SMALL.user_ids), len(SMALL.item_ids)
EVERYBODY = np.arange(N_USERS)


def random_lesson(seed: int, names) -> Lesson:
    chance = np.random.default_rng(seed)
    features = chance.normal(size=(400, len(names))).astype(np.float32)
    return Lesson(features, features[:, 0] + features[:, 6] > 0.5)


@pytest.fixture(scope="module")
def trees():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(second_stage, "PARAMETERS", FEW)
        allowed = np.ones(N_ITEMS, dtype=bool)
        blocks = list(CANDIDATES.blocks(EVERYBODY, seen=None, allowed=allowed))
        return learn([lesson(blocks, SMALL.seen(EVERYBODY), seed=3)], CANDIDATES.names, seed=3)


@pytest.fixture(params=["popularity", "cosine", "text", TREES])
def order(request, trees):
    return Order(request.param, trees if request.param == TREES else ())


def lists(order, users, **asked) -> dict[int, list[tuple[int, np.float32]]]:
    """{place: [(item, score), ..]}, from the rows of all blocks, whose order and ranks are checked on the way."""
    tops = list(rank_candidates(CANDIDATES, order, users, **asked))
    assert [top.start for top in tops] == [0, *(top.stop for top in tops)][:-1]
    found: dict[int, list] = {place: [] for place in range(len(users))}
    for top in tops:
        rows = zip(top.users.tolist(), top.items.tolist(), top.scores, top.ranks.tolist(), strict=True)
        for place, item, score, rank in rows:
            found[place].append((item, score))
            assert rank == len(found[place])
        assert (np.diff(top.users) >= 0).all()
        assert (top.users >= top.start).all()
        assert (top.users < top.stop).all()
    return found


def test_the_trees_tell_pairs_apart(trees):
    assert len(trees) == second_stage.N_SEEDS
    features = np.concatenate(
        [one.features for one in CANDIDATES.blocks(EVERYBODY, seen=None, allowed=np.ones(N_ITEMS, dtype=bool))]
    )
    assert len(np.unique(scores_of(trees, features))) > 5


@pytest.mark.parametrize("k", [1, 10, 120, 131, 100_000])
def test_lists_are_the_best_of_all_allowed_and_unseen_items(order, k):
    """With k of at least the number of items, everything is a candidate; with less, what the signals propose."""
    allowed = np.random.default_rng(k).random(N_ITEMS) < 0.9
    seen = SMALL.seen(EVERYBODY)
    found = lists(order, EVERYBODY, k=k, seen=seen, allowed=allowed)
    blocks = list(CANDIDATES.blocks(EVERYBODY, seen=seen, allowed=allowed, n_least=k))
    scores = np.full((N_USERS, N_ITEMS), -np.inf)
    for pairs in blocks:
        scores[pairs.places, pairs.items] = order.scores(pairs, CANDIDATES.names)
    expected = oracle.lists(scores, EVERYBODY, k, seen=seen, candidates=np.flatnonzero(allowed))
    assert found == {place: [pair for pair in one if np.isfinite(pair[1])] for place, one in expected.items()}
    for user, one in found.items():
        hidden = set(seen.indices[seen.indptr[user] : seen.indptr[user + 1]].tolist())
        assert not {item for item, _ in one} & (hidden | set(np.flatnonzero(~allowed).tolist()))
        assert len(one) == min(k, sum(allowed[item] and item not in hidden for item in range(N_ITEMS)))


def test_a_list_has_the_same_bits_in_every_company_and_block(order, monkeypatch):
    allowed = np.ones(N_ITEMS, dtype=bool)
    alone = lists(order, EVERYBODY, k=15, seen=SMALL.seen(EVERYBODY), allowed=allowed)
    for users, block in (([7], 1), ([19, 3, 7, 7, 0, 12], 2), (EVERYBODY[::-1], 7), (np.repeat(EVERYBODY, 9), 500)):
        monkeypatch.setattr(first_stage, "BLOCK_USERS", block)
        together = lists(order, np.array(users), k=15, seen=SMALL.seen(np.array(users)), allowed=allowed)
        assert together == {place: alone[user] for place, user in enumerate(users)}


def test_lists_are_full_where_no_signal_speaks_for_anything():
    allowed = np.zeros(N_ITEMS, dtype=bool)
    allowed[[4, 2, 9]] = True
    nothing = Candidates(small_history(1, n_users=3, n_items=N_ITEMS, n_events=3).past)
    silent = list(rank_candidates(nothing, Order("cosine"), np.array([0]), k=5, seen=None, allowed=allowed))
    assert silent[0].items.tolist() == [2, 4, 9]
    assert silent[0].scores.tolist() == [0, 0, 0]


def test_nothing_allowed_is_an_empty_list(order):
    found = lists(order, EVERYBODY, k=5, seen=None, allowed=np.zeros(N_ITEMS, dtype=bool))
    assert found == {place: [] for place in range(N_USERS)}


def test_equal_scores_go_by_item_and_zero_has_no_sign():
    features = np.array([[0.0], [-0.0], [0.0], [1.0]], dtype=np.float32)
    pairs = Pairs(0, 1, np.zeros(4, dtype=int), np.array([2, 5, 7, 8]), features)
    top = best_pairs(pairs, Order("x"), ["x"], k=3)
    assert top.items.tolist() == [8, 2, 5]
    assert not np.signbit(top.scores).any()


def test_orders_come_back_as_they_were_saved(trees, tmp_path):
    orders = {"known": Order(TREES, trees), "catalogue": Order("cosine_recent")}
    save_orders(orders, tmp_path)
    loaded = load_orders(tmp_path)
    assert {scope: (one.by, len(one.trees)) for scope, one in loaded.items()} == {
        "known": (TREES, 2),
        "catalogue": ("cosine_recent", 0),
    }
    loaded["known"].check(CANDIDATES.names)
    asked = {"k": 30, "seen": None, "allowed": np.ones(N_ITEMS, dtype=bool)}
    assert lists(loaded["known"], EVERYBODY, **asked) == lists(orders["known"], EVERYBODY, **asked)


def test_names_of_features_survive_saving_whatever_they_hold(tmp_path, monkeypatch):
    monkeypatch.setattr(second_stage, "PARAMETERS", FEW)
    names = [
        "a",
        'quo"te',
        "tab\there",
        "new\nline",
        "comma,colon:",
        "ünï\u2028",
        "vector[x y]",
        " spaces ",
        "\\",
        "{}",
    ]
    order = Order(TREES, learn([random_lesson(0, names)], names, seed=1))
    save_orders({"known": order}, tmp_path)
    loaded = load_orders(tmp_path)["known"]
    loaded.check(names)
    features = random_lesson(1, names).features
    np.testing.assert_array_equal(scores_of(loaded.trees, features), scores_of(order.trees, features))


def test_an_order_refuses_other_features_than_it_was_learnt_from(trees):
    names = CANDIDATES.names
    Order(TREES, trees).check(names)
    Order("cosine").check(names)
    with pytest.raises(
        ArtefactError, match=r"found extra on one side alone; run recsys-polars train --model auto again"
    ):
        Order(TREES, trees).check([*names, "extra"])
    with pytest.raises(ArtefactError, match=f"found {names[3]} on one side alone"):
        Order(TREES, trees).check(names[:3] + names[4:])
    with pytest.raises(ArtefactError, match=r"found vector\[gone\] on one side alone"):
        Order("vector[gone]").check(names)
    with pytest.raises(ArtefactError, match="on one side alone"):
        Order(TREES, trees).check(names[::-1])


def test_a_lesson_holds_every_like_and_its_share_of_the_others(monkeypatch):
    allowed = np.ones(N_ITEMS, dtype=bool)
    liked = lists_of([[user, 5 + user] for user in EVERYBODY])
    blocks = list(CANDIDATES.blocks(EVERYBODY, seen=None, allowed=allowed))
    whole = lesson(blocks, liked, seed=1)
    assert len(whole.labels) == sum(len(one.items) for one in blocks)
    monkeypatch.setattr(second_stage, "N_NEGATIVES", N_USERS * second_stage.USUAL_CANDIDATES // 4)
    quarter = lesson(blocks, liked, seed=1)
    assert quarter.labels.sum() == whole.labels.sum() > 0
    assert 0.15 < len(quarter.labels) / len(whole.labels) < 0.4
    monkeypatch.setattr(first_stage, "BLOCK_USERS", 3)
    again = lesson(CANDIDATES.blocks(EVERYBODY, seen=None, allowed=allowed), liked, seed=1)
    assert again.features.tobytes() == quarter.features.tobytes()
    other = lesson(blocks, liked, seed=2)
    assert other.features.tobytes() != quarter.features.tobytes()


def test_an_item_is_looked_for_in_its_own_list():
    places, items = np.array([0, 0, 1, 1, 2]), np.array([3, 4, 3, 9, 0])
    assert contains(lists_of([[3], [4, 9], []]), places, items).tolist() == [True, False, False, True, False]
    assert contains(lists_of([[], [], []]), places, items).tolist() == [False] * 5
    assert contains(lists_of([[3]]), places[:0], items[:0]).tolist() == []


@pytest.mark.parametrize("label", [True, False])
def test_one_class_teaches_no_trees(label):
    one = random_lesson(0, ["a"] * 8)
    assert learn([Lesson(one.features, np.full(len(one.labels), label))], ["x"] * 8, seed=1) == []
    assert learn([], ["x"], seed=1) == []


def test_the_same_seed_gives_the_same_trees(monkeypatch):
    monkeypatch.setattr(second_stage, "PARAMETERS", FEW)
    names = [f"f{number}" for number in range(8)]
    lessons, features = [random_lesson(1, names), random_lesson(2, names)], random_lesson(3, names).features
    scores = [scores_of(learn(lessons, names, seed=seed), features) for seed in (5, 5, 6)]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert (scores[0] != scores[2]).any()


def test_the_score_is_the_sum_of_all_trees(trees):
    allowed = np.ones(N_ITEMS, dtype=bool)
    features = next(iter(CANDIDATES.blocks(EVERYBODY, seen=None, allowed=allowed))).features
    each = [one.predict(features, prediction_type="RawFormulaVal") for one in trees]
    assert (each[0] != each[1]).any()
    np.testing.assert_allclose(scores_of(trees, features), np.sum(each, axis=0))


def test_features_that_are_missing_or_alike_do_no_harm(monkeypatch):
    monkeypatch.setattr(second_stage, "PARAMETERS", FEW)
    names = [f"f{number}" for number in range(9)]
    one = random_lesson(1, names)
    one.features[:, 1], one.features[:, 2], one.features[::3, 3] = np.nan, 7, np.nan
    assert np.isfinite(scores_of(learn([one], names, seed=5), one.features)).all()
