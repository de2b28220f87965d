"""A first look at the pairs of an MLP in bfloat16: twice as fast as float32 where the CPU has instructions for it."""

from collections.abc import Sequence

import torch

from recsys_polars.ranking.layers import Layer, Scratch
from recsys_polars.ranking.rounding import BFLOAT16_ROUNDOFF, SLACK, UNDERFLOW, gamma, gamma_bfloat16

_NARROWEST = 32  # below it, rounding and copying cost more than the product saves


def pays(tail: Sequence[Layer], device: torch.device) -> bool:
    """Whether bfloat16 is likely faster: a CPU made for it, and one large product between the halves and the logit."""
    fits = possible(tail) and min(tail[0].weight.shape) >= _NARROWEST
    return fits and device.type == "cpu" and _has_bfloat16()


def possible(tail: Sequence[Layer]) -> bool:
    """Whether the layers after the halves are the two that `FirstLook` knows."""
    return len(tail) == 2


def _has_bfloat16() -> bool:
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 - nothing public says it
    except (AttributeError, RuntimeError):
        return False


class FirstLook:
    """Logits of relu(A_u + B_i), with the product after it in bfloat16, and a proven bound.

    The sum of the halves is float32, rounded to bfloat16; the product adds up in float32 and is rounded to bfloat16;
    its bias, ReLU and the last layer are float32 again.

    Args:
        tail: two layers, `(width -> middle)` and `(middle -> 1)`.
        device: where the logits are computed.
    """

    def __init__(self, tail: Sequence[Layer], device: torch.device) -> None:
        (weight, self._bias), (last, self._last_bias) = tail
        self._weight, self._last = weight.bfloat16().t().contiguous(), last[0]
        self._sum, self._middle = Scratch(device), Scratch(device)
        self._hidden, self._product = (Scratch(device, torch.bfloat16) for _ in range(2))
        self._sensitivity(weight)

    def logits(self, user_halves: torch.Tensor, item_halves: torch.Tensor, out: torch.Tensor) -> None:
        """Write the logits of users A `(block, width)` with items B `(n, width)` to `out` `(block, n)`."""
        n, width = item_halves.shape
        total, hidden = self._sum.take(n, width), self._hidden.take(n, width)
        middle, product = self._middle.take(n, len(self._bias)), self._product.take(n, len(self._bias))
        # The bits of a negative bfloat16 are a negative int16: ReLU, several times as fast.
        bits = hidden.view(torch.int16)
        for user_half, target in zip(user_halves, out, strict=True):
            hidden.copy_(torch.add(item_halves, user_half, out=total))
            bits.clamp_min_(0)
            torch.mm(hidden, self._weight, out=product)
            middle.copy_(product).add_(self._bias).relu_()
            torch.addmv(self._last_bias, middle, self._last, out=target)

    def _sensitivity(self, weight: torch.Tensor) -> None:
        """The bound as a function of h = relu(A + B), exact, and a, the error of A + B before it is added up.

        Writing u for bfloat16's roundoff, W for the weight and W' for it in bfloat16, s for the last layer's absolute
        weights: the rounded h is within e = u h + a; the product within p = |W'| e + |W' - W| h + gamma |W'| (h + e);
        rounded, where it isn't below zero with its bias, within p + u (W+ h + |b| + p), W+ being W's positive entries;
        s times that is the logit's, and the last sum's own error comes on top. All of it is linear in h and a.
        """
        w, rough, s = weight.double(), self._weight.t().double(), self._last.double().abs()
        through, off, positive = (s @ part for part in (rough.abs(), (rough - w).abs(), w.clamp_min(0.0)))
        u = BFLOAT16_ROUNDOFF * (1 + 2.0**-6)  # float32's roundings of what bfloat16 rounds too, and u^2
        inner = gamma_bfloat16(w.shape[1])
        product = through * (u + inner * (1 + u)) + off
        self._of_hidden = torch.stack([(1 + u) * product + u * positive, positive], dim=1)
        self._of_error = through * (1 + u) ** 2 * (1 + inner)
        self._biases = float(s @ self._bias.double().abs())
        self._u = u

    def most(self, item_halves: torch.Tensor) -> torch.Tensor:
        """The items' part of the bound: the most that a row of B `(n, width)` adds to the error, and to the logit."""
        return (item_halves.double().clamp_min(0.0) @ self._of_hidden).amax(0)

    def error(self, user_halves: torch.Tensor, error: torch.Tensor, most: torch.Tensor) -> torch.Tensor:
        """Bound on the logit's error over all items, float64 `(block,)`: relu(A + B) <= relu(A) + relu(B).

        Args:
            user_halves: A, float32 `(block, width)`.
            error: of A and B together, float64 `(block, width)`.
            most: the largest of `most`, elementwise.
        """
        outer = gamma(len(self._last))
        before, mass = ((user_halves.double().clamp_min(0.0) + error) @ self._of_hidden + most).unbind(1)
        before = before + error @ self._of_error + self._u * self._biases
        last = outer * (mass + self._biases + before + self._last_bias.double().abs())
        return (before + last) * SLACK + UNDERFLOW
