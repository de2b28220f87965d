"""The choice between trees and single signals, on histories where it is plain what does best."""

import random
from dataclasses import replace

import numpy as np
import pytest

from recsys_polars.two_stage import choosing, trees
from recsys_polars.two_stage.candidates import Candidates
from recsys_polars.two_stage.choosing import Term, choose_order, n_validations
from recsys_polars.two_stage.past import catalogue_of, past_of, rows_of
from recsys_polars.two_stage.ranker import TREES, Order, rank_candidates
from recsys_polars.two_stage.trees import learn, lesson
from tests.oracles.metrics import accuracy
from tests.oracles.signals import Told
from tests.two_stage.histories import events_of, history_of, lists_of, pl, small_items

pytestmark = pytest.mark.usefixtures("few_trees")


def term_of(items: pl.DataFrame, likes: list[tuple[str, str, int]], cut: int, end: int) -> Term:
    """What (user, item, hour) likes say before the hour `cut`, and who liked what after it, up to the hour `end`."""
    before = [like for like in likes if like[2] < cut]
    told = Told({}, [(*like, 1) for like in before], [like[1:] for like in before])
    user_ids = pl.Series(sorted({user for user, _, _ in likes}))
    past = past_of(catalogue_of(items, user_ids), history_of(told), events_of(told))
    had: dict[str, set[str]] = {}
    for user, item, _ in before:
        had.setdefault(user, set()).add(item)
    taken: dict[str, set[str]] = {}
    for user, item, hour in likes:
        if cut <= hour < end and item not in had.get(user, {item}):
            taken.setdefault(user, set()).add(item)
    users = sorted(taken)

    def lists(sets):
        return lists_of([rows_of(items["item_id"], pl.Series(sorted(sets[user]))).tolist() for user in users])

    return Term(Candidates(past), past.n_users > 0, rows_of(user_ids, pl.Series(users)), lists(taken), lists(had))


def categories() -> tuple[pl.DataFrame, list[tuple[str, str, int]]]:
    """One user a category, who takes its next item each time; the last ones of each sell best, to passers-by."""
    items = small_items(60).with_columns(category=pl.Series([f"c{row // 6}" for row in range(60)]))
    likes = [(f"u{own}", f"i{own * 6 + number:03}", 10 * number + own) for own in range(10) for number in range(3)]
    likes += [(f"p{row}{n}", f"i{row:03}", 25 + row % 6) for row in range(60) for n in range(1 + row % 6)]
    return items, [*likes, *((f"u{own}", f"i{own * 6 + 5:03}", 40) for own in range(10))]


def fashions() -> tuple[pl.DataFrame, list[tuple[str, str, int]]]:
    """Each ten hours everybody takes two of three new items, and never an old one again."""
    chance = random.Random(0)
    likes = []
    for user in range(40):
        likes += [(f"u{user:02}", f"i{item:03}", user) for item in chance.sample(range(12), 2)]
        for began in range(40, 120, 10):
            items = chance.sample(range(3), 2)
            likes += [
                (f"u{user:02}", f"i{12 + 3 * (began // 10 - 4) + n:03}", began + chance.randrange(10)) for n in items
            ]
    return small_items(36), likes


def texts() -> tuple[pl.DataFrame, list[tuple[str, str, int]]]:
    """Everybody keeps to one word of the titles; nobody shares an item with anybody."""
    words = [f"word{row % 8}" for row in range(80)]
    items = small_items(80).with_columns(title=pl.Series([f"{word} n{row}" for row, word in enumerate(words)]))
    return items, [(f"u{row % 8}", f"i{row:03}", row) for row in range(80)]


@pytest.mark.parametrize(
    ("data", "cut", "scope", "right", "wrong"),
    [
        (categories, 40, "known", ["category_share"], ["popularity", "cosine", "cooccurrence"]),
        (fashions, 115, "known", ["popularity_0.02", "popularity_0.05"], ["popularity", "text"]),
        (texts, 56, "catalogue", ["text"], ["popularity", "cosine", "title_share"]),
    ],
)
def test_where_one_signal_is_plainly_right_it_is_chosen(data, cut, scope, right, wrong):
    items, likes = data()
    order, figures = choose_order([term_of(items, likes, cut, 1000)], scope, seed=1)
    assert order.by in right
    assert order.trees == ()
    assert figures[order.by] > 0.6
    assert all(figures[order.by] > 1.3 * figures[name] for name in wrong)
    assert TREES not in figures  # no term is left to learn from


def drifting_terms() -> list[Term]:
    items, likes = fashions()
    return [term_of(items, likes, cut, cut + 5) for cut in (115, 105, 95, 85, 75, 65)]


