"""What every model can do, and how it is asked to train."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

from recsys_polars.attribution import Parts
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

    Example:
        >>> rp.FitSettings(seed=1).device
        'auto'
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
    """A trained model. One of the user's own is named by its import path, MODULE:CLASS; see docs/own-model.md.

    Attributes:
        validates: whether there are rounds to choose.
        rounds: epochs or trees that it was trained for; what a refit repeats.
        facts: what its manifest should say of the training, in JSON; the highest `validation` in the list `curve` is
            shown as MAP@10.

    Example:
        >>> class Alphabetical:
        ...     validates, rounds, facts = False, 0, {}
        ...     @classmethod
        ...     def fit(cls, known, settings, *, validate=None, rounds=None):
        ...         return cls()
        ...     def scorer(self, known, users, *, device="auto"):
        ...         return rp.PerItemScorer(-np.arange(known.n_items), n_users=len(users))
        ...     def save(self, folder):
        ...         pass
        ...     @classmethod
        ...     def load(cls, folder):
        ...         return cls()
        >>> import __main__
        >>> __main__.Alphabetical, Alphabetical.__module__ = Alphabetical, "__main__"  # as in a notebook
        >>> rp.train("store", Alphabetical)["kind"]
        '__main__:Alphabetical'
        >>> rp.rank("store", "preds.parquet", model=Alphabetical)["model"]
        '__main__:Alphabetical'
    """

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
    ) -> Self:
        """Train on what is known.

        Args:
            known: the history and the features to learn from.
            settings: how.
            validate: the higher, the better; asked after some rounds to choose their number. None: train all rounds.
            rounds: epochs or trees to train; None: the model's own default.

        A model that is long at it may take `told: Told | None = None` too, and tell of trees or rows.

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


@runtime_checkable
class Explaining(Protocol):
    """A model that says what its scores are made of; one of the user's own need not."""

    def parts(self, known: Knowledge, user: int, items: Rows) -> Parts:
        """Return what the canonical scores of a user row with some item rows are the sum of."""
        ...
