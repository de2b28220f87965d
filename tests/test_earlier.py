"""What a user had liked strictly before a moment, against plain loops, with many ties in time."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_polars.earlier import STRIDE, EarlierLikes
from recsys_polars.examples import observed_examples, sampled_examples, users_of_examples
from recsys_polars.knowledge import SEEN_ONLY, user_vectors
from tests.oracles.earlier import past_mean

N_USERS, N_ITEMS = 5, 7
VECTORS = np.random.default_rng(0).uniform(-1, 1, (N_ITEMS, 3)).astype(np.float32)
histories = st.dictionaries(
    st.tuples(st.integers(0, N_USERS - 1), st.integers(0, N_ITEMS - 1)),
    st.tuples(st.sampled_from([1, 1, 0, SEEN_ONLY]), st.integers(0, 3)),
    max_size=30,
).map(lambda found: [(*pair, label, time) for pair, (label, time) in found.items()])


def assert_as_the_oracle(known, users, times, found):
    vectors, counts = found
    expected = [past_mean(known, user, time) for user, time in zip(users, times, strict=True)]
    assert counts.tolist() == [count for _, count in expected]
    np.testing.assert_allclose(vectors, np.reshape([mean for mean, _ in expected], (-1, 3)), rtol=1e-6, atol=1e-7)


@settings(deadline=None)
@given(histories, st.integers(1, 4))
def test_a_past_is_what_plain_loops_find_at_every_time(make_knowledge, rows, stride) -> None:
    known = make_knowledge(rows, VECTORS, n_users=N_USERS)
    users, times = (part.ravel() for part in np.meshgrid(np.arange(N_USERS), np.arange(6)))
    assert_as_the_oracle(known, users, times, EarlierLikes(known, stride=stride).vectors(users, times))


@settings(deadline=None)
@given(histories, st.integers(0, 3))
def test_examples_know_their_own_time_s_past(make_knowledge, rows, seed) -> None:
    known = make_knowledge(rows, VECTORS, n_users=N_USERS)
    examples = sampled_examples(known, n_negatives=2, seed=seed)
    gather = users_of_examples(known, "as-of")
    assert_as_the_oracle(known, examples.user_rows, examples.times, gather(examples))


def test_what_was_liked_at_the_same_time_is_not_earlier(make_knowledge) -> None:
    known = make_knowledge([(0, 0, 1, 1), (0, 1, 1, 1), (0, 2, 1, 2)], VECTORS, n_users=1)
    examples = observed_examples(known)
    vectors, counts = users_of_examples(known, "as-of")(examples)
    assert counts.tolist() == [0, 0, 2]
    np.testing.assert_allclose(vectors, [[0] * 3, [0] * 3, VECTORS[:2].mean(axis=0)], rtol=1e-6)


def test_a_sampled_negative_has_the_past_of_its_positive_and_a_dislike_its_own(make_knowledge) -> None:
    known = make_knowledge([(0, 0, 1, 0), (0, 1, 1, 5), (0, 2, 0, 9)], VECTORS, n_users=1)
    examples = sampled_examples(known, n_negatives=2, seed=0)
    _, counts = users_of_examples(known, "as-of")(examples)
    assert counts.tolist() == [0, 1, 0, 0, 1, 1, 2]


def test_no_later_row_changes_the_past_of_a_row(make_knowledge) -> None:
    rng = np.random.default_rng(1)
    rows = [(u, i, 1, int(rng.integers(10))) for u in range(N_USERS) for i in range(N_ITEMS)]
    moved = [(u, i, 1, time if time < 5 else 99) if i % 2 else (u, i, 1, time) for u, i, _, time in rows]
    known, other = (make_knowledge(these, VECTORS, n_users=N_USERS) for these in (rows, moved))
    users, times = np.repeat(np.arange(N_USERS), 6), np.tile(np.arange(6), N_USERS)
    for some, others in zip(
        EarlierLikes(known).vectors(users, times), EarlierLikes(other).vectors(users, times), strict=True
    ):
        np.testing.assert_array_equal(some, others)


def test_the_past_of_a_time_later_than_all_is_all_that_is_known(make_knowledge) -> None:
    rows = [(user, item, (user + item) % 2, item) for user in range(N_USERS) for item in range(N_ITEMS)]
    known = make_knowledge(rows, VECTORS, n_users=N_USERS)
    users = np.arange(N_USERS)
    vectors, counts = EarlierLikes(known).vectors(users, np.full(N_USERS, 1000))
    means, n_positives = user_vectors(known, users)
    np.testing.assert_allclose(vectors, means, rtol=1e-6)
    np.testing.assert_array_equal(counts, n_positives)


def test_the_past_of_a_long_history_is_the_sum_of_what_is_kept_and_the_rest(make_knowledge) -> None:
    n_items = 3 * STRIDE + 7
    vectors = np.random.default_rng(2).uniform(-1, 1, (n_items, 3)).astype(np.float32)
    rows = [(user, item, 1, item // (1 + user)) for user in range(2) for item in range(n_items)]
    known = make_knowledge([*rows, (2, 0, 1, 0)], vectors, n_users=3)
    times = np.array([0, 1, STRIDE - 1, STRIDE, STRIDE + 1, 2 * STRIDE, n_items])
    users, times = (part.ravel() for part in np.meshgrid(np.arange(3), times))
    assert_as_the_oracle(known, users, times, EarlierLikes(known).vectors(users, times))


def test_loo_is_the_mean_without_the_example_s_own_positive(make_knowledge) -> None:
    known = make_knowledge([(0, 0, 1, 0), (0, 1, 1, 5), (0, 2, 0, 9)], VECTORS, n_users=1)
    examples = sampled_examples(known, n_negatives=1, seed=0)
    for some, others in zip(
        users_of_examples(known, "loo")(examples),
        user_vectors(known, examples.user_rows, without=examples.without),
        strict=True,
    ):
        np.testing.assert_array_equal(some, others)


def test_the_oracle_catches_a_past_that_counts_the_same_moment(make_knowledge) -> None:
    known = make_knowledge([(0, item, 1, item // 2) for item in range(6)], VECTORS, n_users=1)
    leaky = EarlierLikes(replace(known, times=known.times - 1))
    users = np.zeros(3, dtype=np.int64)
    with pytest.raises(AssertionError):
        assert_as_the_oracle(known, users, np.arange(3), leaky.vectors(users, np.arange(3)))
