"""The training loop, seen through a spy in the place of the network's logits; item vectors are one-hot."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from torch import nn

from recsys_polars.errors import InputError
from recsys_polars.examples import sampled_examples
from recsys_polars.knowledge import NOBODY, Knowledge
from recsys_polars.models import model_class
from recsys_polars.models.protocol import FitSettings
from recsys_polars.models.training import Training, train

N_USERS, N_ITEMS = 40, 25
SAMPLED = Training(rounds=2, seed=42, batch=64)
OBSERVED = Training(rounds=3, seed=42, batch=64, sampled=False, holdout=0.1)


@pytest.fixture(scope="module")
def known():
    """Users with 0 to 9 positives and some dislikes; one-hot items, so that a mean shows which items it is of."""
    rng = np.random.default_rng(0)
    rated = rng.random((N_USERS, N_ITEMS)) < 0.3
    liked = rated & (rng.random((N_USERS, N_ITEMS)) < 0.6)
    liked[:3], rated[3], liked[3] = False, False, False
    rated[4], liked[4] = True, True
    rated[5:7], liked[5:7] = False, False
    rated[5, 0] = liked[5, 0] = rated[6, 0] = rated[6, 1] = liked[6, 1] = True
    return known_of(rated, liked)


def known_of(rated, liked):
    """What two tables of users x items say."""
    user_rows, item_rows = np.nonzero(rated)
    fans = np.flatnonzero(liked.any(axis=1))
    mean_rows = np.full(len(rated), NOBODY)
    mean_rows[fans] = np.arange(len(fans))
    return Knowledge(
        user_ids=pl.Series([f"u{row:03d}" for row in range(len(rated))]),
        item_ids=pl.Series([f"i{row:02d}" for row in range(N_ITEMS)]),
        item_table=pl.DataFrame(),
        item_vectors=np.eye(N_ITEMS, dtype=np.float32),
        blocks={"one_hot": slice(0, N_ITEMS)},
        user_rows=user_rows,
        item_rows=item_rows,
        labels=liked[user_rows, item_rows].astype(int),
        times=np.random.default_rng(7).permutation(len(user_rows)),
        offsets=np.searchsorted(user_rows, np.arange(len(rated) + 1)),
        means=(liked[fans] / liked[fans].sum(axis=1, keepdims=True)).astype(np.float32),
        mean_rows=mean_rows,
        n_positives=liked.sum(axis=1),
    )


class Batch(NamedTuple):
    is_training: bool
    means: np.ndarray
    counts: np.ndarray
    items: np.ndarray
    popularity: np.ndarray
    logits: np.ndarray


class Spy:
    """A bilinear network whose logits remember what they were asked."""

    def __init__(self):
        torch.manual_seed(0)
        self.network = nn.Linear(N_ITEMS, N_ITEMS)
        self.batches = []

    def logits(self, means, counts, items, popularity):
        scores = self.network(torch.from_numpy(means)).gather(1, torch.from_numpy(items)[:, None]).squeeze(1)
        self.batches.append(Batch(self.network.training, means, counts, items, popularity, scores.detach().numpy()))
        return scores

    def rows(self, *, training=True):
        batches = [batch for batch in self.batches if batch.is_training == training]
        return [np.concatenate(part) for part in list(zip(*batches, strict=True))[1:]]

    def train(self, known, training, validate=None):
        return train(self.network, self.logits, known, training, validate=validate)

    def weights(self):
        return {name: value.clone() for name, value in self.network.state_dict().items()}


def equal_weights(some, others):
    return all(torch.equal(some[name], others[name]) for name in some)


@pytest.fixture(scope="module")
def rows(known):
    """means, counts, items, popularity, logits of all rows that are trained on by default."""
    spy = Spy()
    spy.train(known, SAMPLED)
    return spy.rows()


class TestOwnItemLeftOut:
    def test_no_row_s_user_vector_contains_the_row_s_item(self, rows):
        means, _, items, _, _ = rows
        assert not means[np.arange(len(items)), items].any()

    def test_the_mean_and_the_count_are_of_the_other_positives(self, rows, known):
        means, counts, _, _, _ = rows
        assert ((means > 1e-6).sum(axis=1) == counts).all()
        np.testing.assert_allclose(means.sum(axis=1), counts > 0, rtol=0, atol=1e-5)
        wanted = np.where(means > 1e-6, 1 / np.maximum(counts, 1)[:, None], 0)
        np.testing.assert_allclose(means, wanted, rtol=0, atol=1e-6)

    def test_a_user_s_only_positive_leaves_zeros_and_count_zero_and_the_row_stays(self, rows, known):
        _, counts, items, _, _ = rows
        assert known.n_positives[5] == 1
        assert (items[counts == 0] == 0).sum() >= 1
        n_rows = len(sampled_examples(known, n_negatives=SAMPLED.n_negatives, seed=0))
        assert len(items) == SAMPLED.rounds * n_rows

    def test_vectors_are_means_of_a_user_s_positives_but_one(self, rows, known):
        means, counts, _, _, _ = rows
        liked = {tuple(np.flatnonzero(mean)) for mean in known.means}
        shown = {tuple(np.flatnonzero(mean > 1e-6)) for mean, count in zip(means, counts, strict=True) if count}
        one_less = {own[:place] + own[place + 1 :] for own in liked for place in range(len(own))}
        assert one_less - {()} <= shown <= one_less | liked  # whole ones beside dislikes


def test_on_pure_noise_item_and_popularity_do_not_tell_the_label(monkeypatch):
    spy, labels = Spy(), []
    cross_entropy = nn.functional.binary_cross_entropy_with_logits

    def spied(scores, targets):
        labels.append(targets.numpy())
        return cross_entropy(scores, targets)

    monkeypatch.setattr(nn.functional, "binary_cross_entropy_with_logits", spied)
    spy.train(noise(), Training(rounds=1, seed=42))
    _, _, items, popularity, _ = spy.rows()
    liked, inputs = np.concatenate(labels) == 1, np.column_stack([items, popularity])
    fitted_on = np.random.default_rng(0).random(len(items)) < 0.5
    trees = HistGradientBoostingClassifier(random_state=0).fit(inputs[fitted_on], liked[fitted_on])
    # With an item's full count, less its own like in a positive, this was 0.81.
    assert roc_auc_score(liked[~fitted_on], trees.predict_proba(inputs[~fitted_on])[:, 1]) < 0.55


def noise():
    """1,600 likes of 400 users, each of a random item."""
    rng = np.random.default_rng(1)
    liked = np.zeros((400, N_ITEMS), dtype=bool)
    liked[np.repeat(np.arange(400), 4), rng.integers(0, N_ITEMS, 1600)] = True
    return known_of(liked, liked)


def test_the_notebook_s_means_contain_the_row_s_own_positive(spy):
    means, counts, items, _, _ = spy.rows()
    own = means[np.arange(len(items)), items]
    assert set(np.round(own[own > 0] * counts[own > 0], 5)) == {1.0}
    assert (own > 0).sum() > len(own) / 3


def test_a_batch_has_the_size_that_was_asked_for(known):
    spy = Spy()
    spy.train(known, SAMPLED)
    assert max(len(batch.items) for batch in spy.batches) == SAMPLED.batch
    assert sum(len(batch.items) < SAMPLED.batch for batch in spy.batches) <= SAMPLED.rounds


def test_negatives_are_drawn_anew_each_epoch_and_alike_for_a_seed(known):
    first, again = Spy(), Spy()
    first.train(known, SAMPLED)
    again.train(known, SAMPLED)
    for some, others in zip(first.rows(), again.rows(), strict=True):
        np.testing.assert_array_equal(some, others)
    items = first.rows()[2]
    half = len(items) // 2
    assert np.bincount(items[:half]).tolist() != np.bincount(items[half:]).tolist()


def validation_of(figures, spy):
    """A validate callback that answers these figures and keeps the weights it was asked about."""
    kept = []

    def validate():
        kept.append(spy.weights())
        return figures[len(kept) - 1]

    return validate, kept


def test_the_weights_of_the_epoch_that_validates_best_are_kept(known):
    spy = Spy()
    validate, kept = validation_of([0.1, 0.5, 0.3, 0.2], spy)
    best, facts = spy.train(known, Training(rounds=4, seed=42, batch=64), validate)
    assert best == 2
    assert [epoch["validation"] for epoch in facts["curve"]] == [0.1, 0.5, 0.3, 0.2]
    assert equal_weights(spy.weights(), kept[1])
    assert not equal_weights(spy.weights(), kept[3])


def test_the_earlier_of_two_equal_epochs_is_kept(known):
    spy = Spy()
    validate, kept = validation_of([0.5, 0.5, 0.5], spy)
    assert spy.train(known, Training(rounds=3, seed=42, batch=64), validate)[0] == 1
    assert equal_weights(spy.weights(), kept[0])


def test_training_stops_when_patience_epochs_were_no_better(known):
    spy = Spy()
    validate, kept = validation_of([0.1, 0.5, 0.4, 0.4, 0.4, 0.9], spy)
    best, facts = spy.train(known, Training(rounds=20, seed=42, batch=64, patience=3), validate)
    assert (best, len(kept), len(facts["curve"])) == (2, 5, 5)


def test_a_better_epoch_within_patience_goes_on(known):
    spy = Spy()
    validate, kept = validation_of([0.5, 0.4, 0.4, 0.6, 0.1, 0.1, 0.1, 0.9], spy)
    best, _ = spy.train(known, Training(rounds=20, seed=42, batch=64, patience=3), validate)
    assert (best, len(kept)) == (4, 7)


def test_a_refit_of_as_many_epochs_gives_the_weights_that_validated_best(known):
    chosen, refit = Spy(), Spy()
    validate, _ = validation_of([0.1, 0.5, 0.3, 0.2], chosen)
    best, _ = chosen.train(known, Training(rounds=4, seed=42, batch=64), validate)
    assert refit.train(known, Training(rounds=best, seed=42, batch=64))[0] == best
    assert equal_weights(chosen.weights(), refit.weights())


def test_validation_sees_a_network_that_drops_nothing_out(known):
    spy = Spy()
    modes = []
    spy.train(known, SAMPLED, lambda: modes.append(spy.network.training) or 0.0)
    assert modes == [False, False]
    assert all(batch.is_training for batch in spy.batches)


@pytest.fixture(scope="module")
def spy(known):
    """Has seen the notebook's training."""
    spy = Spy()
    spy.facts = spy.train(known, OBSERVED)[1]
    return spy


