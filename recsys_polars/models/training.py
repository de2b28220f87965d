"""The training loop of the torch models: examples by number, vectors gathered batch by batch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from recsys_polars.errors import InputError
from recsys_polars.examples import Examples, observed_examples, sampled_examples
from recsys_polars.knowledge import Knowledge, Rows, user_vectors
from recsys_polars.models.protocol import FitSettings
from recsys_polars.tables import Vectors

Logits = Callable[[Vectors, Rows, Rows, Vectors], torch.Tensor]
"""(user means (n, d), their counts (n,), item rows (n,), the items' popularity (n, 1)) -> logits (n,)."""


@dataclass(frozen=True)
class Training:
    """The choices of a run of gradient descent.

    Attributes:
        rounds: epochs at most.
        sampled: own item left out and sampled negatives; else the observed rows as they are.
        holdout: share of the rows, at random, to report the accuracy on instead of training on them.
        patience: epochs without a better validation after which to stop.
    """

    rounds: int
    seed: int
    sampled: bool = True
    holdout: float = 0.0
    n_negatives: int = 4
    batch: int = 2048
    learning_rate: float = 1e-3
    patience: int = 3

    @classmethod
    def of(cls, settings: FitSettings, *, rounds: int | None) -> Self:
        """Return the choices of a recipe."""
        if settings.recipe == "notebook":
            return cls(rounds=rounds or 10, seed=settings.seed, sampled=False, holdout=0.1)
        return cls(rounds=rounds or 20, seed=settings.seed)


def train(
    network: nn.Module, logits: Logits, known: Knowledge, training: Training, validate: Callable[[], float] | None
) -> tuple[int, dict[str, Any]]:
    """Train by binary cross-entropy with Adam; with `validate`, stop early and put the best weights back.

    Sampled negatives are drawn anew each epoch. Reproducible on the CPU for a seed.

    Returns:
        The number of epochs of the weights that stay, and the figures of each epoch.

    Raises:
        InputError: there is nothing to learn from.
    """
    optimiser = torch.optim.Adam(network.parameters(), lr=training.learning_rate)
    curve: list[dict[str, float]] = []
    best, best_score, best_weights = training.rounds, -np.inf, network.state_dict()
    for epoch in range(1, training.rounds + 1):
        examples, held_out = _examples(known, training, epoch)
        network.train()
        figures = {"loss": _epoch(logits, known, examples, optimiser, training, epoch)}
        network.eval()
        if len(held_out):
            figures["accuracy"] = _accuracy(logits, known, held_out, training.batch)
        curve.append(figures)
        if validate is None:
            continue
        figures["validation"] = validate()
        if figures["validation"] > best_score:
            best, best_score = epoch, figures["validation"]
            best_weights = {name: value.clone() for name, value in network.state_dict().items()}
        elif epoch - best >= training.patience:
            break
    network.load_state_dict(best_weights)
    return best, {"curve": curve}


def _examples(known: Knowledge, training: Training, epoch: int) -> tuple[Examples, Examples]:
    """Return the rows to train on in an epoch, and those held out: the same ones each epoch."""
    if training.sampled:
        examples = sampled_examples(known, n_negatives=training.n_negatives, seed=training.seed + epoch)
    else:
        examples = observed_examples(known, warm_only=True)
    if not len(examples):
        raise InputError("history: expected at least one pair to learn from, found none before the cut")
    shuffled = np.random.default_rng(training.seed).permutation(len(examples))
    n_trained = len(examples) - int(training.holdout * len(examples))
    return examples.take(shuffled[:n_trained]), examples.take(shuffled[n_trained:])


def _batches(examples: Examples, order: Rows, size: int) -> Iterator[Examples]:
    for start in range(0, len(order), size):
        yield examples.take(order[start : start + size])


def _scores(logits: Logits, known: Knowledge, batch: Examples) -> torch.Tensor:
    means, counts = user_vectors(known, batch.user_rows, without=batch.without)
    return logits(means, counts, batch.item_rows, known.popularity(batch.item_rows, batch.times))


def _epoch(
    logits: Logits,
    known: Knowledge,
    examples: Examples,
    optimiser: torch.optim.Optimizer,
    training: Training,
    epoch: int,
) -> float:
    """Go once through the examples in random order; return their mean loss."""
    order = np.random.default_rng([training.seed, epoch]).permutation(len(examples))
    total = 0.0
    for batch in _batches(examples, order, training.batch):
        scores = _scores(logits, known, batch)
        targets = torch.from_numpy(batch.labels.astype(np.float32)).to(scores.device)
        loss = nn.functional.binary_cross_entropy_with_logits(scores, targets)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total += loss.item() * len(batch)
    return total / len(order)


@torch.no_grad()
def _accuracy(logits: Logits, known: Knowledge, examples: Examples, size: int) -> float:
    """The share of rows whose label the sign of the logit tells."""
    hits = 0
    for batch in _batches(examples, np.arange(len(examples)), size):
        scores = _scores(logits, known, batch)
        hits += int(((scores >= 0).cpu().numpy() == (batch.labels == 1)).sum())
    return hits / len(examples)


def log_counts(counts: Rows) -> Vectors:
    """Return log(1 + count) as one column, shape (n, 1)."""
    column: Vectors = np.log1p(counts, dtype=np.float32)[:, None]
    return column
