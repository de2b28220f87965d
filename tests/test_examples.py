import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from recsys_polars.examples import (
    Examples,
    grouped_examples,
    observed_examples,
    sampled_examples,
    sampling_weights,
)
from recsys_polars.knowledge import NOBODY, user_vectors

N_USERS, N_ITEMS = 5, 6
pairs = st.dictionaries(
    st.tuples(st.integers(0, N_USERS - 1), st.integers(0, N_ITEMS - 1)), st.integers(0, 1), max_size=30
).map(lambda labels: [(*pair, label) for pair, label in labels.items()])
worlds = {"rows": pairs, "n_negatives": st.integers(0, 4), "seed": st.integers(0, 9)}
VECTORS = np.eye(N_ITEMS, dtype=np.float32)


def rows_of(examples: Examples) -> list[tuple[int, ...]]:
    """(user, without, item, label) of each example."""
    columns = (examples.user_rows, examples.without, examples.item_rows, examples.labels)
    return [tuple(map(int, row)) for row in zip(*columns, strict=True)]


def parts_of(rows, examples: Examples) -> tuple[list, list, list]:
    """The positives, the sampled negatives and the dislikes."""
    seen = {(user, item) for user, item, _ in rows}
    found = rows_of(examples)
    positives = [row for row in found if row[3] == 1]
    sampled = [row for row in found if row[3] == 0 and (row[0], row[2]) not in seen]
    disliked = [row for row in found if row[3] == 0 and (row[0], row[2]) in seen]
    return positives, sampled, disliked


@settings(deadline=None)
@given(**worlds)
def test_every_history_pair_is_an_example_and_every_positive_has_its_negatives(
    make_knowledge, rows, n_negatives, seed
) -> None:
    examples = sampled_examples(make_knowledge(rows, VECTORS, n_users=N_USERS), n_negatives=n_negatives, seed=seed)
    positives, sampled, disliked = parts_of(rows, examples)
    assert sorted((user, item, label) for user, _, item, label in positives + disliked) == sorted(rows)
    full = [user for user in range(N_USERS) if sum(owner == user for owner, _, _ in rows) == N_ITEMS]
    with_room = [row for row in positives if row[0] not in full]
    assert len(sampled) == n_negatives * len(with_room)
    assert len(examples) == len(rows) + len(sampled)


@settings(deadline=None)
@given(**worlds)
def test_a_positive_is_left_out_and_its_sampled_negatives_share_what_is_left(
    make_knowledge, rows, n_negatives, seed
) -> None:
    known = make_knowledge(rows, VECTORS, n_users=N_USERS)
    positives, sampled, _ = parts_of(rows, sampled_examples(known, n_negatives=n_negatives, seed=seed))
    assert all(without == item for _, without, item, _ in positives)
    full = set(np.flatnonzero(np.diff(known.offsets) == N_ITEMS))
    expected = [(user, item) for user, _, item, _ in positives if user not in full for _ in range(n_negatives)]
    assert sorted((user, without) for user, without, _, _ in sampled) == sorted(expected)


@settings(deadline=None)
@given(**worlds)
def test_a_dislike_has_nothing_left_out(make_knowledge, rows, n_negatives, seed) -> None:
    known = make_knowledge(rows, VECTORS, n_users=N_USERS)
    _, _, disliked = parts_of(rows, sampled_examples(known, n_negatives=n_negatives, seed=seed))
    assert all(without == NOBODY for _, without, _, _ in disliked)


def test_negatives_are_uniform_over_the_unseen_items(make_knowledge) -> None:
    known = make_knowledge([(0, 1, 1), (0, 4, 0)], VECTORS, n_users=1)
    examples = sampled_examples(known, n_negatives=4_000, seed=0)
    counts = np.bincount(examples.item_rows[1:-1], minlength=N_ITEMS)
    assert counts[[1, 4]].tolist() == [0, 0]
    np.testing.assert_allclose(counts[[0, 2, 3, 5]], 1_000, atol=120)


