"""The examples that models learn from: row numbers, never a matrix of pairs."""

from dataclasses import dataclass

import numpy as np

from recsys_polars.knowledge import NOBODY, SEEN_ONLY, Knowledge, Rows


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

    def take(self, places: Rows) -> "Examples":
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


def sampled_examples(known: Knowledge, *, n_negatives: int, seed: int) -> Examples:
    """Return every history pair and, for each positive, sampled items that its user has not seen.

    A positive is left out of its user's vector and count; a dislike is in neither. A sampled negative shares vector,
    count and time with the positive that it was sampled for: else the count itself would give the label away.

    Args:
        known: what is known; a user who has seen the whole catalogue gets no sampled negatives.
        n_negatives: sampled items a positive, uniform over the unseen items of the catalogue.
        seed: of the sampling. Same seed, same examples.
    """
    chance = np.random.default_rng(seed)
    liked = np.flatnonzero(known.labels == 1)
    disliked = np.flatnonzero(known.labels == 0)
    users, items = known.user_rows[liked], known.item_rows[liked]
    sampled_for, sampled = _sample_unseen(known, users, n_negatives, chance)
    return Examples(
        np.concatenate([users, users[sampled_for], known.user_rows[disliked]]),
        np.concatenate([items, items[sampled_for], np.full(len(disliked), NOBODY)]),
        np.concatenate([items, sampled, known.item_rows[disliked]]),
        np.concatenate([known.times[liked], known.times[liked][sampled_for], known.times[disliked]]),
        np.concatenate([np.ones(len(liked), int), np.zeros(len(sampled) + len(disliked), int)]),
    )


def _sample_unseen(known: Knowledge, users: Rows, n_each: int, chance: np.random.Generator) -> tuple[Rows, Rows]:
    """Return (places in `users`, item rows): n_each uniform unseen items for each place, by rejection."""
    seen = known.user_rows * known.n_items + known.item_rows  # sorted, as the pairs are
    n_seen = np.diff(known.offsets)[users]
    places = np.repeat(np.flatnonzero(n_seen < known.n_items), n_each)
    items = np.empty(len(places), dtype=np.int64)
    open_places = np.arange(len(places))
    while len(open_places):
        items[open_places] = chance.integers(known.n_items, size=len(open_places))
        pairs = users[places[open_places]] * known.n_items + items[open_places]
        found = np.minimum(np.searchsorted(seen, pairs), len(seen) - 1)
        open_places = open_places[seen[found] == pairs]
    return places, items