def map_at_10(term: Term, order: Order, scope: str) -> list[float]:
    allowed = term.known_items if scope == "known" else np.ones_like(term.known_items)
    shown: dict[int, list[int]] = {place: [] for place in range(len(term.users))}
    for top in rank_candidates(term.candidates, order, term.users, k=10, seen=term.seen, allowed=allowed):
        for place, item in zip(top.users.tolist(), top.items.tolist(), strict=True):
            shown[place].append(item)
    indptr, indices = term.liked
    relevant = {place: set(indices[indptr[place] : indptr[place + 1]].tolist()) for place in shown}
    return [accuracy(shown[place], relevant[place], 10)["ap"] for place in shown]


@pytest.mark.parametrize("scope", ["known", "catalogue"])
@pytest.mark.parametrize(("enough", "n_judged"), [(1, 1), (60, 2), (10_000, 4)])
def test_figures_are_the_map_of_lists_of_the_judged_terms(monkeypatch, scope, enough, n_judged):
    monkeypatch.setattr(choosing, "ENOUGH_USERS", enough)
    terms = drifting_terms()
    _, figures = choose_order(terms, scope, seed=1)
    names = terms[0].candidates.names
    lessons = [lesson(term.pairs(scope), term.liked, seed=1) for term in terms]
    for name, figure in figures.items():
        aps = []
        for place, term in enumerate(terms[:n_judged]):
            known = learn(lessons[place + 1 : place + 4], names, seed=1) if name == TREES else ()
            aps += map_at_10(term, Order(name, known), scope)
        assert figure == pytest.approx(np.mean(aps)), name
    assert set(figures) == {*terms[0].candidates.proposers, TREES}


def test_users_and_trees_are_told_one_after_the_other_to_the_last(monkeypatch):
    terms, news = drifting_terms(), []
    monkeypatch.setattr(choosing, "_aps", lambda term, blocks, order: np.array([float(order.by == TREES)]))
    monkeypatch.setattr(choosing, "N_TREES", trees.N_SEEDS * trees.PARAMETERS["iterations"])  # fewer, in tests
    choose_order(terms, "known", seed=4, told=lambda *told: news.append(told))
    steps = {step: [told[1:] for told in news if told[0] == step] for step, *_ in news}
    assert list(steps) == ["propose candidates among known items", "learn to order known items"]
    of_users, of_trees = steps.values()
    assert of_users[0] == (0, sum(len(term.users) for term in terms), "users")
    assert {told[1:] for told in of_trees} == {(of_trees[0][1], "trees")}
    for told in (of_users, of_trees):
        done = [n for n, *_ in told]
        assert done == sorted(done)
        assert done[-1] == told[0][1]


def test_trees_that_do_best_are_learnt_again_on_the_latest_terms(monkeypatch):
    terms = drifting_terms()
    monkeypatch.setattr(choosing, "_aps", lambda term, blocks, order: np.array([float(order.by == TREES)]))
    order, figures = choose_order(terms, "known", seed=4)
    assert figures[TREES] == 1
    lessons = [lesson(term.pairs("known"), term.liked, seed=4) for term in terms[:3]]
    expected = Order(TREES, learn(lessons, terms[0].candidates.names, seed=4))
    pairs, names = next(iter(terms[0].pairs("known"))), terms[0].candidates.names
    np.testing.assert_array_equal(order.scores(pairs, names), expected.scores(pairs, names))


def test_a_judged_term_is_ordered_by_trees_that_never_saw_it(monkeypatch):
    taught = []

    def learn_nothing(lessons, *args, **settings):
        taught.append([one.labels.sum() for one in lessons])
        return []

    monkeypatch.setattr(choosing, "learn", learn_nothing)
    terms = drifting_terms()
    choose_order(terms, "known", seed=1)
    n_liked = [lesson(term.pairs("known"), term.liked, seed=1).labels.sum() for term in terms]
    assert len(set(n_liked)) > 1
    assert taught == [n_liked[place : place + 3] for place in (1, 2, 3, 4)]


def test_no_term_is_popularity():
    assert choose_order([], "known", seed=1) == (Order("popularity"), {})


def test_labels_of_one_class_teach_nothing_and_popularity_stands_in():
    nobody = [replace(one, liked=lists_of([[999]] * len(one.users))) for one in drifting_terms()]
    order, figures = choose_order(nobody, "known", seed=1)
    assert order.by == "popularity"
    assert set(figures.values()) == {0.0}


def test_the_scope_is_what_candidates_come_from():
    items, likes = texts()
    term = term_of(items, likes, 56, 1000)
    known = np.concatenate([pairs.items for pairs in term.pairs("known")])
    every = np.concatenate([pairs.items for pairs in term.pairs("catalogue")])
    assert term.known_items[known].all()
    assert not term.known_items[every].all()


@pytest.mark.parametrize(
    ("user_counts", "asked"),
    [([], 0), ([3], 1), ([1000, 5], 1), ([400, 700, 5], 2), ([400, 599, 5], 3), ([10] * 9, 4), ([0, 0], 2)],
)
def test_cuts_are_asked_until_there_are_enough_users(user_counts, asked):
    assert n_validations(iter(user_counts)) == asked
