"""What each part of what is known of a user adds to a score, against the average user."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from recsys_polars.attribution import Parts, coalitions, shapley_values
from recsys_polars.knowledge import Knowledge, Rows, user_vectors, vector_columns_of
from recsys_polars.models.protocol import Model

AVERAGE, COUNT, OTHERS = "average user", "user count", "other blocks"
MOST_PLAYERS = 8
"""Blocks after the seventh count as one: every set of players is scored."""


def user_parts(
    model: Model, known: Knowledge, user: int, items: Rows, *, blocks: Sequence[str], with_count: bool
) -> Parts:
    """Return the scores of a user's pairs as sums: what the average user would have, and what the user's own adds.

    The average user is the mean of all users' means, with the median count. Each block of the user's mean, and the
    count, adds its Shapley value: what the score gains when it takes the place of the average user's.

    Args:
        model: it sees of a user their mean and, at most, their count.
        known: what is known; some user has a positive.
        user: user row.
        items: item rows, shape (n,).
        blocks: that the model sees.
        with_count: whether it sees the count.
    """
    own, count = user_vectors(known, np.array([user]))
    average = known.means.mean(axis=0, dtype=np.float64).astype(np.float32)
    names = [f"user {block}" for block in blocks[: MOST_PLAYERS - 1]]
    names += [OTHERS] * (len(blocks) > len(names))
    has = coalitions(len(names) + with_count)
    means = np.repeat(average[None], len(has), axis=0)
    for place, block in enumerate(blocks):
        columns = vector_columns_of(known, [block])
        means[:, columns] = np.where(has[:, [min(place, len(names) - 1)]], own[:, columns], average[columns])
    usual = int(np.sort(known.n_positives[known.n_positives > 0])[(len(known.means) - 1) // 2])
    mixed = replace(
        known,
        means=means,
        mean_rows=np.arange(len(has)),
        n_positives=np.where(has[:, -1] & with_count, count, usual),
    )
    everyone = np.arange(len(has))
    scorer = model.scorer(mixed, everyone, device="cpu")
    worth = scorer.exact(np.repeat(everyone, len(items)), np.tile(items, len(has))).reshape(len(has), len(items))
    added = shapley_values(worth)
    return {AVERAGE: worth[0], **dict(zip([*names, *[COUNT] * with_count], added, strict=True))}
