"""A first look at an MLP's logits in float16, for GPUs: one kernel that keeps the hidden activations in registers.

Float16 is 8 times as precise as bfloat16, and as fast. Its range is small: so the hidden units and the weight are
scaled by powers of two, which round nothing, and where it still isn't enough the bound is infinite.
"""

import math
import warnings
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch.nn.functional import pad

from recsys_polars.ranking.layers import Layer
from recsys_polars.ranking.protocol import ItemRows
from recsys_polars.ranking.rounding import ROUNDOFF, SLACK, UNDERFLOW, gamma_bfloat16

_FLOAT16_ROUNDOFF = 2.0**-11
_FLUSH = 2.0**-14  # float16: below it, precision ends, or begins the zero of some hardware
_TINY = 2.0**-126  # the same of float32
_LARGEST_HIDDEN, _LARGEST_MIDDLE = 2.0**15, 2.0**120
_ITEM_HALF, _WEIGHT = 2.0**6, 2.0**14  # what the largest is scaled to: a user half may be 500 times an item half
_ROWS_AT_ONCE = 8192
_WIDEST_MIDDLE = 256  # its sums fill the registers
_PROBED_USERS, _PROBED_ITEMS = 9, 40


class Network(NamedTuple):
    """What a kernel needs of the two layers after the halves, zeros where it is wider than they are."""

    weight: torch.Tensor
    """float16 `(width, middle)`: 16 or a multiple of 32, and a power of two from 16 on."""
    bias: torch.Tensor
    """float32 `(middle,)`."""
    last: torch.Tensor
    """float32 `(middle,)`."""
    last_bias: float
    unit: float
    """Takes the scales of the hidden units and of the weight back."""


class Kernel(Protocol):
    """What computes the logits."""

    def __call__(
        self, users: torch.Tensor, halves: torch.Tensor, items: ItemRows, network: Network, out: torch.Tensor
    ) -> None:
        """Write last . relu(unit * weight^T float16(relu(A_u + B_i)) + bias) + last_bias to `out`.

        All but the product's inputs is float32. Sums may be in any order.

        Args:
            users: A, float32 `(block, width)`.
            halves: B, float32 `(n_items, width)`.
            items: which of them.
            network: the layers.
            out: float32 `(block, n)`, the items of a user side by side in memory.
        """
        ...


def reference(users: torch.Tensor, halves: torch.Tensor, items: ItemRows, network: Network, out: torch.Tensor) -> None:
    """The kernel with plain torch: the same roundings, hidden activations in memory, on any device."""
    chosen, weight = halves[items], network.weight.float()
    for user, target in zip(users, out, strict=True):
        hidden = (user + chosen).relu_().half().float()
        middle = (hidden @ weight).mul_(network.unit).add_(network.bias).relu_()
        target.copy_((middle * network.last).sum(1).add_(network.last_bias))


def load_kernel() -> Kernel:
    """The Triton kernel.

    Raises:
        ImportError: Triton isn't installed.
    """
    from recsys_polars.ranking.fused_kernel import logits

    return logits


def fused_look(tail: Sequence[Layer], item_halves: torch.Tensor) -> "FusedLook | None":
    """The look, tried on a few pairs; None, and a warning that says why, where that fails; None for other shapes."""
    if len(tail) != 2 or len(tail[0].bias) > _WIDEST_MIDDLE or not len(item_halves):
        return None
    try:
        look = FusedLook(tail, item_halves, load_kernel())
        look.check(item_halves[:_PROBED_USERS])
    except Exception as error:  # noqa: BLE001 - whatever a compiler, a driver or a device may raise
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        warnings.warn(f"no fused kernel, scoring in float32 instead: {reason}", RuntimeWarning, stacklevel=3)
        return None
    return look


