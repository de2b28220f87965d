"""The training loop of the torch models: examples by number, vectors gathered batch by batch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from recsys_polars.errors import InputError
from recsys_polars.examples import (
    Examples,
    History,
    Negatives,
    grouped_examples,
    observed_examples,
    sampled_examples,
    sampling_weights,
    users_of_examples,
)
from recsys_polars.knowledge import Knowledge, Rows
from recsys_polars.models import losses
from recsys_polars.models.protocol import FitSettings, Loss, Told
from recsys_polars.tables import Vectors

Logits = Callable[[Vectors, Rows, Rows, Vectors], torch.Tensor]
"""(user means (n, d), their counts (n,), item rows (n,), the items' popularity (n, 1)) -> logits (n,).

Where negatives are in-batch: every user with every item, (n, n).
"""
Objective = Callable[[torch.Tensor, Examples], torch.Tensor]
"""(logits of a batch, its rows) -> the mean loss."""


@dataclass(frozen=True)
class Training:
    """The choices of a run of gradient descent.

    Attributes:
        rounds: epochs at most.
        sampled: own item left out and sampled negatives; else the observed rows as they are.
        holdout: share of the rows, at random, to report the accuracy on instead of training on them.
        batch: rows a step; for losses that compare, whole groups of a positive and its negatives.
        patience: epochs without a better validation after which to stop.
        history, negatives, loss: see `models.options`.
    """

    rounds: int
    seed: int
    sampled: bool = True
    holdout: float = 0.0
    n_negatives: int = 4
    batch: int = 2048
    learning_rate: float = 1e-3
    patience: int = 3
    history: History = "loo"
    negatives: Negatives = "uniform"
    loss: Loss = "bce"

    @classmethod
    def of(cls, settings: FitSettings, *, rounds: int | None) -> Self:
        """Return the choices of a recipe."""
        if settings.recipe == "notebook":
            return cls(rounds=rounds or 10, seed=settings.seed, sampled=False, holdout=0.1)
        chosen = {name: value for name in ("history", "negatives", "loss") if (value := getattr(settings, name))}
        return cls(rounds=rounds or 20, seed=settings.seed, **chosen, **settings.parameters)

    @property
    def group(self) -> int:
        """Rows that stay side by side: those that the loss compares."""
        return 1 if self.loss == "bce" or self.negatives == "in-batch" else 1 + self.n_negatives


def train(
    network: nn.Module,
    logits: Logits,
    known: Knowledge,
    training: Training,
    *,
    validate: Callable[[], float] | None,
    told: Told | None = None,
) -> tuple[int, dict[str, Any]]:
    """Train with Adam; with `validate`, stop early and put the best weights back.

    Sampled negatives are drawn anew each epoch. Reproducible on the CPU for a seed.

    Returns:
        The number of epochs of the weights that stay, and the figures of each epoch.

    Raises:
        InputError: there is nothing to learn from.
    """
    optimiser = torch.optim.Adam(network.parameters(), lr=training.learning_rate)
    scores = _scores_of(logits, known, training.history)
    objective = _objective(known, training)
    curve: list[dict[str, float]] = []
    best, best_score, best_weights = training.rounds, -np.inf, network.state_dict()
    for epoch in range(1, training.rounds + 1):
        examples, held_out = _examples(known, training, epoch)
        network.train()
        figures = {"loss": _epoch(scores, objective, examples, optimiser, training, epoch, told)}
        network.eval()
        if len(held_out):
            figures["accuracy"] = _accuracy(scores, held_out, training.batch)
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
    drawn: dict[str, Any] = {"seed": training.seed + epoch, "n_negatives": training.n_negatives}
    if training.negatives == "in-batch":
        examples = grouped_examples(known, **drawn | {"n_negatives": 0})
    elif training.loss != "bce":
        examples = grouped_examples(known, **drawn, negatives=training.negatives)
    elif training.sampled:
        examples = sampled_examples(known, **drawn, negatives=training.negatives)
    else:
        examples = observed_examples(known, warm_only=True)
    if not len(examples):
        compared = "" if training.loss == "bce" else f", liked and with an unseen item for --loss {training.loss}"
        raise InputError(f"history: expected at least one pair to learn from{compared}, found none before the cut")
    if training.loss != "bce":
        return examples, examples.take(slice(0))
    shuffled = np.random.default_rng(training.seed).permutation(len(examples))
    n_trained = len(examples) - int(training.holdout * len(examples))
    return examples.take(shuffled[:n_trained]), examples.take(shuffled[n_trained:])


def _batches(examples: Examples, order: Rows, size: int) -> Iterator[Examples]:
    for start in range(0, len(order), size):
        yield examples.take(order[start : start + size])


def _scores_of(logits: Logits, known: Knowledge, history: History) -> Callable[[Examples], torch.Tensor]:
    users = users_of_examples(known, history)
    return lambda batch: logits(*users(batch), batch.item_rows, known.popularity(batch.item_rows, batch.times))


def _objective(known: Knowledge, training: Training) -> Objective:
    log_chances = np.log(np.maximum(sampling_weights(known, training.negatives), 1)).astype(np.float32)

    def in_batch(scores: torch.Tensor, batch: Examples) -> torch.Tensor:
        seen = losses.seen_pairs(known, batch.user_rows, batch.item_rows)
        np.fill_diagonal(seen, val=False)
        masked = scores.masked_fill(torch.from_numpy(seen).to(scores.device), -torch.inf)
        chances = torch.from_numpy(log_chances[batch.item_rows]).to(scores.device)
        return losses.softmax(masked, chances[None, :], torch.arange(len(batch), device=scores.device))

    def by_row(scores: torch.Tensor, batch: Examples) -> torch.Tensor:
        return losses.cross_entropy(scores, torch.from_numpy(batch.labels.astype(np.float32)).to(scores.device))

    def by_group(scores: torch.Tensor, batch: Examples) -> torch.Tensor:
        groups = scores.view(-1, training.group)
        if training.loss == "bpr":
            return losses.bayesian_ranking(groups)
        chances = torch.from_numpy(log_chances[batch.item_rows]).to(scores.device).view_as(groups)
        return losses.softmax(groups, chances, torch.zeros(len(groups), dtype=torch.int64, device=scores.device))

    if training.negatives == "in-batch":
        return in_batch
    return by_row if training.loss == "bce" else by_group


def _epoch(
    scores: Callable[[Examples], torch.Tensor],
    objective: Objective,
    examples: Examples,
    optimiser: torch.optim.Optimizer,
    training: Training,
    epoch: int,
    told: Told | None,
) -> float:
    """Go once through the examples in random order, groups kept together; return their mean loss."""
    groups = np.random.default_rng([training.seed, epoch]).permutation(len(examples) // training.group)
    order = (groups[:, None] * training.group + np.arange(training.group)).ravel()
    total, done = 0.0, (epoch - 1) * len(order)
    for batch in _batches(examples, order, max(1, training.batch // training.group) * training.group):
        loss = objective(scores(batch), batch)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total += loss.item() * len(batch)
        done += len(batch)
        if told:
            told(done, training.rounds * len(order), "rows")
    return total / len(order)


@torch.no_grad()
def _accuracy(scores: Callable[[Examples], torch.Tensor], examples: Examples, size: int) -> float:
    """The share of rows whose label the sign of the logit tells."""
    hits = 0
    for batch in _batches(examples, np.arange(len(examples)), size):
        hits += int(((scores(batch) >= 0).cpu().numpy() == (batch.labels == 1)).sum())
    return hits / len(examples)


def log_counts(counts: Rows) -> Vectors:
    """Return log(1 + count) as one column, shape (n, 1)."""
    column: Vectors = np.log1p(counts, dtype=np.float32)[:, None]
    return column
