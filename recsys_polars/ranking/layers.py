"""Small stacks of linear layers with ReLU between them: in float32 with a bound, and canonically."""

import threading
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import torch

from recsys_polars.errors import ArtefactError
from recsys_polars.ranking.canonical import linear_in_order
from recsys_polars.ranking.protocol import FloatArray
from recsys_polars.ranking.rounding import gamma_double, linear_error, rounded

Weights: TypeAlias = Sequence[tuple[torch.Tensor | FloatArray, torch.Tensor | FloatArray]]
"""`(weight (d_out, d_in), bias (d_out,))` per layer, as `torch.nn.Linear` keeps them."""


class Layer(NamedTuple):
    """One linear layer, float32."""

    weight: torch.Tensor
    """`(d_out, d_in)`."""
    bias: torch.Tensor
    """`(d_out,)`."""


def as_layers(weights: Weights, *, d_in: int, name: str, device: torch.device) -> list[Layer]:
    """Layers on `device`.

    Raises:
        ArtefactError: a shape that doesn't fit the layer before it.
    """
    layers = []
    for number, (raw_weight, raw_bias) in enumerate(weights, start=1):
        weight, bias = to_float32(raw_weight, device), to_float32(raw_bias, device)
        if weight.ndim != 2 or weight.shape[1] != d_in or bias.shape != weight.shape[:1]:
            raise ArtefactError(
                f"{name}: layer {number}: expected a weight (d_out, {d_in}) and a bias (d_out,), "
                f"found {tuple(weight.shape)} and {tuple(bias.shape)}"
            )
        layers.append(Layer(weight, bias))
        d_in = len(weight)
    return layers


def to_float32(values: torch.Tensor | FloatArray, device: torch.device) -> torch.Tensor:
    """A contiguous float32 tensor on `device`, free of the autograd graph and of the array's memory map."""
    if isinstance(values, np.ndarray):
        values = torch.from_numpy(np.array(values, dtype=np.float32))
    return values.detach().to(device=device, dtype=torch.float32).contiguous()


def forward_with_error(layers: Sequence[Layer], x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The stack, without ReLU after the last layer, and an elementwise bound on its error.

    A row passes here once, not once a pair: so products are float64, and little is lost before the final rounding.

    Args:
        layers: any number, also none.
        x: float32 `(rows, d_in)`.

    Returns:
        float32 and float64, both `(rows, d_out)`.
    """
    x = x.double()
    error = torch.zeros_like(x)
    for number, (weight, bias) in enumerate(layers, start=1):
        error = linear_error(gamma_double(weight.shape[1]), x.abs(), error, weight, bias)
        x = torch.addmm(bias.double(), x, weight.double().t())
        if number < len(layers):
            x.relu_()
    return rounded(x, error)


def forward_in_order(layers: Sequence[Layer], x: torch.Tensor) -> torch.Tensor:
    """The stack canonically: float64 `(rows, d_in)` -> `(rows, d_out)`, no ReLU after the last layer."""
    for number, (weight, bias) in enumerate(layers, start=1):
        x = linear_in_order(x, weight.double(), bias.double())
        if number < len(layers):
            x.clamp_min_(0.0)
    return x


class Scratch:
    """A thread's buffer that grows on demand: fresh buffers of a tile's size cost a page fault per 4 kB."""

    def __init__(self, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        self._device, self._dtype = device, dtype
        self._of_thread = threading.local()

    def take(self, rows: int, columns: int) -> torch.Tensor:
        """An uninitialised `(rows, columns)` tensor that overwrites the one taken before."""
        buffer: torch.Tensor | None = getattr(self._of_thread, "buffer", None)
        if buffer is None or buffer.numel() < rows * columns:
            buffer = self._of_thread.buffer = torch.empty(rows * columns, device=self._device, dtype=self._dtype)
        return buffer[: rows * columns].view(rows, columns)
