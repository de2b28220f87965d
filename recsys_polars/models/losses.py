"""What the torch models minimise: each loss compares a positive with its negatives in its own way."""

import numpy as np
import torch
from torch import nn

from recsys_polars.knowledge import Knowledge, Rows


def cross_entropy(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean binary cross-entropy of rows, each by itself: shapes (n,) and (n,)."""
    return nn.functional.binary_cross_entropy_with_logits(scores, labels)


def bayesian_ranking(scores: torch.Tensor) -> torch.Tensor:
    """BPR (Rendle et al. 2009): the mean of -log sigmoid(positive - negative) over all pairs of a group.

    Args:
        scores: shape (groups, 1 + n_negatives), the positive first.
    """
    return nn.functional.softplus(scores[:, 1:] - scores[:, :1]).mean()


def softmax(scores: torch.Tensor, log_chances: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Sampled softmax: the mean of -log(the share of the positive) of exp(score - log Q).

    The correction takes back that an item often drawn is often a negative (Bengio and Senecal 2008; in-batch: Yi et al.
    2019, Sampling-bias-corrected neural modeling). Q counts up to a factor.

    Args:
        scores: shape (n, m), -inf where an item is no negative of the row.
        log_chances: log Q of the items, (n, m) or (1, m).
        own: the column of each row's positive, shape (n,).
    """
    return nn.functional.cross_entropy(scores - log_chances, own)


def seen_pairs(known: Knowledge, users: Rows, items: Rows) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Say of each pair (users[j], items[k]) whether it is in the user's history, shape (n, m)."""
    columns, column_of = np.unique(items, return_inverse=True)
    offsets, seen_items = known.seen(users)
    places = np.minimum(np.searchsorted(columns, seen_items), len(columns) - 1)
    among = columns[places] == seen_items
    seen = np.zeros((len(users), len(columns)), dtype=bool)
    seen[np.repeat(np.arange(len(users)), np.diff(offsets))[among], places[among]] = True
    return seen[:, column_of]
