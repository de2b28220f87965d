"""The two-tower model: a user vector and an item vector, and their dot product."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from recsys_polars.attribution import Parts
from recsys_polars.knowledge import Knowledge, Rows, user_vectors, vector_columns_of
from recsys_polars.models.devices import torch_device
from recsys_polars.models.options import settle
from recsys_polars.models.protocol import Device, FitSettings, Model, Told
from recsys_polars.models.training import Training, log_counts, train
from recsys_polars.models.user_parts import user_parts
from recsys_polars.ranking.dot import DotScorer
from recsys_polars.tables import Vectors

WIDTH = 64
HIDDEN = 128


class TwoTower:
    """score(u, i) = user_tower(user) . item_tower(item), each tower 128 -> ReLU -> 64.

    The user is the mean vector of what they liked, and log(1 + count); in training without the row's own item, or as of
    its time. The item is its vector and how popular it was at the time; as an in-batch negative, at the time of its own
    row.
    """

    kind: ClassVar[str] = "two-tower"
    validates: ClassVar[bool] = True

    def __init__(self, towers: nn.ModuleDict, blocks: tuple[str, ...], *, rounds: int, facts: dict[str, Any]) -> None:
        self.towers, self.blocks, self.rounds, self.facts = towers, blocks, rounds, facts

    @classmethod
    def fit(
        cls,
        known: Knowledge,
        settings: FitSettings,
        *,
        validate: Callable[[Model], float] | None = None,
        rounds: int | None = None,
        told: Told | None = None,
    ) -> Self:
        """See `Model.fit`."""
        settings = settle(cls.kind, settings)
        blocks = tuple(known.blocks)
        columns = vector_columns_of(known, blocks)
        torch.manual_seed(settings.seed)
        device = torch_device(settings.device)
        towers = two_towers(len(columns)).to(device)
        model = cls(towers, blocks, rounds=0, facts={})
        items = torch.from_numpy(known.item_vectors[:, columns]).to(device)
        training = Training.of(settings, rounds=rounds)
        in_batch = training.negatives == "in-batch"

        def logits(means: Vectors, counts: Rows, item_rows: Rows, popularity: Vectors) -> torch.Tensor:
            user = torch.from_numpy(np.hstack([means[:, columns], log_counts(counts)])).to(device)
            item_vectors = items[torch.from_numpy(item_rows).to(device)]
            item = torch.cat([item_vectors, torch.from_numpy(popularity).to(device)], dim=1)
            ours, theirs = towers["user"](user), towers["item"](item)
            scores: torch.Tensor = ours @ theirs.T if in_batch else (ours * theirs).sum(dim=1)
            return scores

        model.rounds, model.facts = train(
            towers, logits, known, training, validate=validate and (lambda: validate(model)), told=told
        )
        return model

    def scorer(self, known: Knowledge, users: Rows, *, device: Device = "auto") -> DotScorer:
        """See `Model.scorer`."""
        columns = vector_columns_of(known, self.blocks)
        means, counts = user_vectors(known, users)
        return DotScorer(
            np.hstack([means[:, columns], log_counts(counts)]),
            np.hstack([known.item_vectors[:, columns], known.popularity(np.arange(known.n_items))]),
            user_tower=_layers(self.towers["user"]),
            item_tower=_layers(self.towers["item"]),
            name=self.kind,
            device=torch_device(device),
        )

    def parts(self, known: Knowledge, user: int, items: Rows) -> Parts:
        """See `Model.parts`, and `user_parts`."""
        return user_parts(self, known, user, items, blocks=self.blocks, with_count=True)

    def save(self, folder: Path) -> None:
        """See `Model.save`."""
        save_file(self.towers.state_dict(), folder / "weights.safetensors")
        (folder / "inputs.json").write_text(
            json.dumps({"blocks": self.blocks, "rounds": self.rounds}), encoding="utf-8"
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See `Model.load`."""
        inputs = json.loads((folder / "inputs.json").read_text(encoding="utf-8"))
        weights = load_file(folder / "weights.safetensors")
        towers = two_towers(weights["item.0.weight"].shape[1] - 1)
        towers.load_state_dict(weights)
        return cls(towers, tuple(inputs["blocks"]), rounds=inputs["rounds"], facts={})


def two_towers(n_columns: int) -> nn.ModuleDict:
    """Return the towers of vectors n_columns wide and one number: the user's count, the item's popularity."""
    return nn.ModuleDict({"user": _tower(n_columns + 1), "item": _tower(n_columns + 1)})


def _tower(n_inputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH))


def _layers(tower: nn.Module) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(layer.weight, layer.bias) for layer in tower.children() if isinstance(layer, nn.Linear)]