class TestHeldOutRows:
    def test_held_out_rows_are_never_trained_on_and_no_row_is_lost(self, spy, known):
        trained, held_out = pairs_of(spy.rows()), pairs_of(spy.rows(training=False))
        n_rows = int((known.n_positives[known.user_rows] > 0).sum())
        assert not trained & held_out
        assert len(held_out) == int(0.1 * n_rows)
        assert len(trained | held_out) == n_rows

    def test_the_same_rows_are_held_out_each_epoch(self, spy):
        batches = [batch for batch in spy.batches if not batch.is_training]
        epochs = [pairs_of(batch[1:]) for batch in batches]
        assert len(epochs) == OBSERVED.rounds
        assert epochs[0] == epochs[1] == epochs[2]

    def test_accuracy_is_the_share_of_held_out_rows_on_the_right_side_of_zero(self, spy, known):
        likes = {(mean.tobytes(), item) for mean in known.means for item in np.flatnonzero(mean)}
        batches = [batch for batch in spy.batches if not batch.is_training]
        for batch, epoch in zip(batches, spy.facts["curve"], strict=True):
            liked = [(mean.tobytes(), item) in likes for mean, item in zip(batch.means, batch.items, strict=True)]
            assert epoch["accuracy"] == pytest.approx(np.mean((batch.logits >= 0) == liked))


