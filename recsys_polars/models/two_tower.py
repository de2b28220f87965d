"""The two-tower model: a user vector and an item vector, and their dot product."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from recsys_polars.knowledge import Knowledge, Rows, user_vectors, vector_columns_of
from recsys_polars.models.devices import torch_device
from recsys_polars.models.protocol import Device, FitSettings, Model
from recsys_polars.models.training import Training, log_counts, train
from recsys_polars.ranking.dot import DotScorer
from recsys_polars.tables import Vectors

WIDTH = 64
HIDDEN = 128


class TwoTower:
    """score(u, i) = user_tower(user) . item_tower(item), each tower 128 -> ReLU -> 64.

    The user is the mean vector of what they liked, the row's own item left out in training, and log(1 + count); the
    item is its vector and log(1 + count of the other users who liked it).
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
    ) -> Self:
        """See `Model.fit`."""
        blocks = tuple(known.blocks)
        columns = vector_columns_of(known, blocks)
        torch.manual_seed(settings.seed)
        device = torch_device(settings.device)
        towers = two_towers(len(columns)).to(device)
        model = cls(towers, blocks, rounds=0, facts={})
        items = torch.from_numpy(known.item_vectors[:, columns]).to(device)

        def logits(means: Vectors, counts: Rows, item_rows: Rows, item_counts: Rows) -> torch.Tensor:
            user = torch.from_numpy(_beside_counts(means[:, columns], counts)).to(device)
            counted = torch.from_numpy(log_counts(item_counts)).to(device)
            item = torch.cat([items[torch.from_numpy(item_rows).to(device)], counted], dim=1)
            scores: torch.Tensor = (towers["user"](user) * towers["item"](item)).sum(dim=1)
            return scores

        training = Training.of(settings, rounds=rounds)
        model.rounds, model.facts = train(towers, logits, known, training, validate and (lambda: validate(model)))
        return model

    def scorer(self, known: Knowledge, users: Rows, *, device: Device = "auto") -> DotScorer:
        """See `Model.scorer`."""
        columns = vector_columns_of(known, self.blocks)
        means, counts = user_vectors(known, users)
        return DotScorer(
            _beside_counts(means[:, columns], counts),
            _beside_counts(known.item_vectors[:, columns], known.item_counts),
            user_tower=_layers(self.towers["user"]),
            item_tower=_layers(self.towers["item"]),
            name=self.kind,
            device=torch_device(device),
        )

    def save(self, folder: Path) -> None:
        """See `Model.save`."""
        save_file(self.towers.state_dict(), folder / "weights.safetensors")
        (folder / "inputs.json").write_text(json.dumps({"blocks": self.blocks}), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See `Model.load`."""
        inputs = json.loads((folder / "inputs.json").read_text(encoding="utf-8"))
        weights = load_file(folder / "weights.safetensors")
        towers = two_towers(weights["item.0.weight"].shape[1] - 1)
        towers.load_state_dict(weights)
        return cls(towers, tuple(inputs["blocks"]), rounds=0, facts={})


def two_towers(n_columns: int) -> nn.ModuleDict:
    """Return the towers of vectors n_columns wide and a count."""
    return nn.ModuleDict({"user": _tower(n_columns + 1), "item": _tower(n_columns + 1)})


def _tower(n_inputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, WIDTH))


def _layers(tower: nn.Module) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(layer.weight, layer.bias) for layer in tower.children() if isinstance(layer, nn.Linear)]


def _beside_counts(vectors: Vectors, counts: Rows) -> Vectors:
    return np.hstack([vectors, log_counts(counts)])
