"""The examples that models learn from: row numbers, never a matrix of pairs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from recsys_polars.earlier import EarlierLikes
from recsys_polars.knowledge import NOBODY, SEEN_ONLY, Knowledge, Rows, user_vectors
from recsys_polars.tables import Vectors

History = Literal["loo", "as-of"]
"""What an example knows of its user: all positives but its own (leave one out), or those strictly earlier."""
Negatives = Literal["uniform", "popular", "in-batch"]
"""Where a positive's negatives come from: unseen items, alike or by popularity, or the positives of its batch."""
Weights = np.ndarray[Any, np.dtype[np.float64]]
SMOOTHING = 0.75
"""The power of word2vec's negative sampling (Mikolov et al. 2013)."""


@dataclass(frozen=True)
class Examples:
    """Training rows by number: did user_rows[j], without[j] unknown, like item_rows[j] at times[j]? All (n,)."""

    user_rows: Rows
    without: Rows
    item_rows: Rows
    times: Rows
    labels: Rows

    def __len__(self) -> int:
        return len(self.user_rows)

    def take(self, places: Rows | slice) -> "Examples":
        """Return the examples at `places`, in that order."""
        return Examples(*(getattr(self, name)[places] for name in self.__dataclass_fields__))


def observed_examples(known: Knowledge, *, warm_only: bool = False) -> Examples:
    """Return the history pairs as they are, the notebook's rows: nothing left out, nothing sampled.

    Args:
        known: what is known.
        warm_only: leave out the pairs of users without a positive, who have no vector.
    """
    nobody = np.full(len(known.user_rows), NOBODY)
    examples = Examples(known.user_rows, nobody, known.item_rows, known.times, known.labels)
    kept = known.labels != SEEN_ONLY
    return examples.take(np.flatnonzero(kept & (known.n_positives[known.user_rows] > 0) if warm_only else kept))


def sampled_examples(known: Knowledge, *, n_negatives: int, seed: int, negatives: Negatives = "uniform") -> Examples:
    """Return every history pair and, for each positive, sampled items that its user has not seen.

    A positive is left out of its user's vector and count; a dislike is in neither. A sampled negative shares vector,
    count and time with the positive that it was sampled for: else the count itself would give the label away.

    Args:
        known: what is known; a user who has seen the whole catalogue gets no sampled negatives.
        n_negatives: sampled items a positive.
        seed: of the sampling. Same seed, same examples.
        negatives: `uniform` over the unseen items of the catalogue, or `popular`: by `sampling_weights`.
    """
    chance = np.random.default_rng(seed)
    liked = np.flatnonzero(known.labels == 1)
    disliked = np.flatnonzero(known.labels == 0)
    users, items = known.user_rows[liked], known.item_rows[liked]
    sampled_for, sampled = _sample_unseen(known, users, n_negatives, negatives, chance)
    return Examples(
        np.concatenate([users, users[sampled_for], known.user_rows[disliked]]),
        np.concatenate([items, items[sampled_for], np.full(len(disliked), NOBODY)]),
        np.concatenate([items, sampled, known.item_rows[disliked]]),
        np.concatenate([known.times[liked], known.times[liked][sampled_for], known.times[disliked]]),
        np.concatenate([np.ones(len(liked), int), np.zeros(len(sampled) + len(disliked), int)]),
    )


def grouped_examples(known: Knowledge, *, n_negatives: int, seed: int, negatives: Negatives = "uniform") -> Examples:
    """Return groups of one positive and its sampled negatives, for losses that compare them.

    Args:
        known: what is known.
        n_negatives: sampled items a positive.
        seed: of the sampling; the same one samples the same items as in `sampled_examples`.
        negatives: see `sampled_examples`.

    Returns:
        Groups of 1 + n_negatives rows side by side, the positive first. Dislikes are in none: nothing was liked at
        their time to be compared with. Nor are the positives of a user for whom nothing is left to be sampled.
    """
    every = sampled_examples(known, n_negatives=n_negatives, seed=seed, negatives=negatives)
    n_liked = int(every.labels.sum())
    n_sampled = len(every) - n_liked - int((known.labels == 0).sum())
    users = every.user_rows[:n_liked]
    room = np.flatnonzero(np.diff(known.offsets)[users] < known.n_items) if n_negatives else np.arange(n_liked)
    sampled = n_liked + np.arange(n_sampled).reshape(len(room), n_negatives)
    return every.take(np.column_stack([room, sampled]).ravel())


def sampling_weights(known: Knowledge, negatives: Negatives) -> Weights:
    """Return how likely each item is to be drawn as a negative, up to a factor, shape (n_items,).

    `uniform`: 1. `popular`: n_positives ** 0.75, an item that nobody liked counting as liked once. `in-batch`:
    n_positives, as each positive is once in an epoch.
    """
    if negatives == "uniform":
        return np.ones(known.n_items)
    if negatives == "popular":
        return np.maximum(known.item_counts, 1.0) ** SMOOTHING
    return known.item_counts.astype(np.float64)


def users_of_examples(known: Knowledge, history: History) -> Callable[[Examples], tuple[Vectors, Rows]]:
    """Return what gathers the users of examples: mean vectors (n, d) and numbers of positives (n,).

    Args:
        known: what is known.
        history: `loo`: all but the example's own positive, see `user_vectors`; `as-of`: see `EarlierLikes.vectors`.
    """
    if history == "as-of":
        past = EarlierLikes(known)
        return lambda examples: past.vectors(examples.user_rows, examples.times)
    return lambda examples: user_vectors(known, examples.user_rows, without=examples.without)


def _sample_unseen(
    known: Knowledge, users: Rows, n_each: int, negatives: Negatives, chance: np.random.Generator
) -> tuple[Rows, Rows]:
    """Return (places in `users`, item rows): n_each unseen items for each place, by rejection."""
    seen = known.user_rows * known.n_items + known.item_rows  # sorted, as the pairs are
    n_seen = np.diff(known.offsets)[users]
    places = np.repeat(np.flatnonzero(n_seen < known.n_items), n_each)
    items = np.empty(len(places), dtype=np.int64)
    draw = _draws(known, negatives, chance)
    open_places = np.arange(len(places))
    while len(open_places):
        items[open_places] = draw(len(open_places))
        pairs = users[places[open_places]] * known.n_items + items[open_places]
        found = np.minimum(np.searchsorted(seen, pairs), len(seen) - 1)
        open_places = open_places[seen[found] == pairs]
    return places, items


def _draws(known: Knowledge, negatives: Negatives, chance: np.random.Generator) -> Callable[[int], Rows]:
    """Return what draws that many items."""
    if negatives == "uniform":
        return lambda n: chance.integers(known.n_items, size=n)
    upto = sampling_weights(known, negatives).cumsum()
    return lambda n: np.searchsorted(upto, chance.random(n) * upto[-1], side="right").clip(max=known.n_items - 1)
