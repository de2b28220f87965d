"""Each peer on a shop of five items, where the right answer is seen by eye."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from benchmarks import peers

BREAD, BUTTER, TEA, COFFEE, CANDLE = range(5)
EVERYONE = np.arange(5)
LIKES = sparse.csr_array(
    np.array(
        [
            [1, 0, 0, 0, 0],
            [1, 1, 0, 0, 0],
            [1, 1, 0, 0, 0],
            [0, 0, 1, 1, 0],
            [0, 0, 1, 0, 0],
        ],
        dtype=np.float64,
    )
)
ONLY_BREAD, ONLY_TEA = 0, 4
TERMS = [["fresh", "loaf"], ["fresh", "cream"], ["hot", "drink"], ["hot", "drink"], ["wax"]]
KNOWN = np.array([BREAD, BUTTER, TEA, COFFEE])


def at(seconds: list[list[float]]) -> sparse.csr_array:
    """Return likes by when they were; a negative time is no like."""
    rows, columns = np.nonzero(np.array(seconds) >= 0)
    return sparse.csr_array((np.array(seconds, dtype=np.float64)[rows, columns], (rows, columns)), shape=LIKES.shape)


def best_unseen(scores: peers.Scores, user: int) -> int:
    row = np.where(LIKES.toarray()[user] > 0, -np.inf, scores(np.array([user]))[0])
    return int(np.argmax(row))


def test_popular_counts_users_alike_for_everyone() -> None:
    assert_array_equal(peers.popular(LIKES)(EVERYONE), [[3, 2, 2, 1, 0]] * 5)


def test_recently_popular_counts_the_latest_part_and_what_ties_with_its_begin() -> None:
    # Times 0 1 2 3 4 4 6 9: the latest half of 8 begins at index floor(7 / 2) = 3, at second 3.
    liked_at = at(
        [[0, -1, -1, -1, -1], [1, 2, -1, -1, -1], [3, 4, -1, -1, -1], [-1, -1, 4, 6, -1], [-1, -1, 9, -1, -1]]
    )
    assert_array_equal(peers.recently_popular(liked_at, latest=0.5)(EVERYONE[:1]), [[1, 1, 2, 1, 0]])


def test_a_like_decays_by_e_in_a_twentieth_of_the_span() -> None:
    liked_at = at([[0, -1, -1, -1, -1], [90, 95, -1, -1, -1], [-1, 100, -1, -1, -1], [-1] * 5, [-1, -1, 100, -1, -1]])
    expected = [np.exp(-20) + np.exp(-2), np.exp(-1) + 1, 1, 0, 0]
    assert_allclose(peers.decayed_popular(liked_at)(EVERYONE[:1])[0], expected)


def test_item_cosine_sums_the_alikeness_to_what_was_liked_but_to_itself() -> None:
    scores = peers.item_cosine(LIKES)(EVERYONE)
    bread_butter, tea_coffee = 2 / np.sqrt(3 * 2), 1 / np.sqrt(2 * 1)
    assert_allclose(scores[ONLY_BREAD], [0, bread_butter, 0, 0, 0], atol=1e-12)
    assert_allclose(scores[1], [bread_butter, bread_butter, 0, 0, 0], atol=1e-12)
    assert_allclose(scores[ONLY_TEA], [0, 0, 0, tea_coffee, 0], atol=1e-12)


def test_item_cosine_adds_up_over_the_history() -> None:
    likes = sparse.csr_array(np.array([[1.0, 1, 0], [1, 0, 1], [0, 1, 1]]))
    assert_allclose(peers.item_cosine(likes)(np.array([0])), [[0.5, 0.5, 1]])


def test_ease_is_its_closed_form_over_items() -> None:
    X, regularisation = LIKES.toarray(), 2.0
    P = np.linalg.inv(X.T @ X + regularisation * np.eye(5))
    B = np.eye(5) - P / np.diag(P)
    assert_allclose(np.diag(B), 0, atol=1e-12)
    assert_allclose(peers.ease(LIKES, regularisation=regularisation)(EVERYONE), X @ B, atol=1e-9)


def test_ease_leaves_out_what_has_too_many_users() -> None:
    with pytest.raises(peers.NotHereError, match="20,001 users"):
        peers.ease(sparse.csr_array((20_001, 1)), regularisation=1)


@pytest.mark.parametrize(
    "scores",
    [
        peers.item_cosine(LIKES),
        peers.ease(LIKES, regularisation=1),
        peers.als(LIKES, factors=2, regularisation=0.1, alpha=5),
        peers.tfidf_profile(LIKES, TERMS, KNOWN),
    ],
    ids=["item cosine", "EASE", "ALS", "TF-IDF"],
)
def test_butter_goes_with_bread_and_coffee_with_tea(scores: peers.Scores) -> None:
    assert best_unseen(scores, ONLY_BREAD) == BUTTER
    assert best_unseen(scores, ONLY_TEA) == COFFEE


def test_a_profile_of_words_is_a_cosine_and_knows_no_word_of_new_items() -> None:
    (scores,) = peers.tfidf_profile(LIKES, TERMS, KNOWN)(np.array([ONLY_TEA]))
    assert_allclose(scores, [0, 0, 1, 1, 0], atol=1e-12)


def test_a_hybrid_ranks_an_item_that_nobody_liked_by_its_terms() -> None:
    pytest.importorskip("lightfm")
    likes = sparse.csr_array(np.array([[1.0, 1, 0, 0, 0, 0]] * 4 + [[0, 0, 1, 1, 0, 0]] * 4))
    terms = [["sweet"], ["sweet"], ["salty"], ["salty"], ["sweet"], ["salty"]]
    scores = peers.hybrid(likes, terms, np.arange(4), factors=4, epochs=50)(np.array([0, 7]))
    assert scores[0, 4] > scores[0, 5]
    assert scores[1, 5] > scores[1, 4]