def pairs_of(rows):
    """(user vector, item) of each row: no two users of this world have the same positives."""
    means, _, items, *_ = rows
    return {(mean.tobytes(), item) for mean, item in zip(means, items, strict=True)}


def test_the_loss_is_the_mean_cross_entropy_of_the_rows(known):
    spy = Spy()
    for parameter in spy.network.parameters():
        nn.init.zeros_(parameter)
    _, facts = spy.train(known, Training(rounds=1, seed=42, learning_rate=0.0))
    assert facts["curve"][0]["loss"] == pytest.approx(np.log(2))


def test_nothing_to_learn_from_is_an_input_error(known):
    empty = known.user_rows[:0]
    nobody = replace(known, user_rows=empty, item_rows=empty, labels=empty, offsets=known.offsets * 0)
    for training in (SAMPLED, OBSERVED):
        with pytest.raises(InputError, match="expected at least one pair to learn from, found none before the cut"):
            Spy().train(nobody, training)


def test_dislikes_alone_teach_a_comparing_loss_nothing(known):
    sour = replace(known, labels=known.labels * 0)
    Spy().train(sour, replace(SAMPLED, rounds=1))
    with pytest.raises(InputError, match="liked and with an unseen item for --loss bpr, found none before the cut"):
        Spy().train(sour, replace(SAMPLED, loss="bpr"))


