"""What every model can do, and how it is asked to train."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

from recsys_polars.examples import History, Negatives
from recsys_polars.knowledge import Knowledge, Rows
from recsys_polars.ranking.protocol import Scorer

Recipe = Literal["default", "notebook"]
Device = Literal["auto", "cpu", "cuda"]
Loss = Literal["bce", "bpr", "softmax"]
"""Cross-entropy of each row; Bayesian personalised ranking; softmax over a positive and its negatives."""
Told = Callable[[int, int, str], None]
"""Told how far a training is: what is done, of how much, and what is counted."""


@dataclass(frozen=True)
class FitSettings:
    """How to train.

    Attributes:
        recipe: `notebook` repeats the notebook's choices, leaks included, so that its claims can be checked.
        device: `auto` takes a GPU where there is one.
        seed: of everything random.
        memory_bytes: what the training examples of a model that needs them all at once may take.
        history, negatives, loss: see `models.options`, which fills in None, and refuses what has no effect on a kind.
        parameters: numbers in place of the model's own, by name; see `recipes.tune`.
    """

    recipe: Recipe = "default"
    device: Device = "auto"
    seed: int = 42
    memory_bytes: int = 2 << 30
    history: History | None = None
    negatives: Negatives | None = None
    loss: Loss | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


class Model(Protocol):
    """A trained model.

    Attributes:
        kind: its name on the command line.
        validates: whether there are rounds to choose.
        rounds: epochs or trees that it was trained for; what a refit repeats.
        facts: what its manifest should say of the training.
    """

    kind: ClassVar[str]
    validates: ClassVar[bool]
    rounds: int
    facts: dict[str, Any]

    @classmethod
    def fit(
        cls,
        known: Knowledge,
        settings: FitSettings,
        *,
        validate: Callable[["Model"], float] | None = None,
        rounds: int | None = None,
        told: Told | None = None,
    ) -> Self:
        """Train on what is known.

        Args:
            known: the history and the features to learn from.
            settings: how.
            validate: the higher, the better; asked after some rounds to choose their number. None: train all rounds.
            rounds: epochs or trees to train; None: the model's own default.
            told: of trees, or of rows in all epochs, which may end before their time; None: nobody.

        Returns:
            The model, with the rounds that validated best.
        """
        ...

    def scorer(self, known: Knowledge, users: Rows, *, device: Device = "auto") -> Scorer:
        """Return a scorer: its user j is `users[j]`, a user row of `known`; its item i is item row i of `known`."""
        ...

    def save(self, folder: Path) -> None:
        """Write the model's files into an empty folder."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        ...