class FusedLook:
    """Logits w . relu(W relu(A_u + B_i) + b) + b' of a network with two layers after the halves A and B.

    Args:
        tail: the two layers, `(width -> middle)` and `(middle -> 1)`.
        item_halves: B, float32 `(n_items, width)`, one or more.
        kernel: what computes them.
    """

    def __init__(self, tail: Sequence[Layer], item_halves: torch.Tensor, kernel: Kernel) -> None:
        (weight, bias), (last, last_bias) = tail
        self._kernel, self._device = kernel, item_halves.device
        self._up, weight_up = _power(_ITEM_HALF, item_halves), _power(_WEIGHT, weight)
        scaled = (weight * weight_up).half()
        scaled = torch.where(scaled.abs() < _FLUSH, 0.0, scaled)
        width, middle = _padded_width(weight.shape[1]), max(16, 1 << (len(weight) - 1).bit_length())
        self._wider, more = width - weight.shape[1], middle - len(weight)
        self._network = Network(
            pad(scaled.t(), (0, more, 0, self._wider)).contiguous(),
            pad(bias, (0, more)),
            pad(last[0], (0, more)),
            float(last_bias),
            1 / (self._up * weight_up),
        )
        self._halves = pad(item_halves * self._up, (0, self._wider))
        self._measure(weight.double(), scaled.double() / weight_up, tail, item_halves)

    def _measure(
        self, weight: torch.Tensor, rough: torch.Tensor, tail: Sequence[Layer], item_halves: torch.Tensor
    ) -> None:
        """The items' share of the bound: the largest of any item."""
        share = tail[1].weight[0].double().abs()
        self._through, self._off = share @ rough.abs(), share @ (rough - weight).abs()
        self._largest, self._centre = item_halves.amax(0).double(), item_halves.mean(0, dtype=torch.float64)
        self._constant = share @ tail[0].bias.double().abs() + tail[1].bias.double().abs()
        self._flushed = _FLUSH / self._up * self._through.sum() + _TINY * share.sum()
        reach = rough.abs().sum(1) * (_LARGEST_HIDDEN / self._up) + tail[0].bias.double().abs()
        if not bool((reach < _LARGEST_MIDDLE).all()):  # float32 may overflow before a small last weight makes up for it
            self._flushed.fill_(torch.inf)
        self._most = torch.zeros(2, dtype=torch.float64, device=self._device)
        for part in torch.split(item_halves, _ROWS_AT_ONCE):
            above = (part.double() - self._centre).clamp_min_(0.0)
            most = torch.stack([above @ self._through, above @ self._off]).amax(1)
            self._most = torch.maximum(self._most, most)

    def users(self, user_halves: torch.Tensor, error: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Users as `logits` takes them, and the bound of their logits over all items, float64 `(block,)`.

        relu(A + B) <= relu(A + c) + relu(B - c) for any c: so the mass of the hidden units, however it is weighted, is
        at most the user's share and the largest item's together. c is the mean B. What follows is, weighted by |w|:
        what rounding the hidden units to float16 lost (the sum A + B in float32 too), what the weight lost, the error
        of the product's sum, that of the float32 steps after it, and the error that A and B had from the beginning.

        Args:
            user_halves: A, float32 `(block, width)`.
            error: of A and B together, float64 `(block, width)`.
        """
        exact = user_halves.double()
        near = (exact + self._centre).clamp_min_(0.0)
        most_mass, most_off = self._most
        mass, weights = near @ self._through + most_mass, near @ self._off + most_off
        hidden = (_FLOAT16_ROUNDOFF + 2 * ROUNDOFF) * mass + self._flushed
        sums = gamma_bfloat16(self._halves.shape[1]) * (mass + hidden)
        after = gamma_bfloat16(len(self._network.last) + 2) * (mass + hidden + sums + self._constant)
        before = error @ (self._through + self._off)
        bound = (before + hidden + weights + sums + after) * SLACK + UNDERFLOW
        fits = (exact + self._largest).amax(1) * self._up < _LARGEST_HIDDEN
        return pad(user_halves * self._up, (0, self._wider)), torch.where(fits, bound, torch.inf)

    def logits(self, users: torch.Tensor, items: ItemRows, out: torch.Tensor) -> None:
        """Write the logits of `users`, as `users` gave them, with `items` to `out`, float32 `(block, n)`."""
        self._kernel(users, self._halves, items, self._network, out)

    def check(self, halves: torch.Tensor) -> None:
        """Compare the kernel with `reference`, on a few halves as users and the first items.

        Raises:
            ArithmeticError: they differ by more than both may err.
        """
        users, bound = self.users(halves, torch.zeros_like(halves, dtype=torch.float64))
        last = min(len(self._halves), _PROBED_ITEMS)
        for items in (slice(last // 3, last), torch.arange(last - 1, -1, -1, device=self._device)):
            out = torch.full((len(users), len(self._halves[items])), torch.nan, device=self._device)
            expected = torch.empty_like(out)
            self.logits(users, items, out)
            reference(users, self._halves, items, self._network, expected)
            differ = ~((out - expected).abs() <= 2 * bound[:, None])
            if bool((differ & bound.isfinite()[:, None]).any()):
                raise ArithmeticError("its logits differ from the reference's")


def _padded_width(width: int) -> int:
    """16 or a multiple of 32."""
    return 16 if width <= 16 else -(-width // 32) * 32


def _power(wanted: float, values: torch.Tensor) -> float:
    """The power of two that brings the largest of `values` just below `wanted`; float32 holds it and its inverse."""
    largest = float(values.abs().amax())
    exponent = math.log2(wanted) - math.frexp(largest)[1] if 0 < largest < math.inf else 0
    return 2.0 ** max(-60, min(exponent, 60))