def test_the_recipes_choose_as_they_say():
    wanted = Training(rounds=20, seed=42, sampled=True, holdout=0.0, n_negatives=4, patience=3)
    assert Training.of(FitSettings(), rounds=None) == wanted
    wanted = Training(rounds=5, seed=7, sampled=False, holdout=0.1)
    assert Training.of(FitSettings(recipe="notebook", seed=7), rounds=5) == wanted


def test_settled_options_and_tuned_numbers_reach_the_training():
    settings = FitSettings(history="as-of", negatives="popular", loss="bpr", parameters={"n_negatives": 2, "batch": 9})
    wanted = Training(rounds=3, seed=42, history="as-of", negatives="popular", loss="bpr", n_negatives=2, batch=9)
    assert Training.of(settings, rounds=3) == wanted


@pytest.mark.parametrize("history", ["loo", "as-of"])
def test_rows_show_the_past_that_was_asked_for(known, history):
    spy = Spy()
    spy.train(known, replace(SAMPLED, history=history, rounds=1))
    means, counts, items, _, _ = spy.rows()
    examples = sampled_examples(known, n_negatives=4, seed=43)
    wanted = np.zeros((len(examples), N_ITEMS))
    for row, (user, own, time) in enumerate(zip(examples.user_rows, examples.without, examples.times, strict=True)):
        theirs = (known.user_rows == user) & (known.labels == 1)
        kept = theirs & (known.times < time) if history == "as-of" else theirs & (known.item_rows != own)
        wanted[row, known.item_rows[kept]] = 1
    order, found = np.lexsort((*wanted.T, examples.item_rows)), np.lexsort((*(means > 1e-6).T, items))
    np.testing.assert_array_equal((means > 1e-6)[found], wanted[order])
    np.testing.assert_array_equal(counts[found], wanted[order].sum(axis=1))