def test_a_user_who_has_seen_everything_gets_no_sampled_negative(make_knowledge) -> None:
    everything = [(0, item, 1) for item in range(N_ITEMS)]
    known = make_knowledge([*everything, (1, 0, 1)], VECTORS, n_users=2)
    examples = sampled_examples(known, n_negatives=3, seed=0)
    assert examples.user_rows[examples.labels == 0].tolist() == [1, 1, 1]


def test_without_any_history_there_are_no_examples(make_knowledge) -> None:
    known = make_knowledge([], VECTORS, n_users=2)
    assert len(sampled_examples(known, n_negatives=2, seed=0)) == len(observed_examples(known)) == 0


def test_the_seed_decides_everything(make_knowledge) -> None:
    known = make_knowledge([(0, 0, 1), (0, 1, 0), (0, 2, 1), (1, 3, 1)], VECTORS, n_users=2)
    first, again, other = (rows_of(sampled_examples(known, n_negatives=4, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_sampled_negative_shares_the_time_of_its_positive_and_a_dislike_has_its_own(make_knowledge) -> None:
    known = make_knowledge([(0, 0, 1, 7), (0, 1, 0, 3), (0, 2, 1, 5)], VECTORS, n_users=1)
    assert sampled_examples(known, n_negatives=2, seed=0).times.tolist() == [7, 5, 7, 7, 5, 5, 3]


def test_observed_examples_are_the_history_with_nothing_left_out(make_knowledge) -> None:
    known = make_knowledge([(0, 0, 1, 2), (0, 1, 0, 1), (1, 2, 0, 0)], VECTORS, n_users=2)
    examples = observed_examples(known)
    assert rows_of(examples) == [(0, NOBODY, 0, 1), (0, NOBODY, 1, 0), (1, NOBODY, 2, 0)]
    assert examples.times.tolist() == [2, 1, 0]


def test_warm_only_leaves_out_users_without_a_positive(make_knowledge) -> None:
    known = make_knowledge([(0, 0, 1), (0, 1, 0), (1, 2, 0)], VECTORS, n_users=2)
    assert rows_of(observed_examples(known, warm_only=True)) == [(0, NOBODY, 0, 1), (0, NOBODY, 1, 0)]


def test_taking_examples_keeps_their_order(make_knowledge) -> None:
    known = make_knowledge([(0, 0, 1), (0, 1, 0), (1, 2, 0)], VECTORS, n_users=2)
    assert rows_of(observed_examples(known).take(np.array([1, 0]))) == [(0, NOBODY, 1, 0), (0, NOBODY, 0, 1)]


def noise_of(make_knowledge, activity: str, *, n_users: int = 1_500, n_items: int = 200):
    """Users who like at random every second item that they meet at random."""
    chance = np.random.default_rng(0)
    sizes = {"ten each": np.full(n_users, 10), "long tail": np.minimum(2 + chance.pareto(1, n_users) * 3, 150)}
    rows = [
        (user, int(item), int(chance.random() < 0.5), int(chance.integers(5_000)))
        for user, size in enumerate(sizes[activity].astype(int))
        for item in chance.choice(n_items, size, replace=False)
    ]
    return make_knowledge(rows, chance.normal(size=(n_items, 4)).astype(np.float32), n_users=n_users)


@pytest.mark.parametrize("n_negatives", [0, 1, 4])
@pytest.mark.parametrize("activity", ["long tail", "ten each"])
def test_the_count_alone_says_nothing_of_labels_that_are_noise(make_knowledge, activity, n_negatives) -> None:
    known = noise_of(make_knowledge, activity)
    examples = sampled_examples(known, n_negatives=n_negatives, seed=0)
    _, counts = user_vectors(known, examples.user_rows, without=examples.without)
    assert roc_auc_score(examples.labels, counts) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("activity", ["long tail", "ten each"])
def test_the_count_alone_cannot_tell_a_positive_from_a_sampled_negative(make_knowledge, activity) -> None:
    known = noise_of(make_knowledge, activity)
    examples = sampled_examples(known, n_negatives=1, seed=0)
    drawn = examples.take(np.arange(2 * int(examples.labels.sum())))
    _, counts = user_vectors(known, drawn.user_rows, without=drawn.without)
    assert roc_auc_score(drawn.labels, counts) == 0.5


@pytest.mark.parametrize("activity", ["long tail", "ten each"])
def test_the_popularity_at_the_time_says_nothing_of_labels_that_are_noise(make_knowledge, activity) -> None:
    known = noise_of(make_knowledge, activity)
    examples = sampled_examples(known, n_negatives=4, seed=0)
    popularity = known.popularity(examples.item_rows, examples.times)[:, 0]
    assert roc_auc_score(examples.labels, popularity) == pytest.approx(0.5, abs=0.03)


LONG_TAIL = [*((user, 0, 1) for user in range(16)), (0, 1, 1), (1, 2, 0), (16, 3, 1), (16, 4, 0)]


def test_popular_negatives_are_unseen_and_as_likely_as_their_smoothed_popularity(make_knowledge) -> None:
    known = make_knowledge(LONG_TAIL, VECTORS, n_users=17)
    examples = sampled_examples(known, n_negatives=20_000, seed=0, negatives="popular")
    drawn = examples.take(np.flatnonzero((examples.user_rows == 16) & (examples.labels == 0)))
    counts = np.bincount(drawn.item_rows[:20_000], minlength=N_ITEMS)
    weights = np.array([16**0.75, 1, 1, 0, 0, 1])  # items 2 and 5: liked by nobody, as if by one; 3 and 4 are seen
    assert counts[[3, 4]].tolist() == [0, 0]
    np.testing.assert_allclose(counts / 20_000, weights / weights.sum(), atol=0.015)


def test_the_weights_are_those_that_negatives_are_drawn_with(make_knowledge) -> None:
    known = make_knowledge(LONG_TAIL, VECTORS, n_users=17)
    assert sampling_weights(known, "uniform").tolist() == [1] * N_ITEMS
    assert sampling_weights(known, "popular").tolist() == [8, 1, 1, 1, 1, 1]
    assert sampling_weights(known, "in-batch").tolist() == [16, 1, 0, 1, 0, 0]


@settings(deadline=None)
@given(**worlds, negatives=st.sampled_from(["uniform", "popular"]))
def test_a_group_is_a_positive_and_its_own_sampled_negatives(
    make_knowledge, rows, n_negatives, seed, negatives
) -> None:
    known = make_knowledge([(*row, place) for place, row in enumerate(rows)], VECTORS, n_users=N_USERS)
    groups = grouped_examples(known, n_negatives=n_negatives, seed=seed, negatives=negatives)
    every = sampled_examples(known, n_negatives=n_negatives, seed=seed, negatives=negatives)
    seen = {(user, item) for user, item, _ in rows}
    found = np.array(rows_of(groups)).reshape(-1, 1 + n_negatives, 4)
    times = groups.times.reshape(-1, 1 + n_negatives)
    assert (times == times[:, :1]).all()
    for (user, without, item, label), *others in found.tolist():
        assert (without, label) == (item, 1)
        assert all(other[:2] == [user, item] and other[3] == 0 for other in others)
        assert all((user, other[2]) not in seen for other in others)
    full = {user for user in range(N_USERS) if n_negatives and sum(owner == user for owner, _ in seen) == N_ITEMS}
    assert sorted(map(tuple, found[:, 0, [0, 2]].tolist())) == sorted(
        (user, item) for user, item, label in rows if label == 1 and user not in full
    )
    sampled = [row for row in rows_of(every) if row[3] == 0 and (row[0], row[2]) not in seen]
    assert sorted(map(tuple, found[:, 1:].reshape(-1, 4).tolist())) == sorted(sampled)
