"""The matching MLP: a network on [user vector; item vector], ending in one logit."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
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
from recsys_polars.ranking.mlp import MlpScorer
from recsys_polars.tables import TEXT_BLOCKS, Vectors


@dataclass(frozen=True)
class MlpInputs:
    """What the network sees: vector blocks of the item, the user's mean of the same, and whether counts too."""

    blocks: tuple[str, ...]
    with_counts: bool


class MatchingMlp:
    """score(u, i) = the logit of 256 -> ReLU -> dropout 0.2 -> 64 -> ReLU -> 1 on [user; item].

    By default the user is the mean of what they liked, the row's own item left out, and log(1 + count); the item is its
    vector and how popular it was at the time; negatives are sampled; epochs are chosen by validation.
    Under `notebook` the mean is leaky, there is no count and no popularity, negatives are dislikes, and epochs ten.
    """

    kind: ClassVar[str] = "mlp"
    validates: ClassVar[bool] = True

    def __init__(self, network: nn.Sequential, inputs: MlpInputs, *, rounds: int, facts: dict[str, Any]) -> None:
        self.network, self.inputs, self.rounds, self.facts = network, inputs, rounds, facts

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
        inputs = _inputs(known, settings)
        torch.manual_seed(settings.seed)
        device = torch_device(settings.device)
        network = matching_network(_width(known, inputs)).to(device)
        model = cls(network, inputs, rounds=0, facts={})
        columns = vector_columns_of(known, inputs.blocks)
        items = torch.from_numpy(known.item_vectors[:, columns]).to(device)

        def logits(means: Vectors, counts: Rows, item_rows: Rows, popularity: Vectors) -> torch.Tensor:
            item = items[torch.from_numpy(item_rows).to(device)]
            parts = [torch.from_numpy(means[:, columns]).to(device), item]
            if inputs.with_counts:
                parts[1:1] = [torch.from_numpy(log_counts(counts)).to(device)]
                parts.append(torch.from_numpy(popularity).to(device))
            scores: torch.Tensor = network(torch.cat(parts, dim=1)).squeeze(1)
            return scores

        training = Training.of(settings, rounds=rounds)
        model.rounds, model.facts = train(
            network, logits, known, training, validate=validate and (lambda: validate(model)), told=told
        )
        return model

    def scorer(self, known: Knowledge, users: Rows, *, device: Device = "auto") -> MlpScorer:
        """See `Model.scorer`."""
        columns = vector_columns_of(known, self.inputs.blocks)
        means, counts = user_vectors(known, users)
        items, popularity = known.item_vectors[:, columns], known.popularity(np.arange(known.n_items))
        layers = [(layer.weight, layer.bias) for layer in self.network if isinstance(layer, nn.Linear)]
        return MlpScorer(
            np.hstack([means[:, columns], log_counts(counts)]) if self.inputs.with_counts else means[:, columns],
            np.hstack([items, popularity]) if self.inputs.with_counts else items,
            layers,
            name=self.kind,
            device=torch_device(device),
        )

    def parts(self, known: Knowledge, user: int, items: Rows) -> Parts:
        """See `Model.parts`, and `user_parts`."""
        return user_parts(self, known, user, items, blocks=self.inputs.blocks, with_count=self.inputs.with_counts)

    def save(self, folder: Path) -> None:
        """See `Model.save`."""
        save_file(self.network.state_dict(), folder / "weights.safetensors")
        (folder / "inputs.json").write_text(
            json.dumps({**asdict(self.inputs), "rounds": self.rounds}), encoding="utf-8"
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See `Model.load`."""
        raw = json.loads((folder / "inputs.json").read_text(encoding="utf-8"))
        weights = load_file(folder / "weights.safetensors")
        network = matching_network(weights["0.weight"].shape[1])
        network.load_state_dict(weights)
        return cls(network, MlpInputs(tuple(raw["blocks"]), raw["with_counts"]), rounds=raw["rounds"], facts={})


def matching_network(n_inputs: int) -> nn.Sequential:
    """Return the notebook's network without its last sigmoid: the logit ranks, a float32 sigmoid saturates."""
    return nn.Sequential(
        nn.Linear(n_inputs, 256), nn.ReLU(), nn.Dropout(0.2), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 1)
    )


def _inputs(known: Knowledge, settings: FitSettings) -> MlpInputs:
    if settings.recipe == "notebook":
        return MlpInputs(notebook_blocks(tuple(known.blocks)), with_counts=False)
    return MlpInputs(tuple(known.blocks), with_counts=True)


def notebook_blocks(blocks: Sequence[str]) -> tuple[str, ...]:
    """Return the notebook's blocks: CLIP and the numbers; the text's where there is no CLIP."""
    clip = tuple(block for block in blocks if block.startswith("clip_"))
    text = tuple(block for block in blocks if block in TEXT_BLOCKS)
    return (*(clip or text), "numeric")


def _width(known: Knowledge, inputs: MlpInputs) -> int:
    return 2 * (len(vector_columns_of(known, inputs.blocks)) + inputs.with_counts)
