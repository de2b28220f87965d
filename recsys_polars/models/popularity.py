"""Popularity: the items that most users liked, the same list for everyone but for what they have seen."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from recsys_polars.attribution import Parts
from recsys_polars.knowledge import Knowledge, Rows
from recsys_polars.models.options import settle
from recsys_polars.models.protocol import Device, FitSettings, Model, Told
from recsys_polars.ranking.per_item import PerItemScorer


class Popularity:
    """score(u, i) = the number of users who liked item i before the cut. There is nothing to train."""

    kind: ClassVar[str] = "popularity"
    validates: ClassVar[bool] = False

    def __init__(self) -> None:
        self.rounds = 0
        self.facts: dict[str, Any] = {}

    @classmethod
    def fit(
        cls,
        known: Knowledge,  # noqa: ARG003
        settings: FitSettings,
        *,
        validate: Callable[[Model], float] | None = None,  # noqa: ARG003
        rounds: int | None = None,  # noqa: ARG003
        told: Told | None = None,  # noqa: ARG003
    ) -> Self:
        """See `Model.fit`."""
        settle(cls.kind, settings)
        return cls()

    def scorer(self, known: Knowledge, users: Rows, *, device: Device = "auto") -> PerItemScorer:  # noqa: ARG002
        """See `Model.scorer`."""
        return PerItemScorer(known.item_counts.astype(np.float64), n_users=len(users), name=self.kind)

    def parts(self, known: Knowledge, user: int, items: Rows) -> Parts:  # noqa: ARG002
        """See `Model.parts`: the count is all."""
        return {"liked by": known.item_counts[items].astype(np.float64)}

    def save(self, folder: Path) -> None:
        """Write nothing: the counts are in the store."""

    @classmethod
    def load(cls, folder: Path) -> Self:  # noqa: ARG003
        """See `Model.load`."""
        return cls()