@pytest.mark.parametrize("loss", ["bpr", "softmax"])
def test_a_comparing_loss_sees_whole_groups_and_no_dislikes(known, loss):
    spy = Spy()
    spy.train(known, replace(SAMPLED, loss=loss, rounds=1, history="as-of", batch=64))
    assert {len(batch.items) % 5 for batch in spy.batches} == {0}
    assert max(len(batch.items) for batch in spy.batches) == 60
    means, _, items, _, _ = spy.rows()
    assert len(items) == 5 * int(((known.labels == 1) & (known.user_rows != 4)).sum())  # user 4 has seen everything
    groups = means.reshape(-1, 5, N_ITEMS)
    assert (groups == groups[:, :1]).all()


def epoch_loss(known, **choices):
    """The loss of one epoch in one batch without a step, and the batch."""
    spy = Spy()
    _, facts = spy.train(known, Training(rounds=1, seed=42, learning_rate=0.0, batch=10**6, **choices))
    return facts["curve"][0]["loss"], spy.batches[0]


def test_bpr_is_over_the_pairs_of_a_positive_with_its_negatives(known):
    loss, batch = epoch_loss(known, loss="bpr")
    scores = batch.logits.astype(np.float64).reshape(-1, 5)
    assert loss == pytest.approx(np.log1p(np.exp(scores[:, 1:] - scores[:, :1])).mean(), rel=1e-5)


@pytest.mark.parametrize("negatives", ["uniform", "popular"])
def test_softmax_takes_off_the_chance_of_being_sampled(known, negatives):
    loss, batch = epoch_loss(known, loss="softmax", negatives=negatives)
    fans = np.bincount(known.item_rows[known.labels == 1], minlength=N_ITEMS)
    chances = np.maximum(fans, 1) ** (0.75 if negatives == "popular" else 0.0)
    odds = (np.exp(batch.logits.astype(np.float64)) / chances[batch.items]).reshape(-1, 5)
    assert loss == pytest.approx(-np.log(odds[:, 0] / odds.sum(axis=1)).mean(), rel=1e-5)


class CrossedSpy(Spy):
    """Scores every user of a batch with every item of it."""

    def logits(self, means, counts, items, popularity):
        scores = self.network(torch.from_numpy(means))[:, torch.from_numpy(items)]
        self.batches.append(Batch(self.network.training, means, counts, items, popularity, scores.detach().numpy()))
        return scores


def test_in_batch_softmax_is_over_what_others_liked_and_the_user_has_not_seen(known):
    spy = CrossedSpy()
    training = Training(rounds=1, seed=42, learning_rate=0.0, batch=10**6, negatives="in-batch", loss="softmax")
    _, facts = spy.train(known, training)
    (batch,) = spy.batches
    liked = np.flatnonzero(known.labels == 1)
    fans = np.bincount(known.item_rows[liked], minlength=N_ITEMS)
    users = known.user_rows[liked][np.random.default_rng([42, 1]).permutation(len(liked))]
    seen = set(zip(known.user_rows.tolist(), known.item_rows.tolist(), strict=True))
    losses = []
    for row, user in enumerate(users):
        odds = {
            column: np.exp(float(batch.logits[row, column])) / fans[item]
            for column, item in enumerate(batch.items)
            if column == row or (user, item) not in seen
        }
        losses.append(-np.log(odds[row] / sum(odds.values())))
    assert len(losses) == len(liked)
    assert facts["curve"][0]["loss"] == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "choices"),
    [
        ("two-tower", {"negatives": "in-batch"}),
        ("two-tower", {"loss": "bpr", "history": "as-of"}),
        ("mlp", {"loss": "softmax", "negatives": "popular"}),
        ("mlp", {"loss": "bpr"}),
    ],
)
def test_a_model_learns_by_each_loss_and_alike_for_a_seed(known, kind, choices):
    parameters = {"learning_rate": 0.01, "batch": 64}
    settings = FitSettings(device="cpu", parameters=parameters, **choices)
    first, again = (model_class(kind).fit(known, settings, rounds=6).facts["curve"] for _ in range(2))
    assert first == again
    assert first[-1]["loss"] < first[0]["loss"]
