"""Bounds on what float32 arithmetic loses: the proof that a shortlist is complete.

Source: N. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1: a sum of n products, in any
order, fused or not, is within gamma_n * sum |x_j| |y_j| of the true one, with gamma_n = n u / (1 - n u), and u = 2^-24
in float32. Bounds are computed in float64, and what that and the canonical float64 score lose themselves is covered
twice: by one more term in gamma (u is 5e8 times float64's) and by `SLACK`.
"""

import torch

ROUNDOFF = 2.0**-24
BFLOAT16_ROUNDOFF = 2.0**-8
SLACK = 1.0 + 1e-9
# A product below float32's range may be flushed to zero (2^-126 each); this covers 10^7 of them.
UNDERFLOW = 1e-30
_LARGEST = 2.0**100
# torch may round the inputs of float32 products to TF32 (11 bits) or bfloat16 (8 bits), and tensor cores cut sums off
# instead of rounding them. "high" may be either TF32 or a split bfloat16: both lose less than 2^-11.
_LOW_PRECISION_INPUTS = {"highest": 0.0, "high": 2.0**-11, "medium": 2.0**-8}


def gamma(n_terms: int) -> float:
    """Largest relative error of a sum of `n_terms` products of float32, at torch's present matmul precision."""
    inputs = _LOW_PRECISION_INPUTS[torch.get_float32_matmul_precision()]
    steps = (n_terms + 2) * (ROUNDOFF if inputs == 0.0 else 4 * ROUNDOFF)
    if steps >= 0.5:
        return float("inf")
    sums = steps / (1 - steps)
    return sums + (1 + sums) * inputs * (2 + inputs)


def gamma_double(n_terms: int) -> float:
    """The same for a float64 sum and the canonical one of the same terms, together."""
    return 2 * (n_terms + 2) * 2.0**-53


def gamma_bfloat16(n_terms: int) -> float:
    """Largest relative error of a sum of `n_terms` products of bfloat16 or float16, which float32 holds exactly.

    It is added up in float32, by instructions that add in pairs and may cut off instead of rounding: 4 u a step.
    """
    steps = 4 * (n_terms + 2) * ROUNDOFF
    return steps / (1 - steps) if steps < 0.5 else float("inf")


def rounded(x: torch.Tensor, error: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A float64 tensor rounded to float32, and its float64 error after that."""
    nearest = x.float()
    return nearest, (error + (x - nearest.double()).abs()) * SLACK


def linear_error(
    relative: float, magnitude: torch.Tensor, error: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """Elementwise bound on the error of a linear layer, float64 `(rows, d_out)`.

    Args:
        relative: `gamma` or `gamma_double` of its width.
        magnitude: bound on the absolute inputs, float64 `(rows, d_in)`.
        error: bound on the error that these inputs already have, float64 `(rows, d_in)`.
        weight: `(d_out, d_in)`.
        bias: `(d_out,)`.
    """
    widths = weight.double().abs().t()
    mass = magnitude @ widths + bias.double().abs()
    return (relative * mass + error @ widths) * SLACK + UNDERFLOW


def as_bound(error: torch.Tensor) -> torch.Tensor:
    """A float64 bound, rounded up to float32; infinite where it says nothing, so that nothing is left out.

    That is where it isn't a number, or so large that the score itself, at most 2^25 times as large, may overflow.
    """
    nearest = (error * SLACK).float()
    rounded = torch.nextafter(nearest, torch.full_like(nearest, torch.inf))
    return torch.where(rounded <= _LARGEST, rounded, torch.inf)


def floor_below(value: torch.Tensor, margin: torch.Tensor) -> torch.Tensor:
    """The fast score below which an item can't reach the stored score `value`, float32.

    Canonical scores that differ may be stored as equal float32 numbers, and then the item row decides: so the floor
    lies a further 2^-22 of the magnitude below, more than two float32 steps.

    Args:
        value: float32, a score that k items are known to reach, up to `margin`.
        margin: float32, how far an item's fast score and `value` may be from the canonical scores, together.
    """
    exact = value.double()
    floor = exact - margin.double() - 2.0**-22 * (exact.abs() + margin.double()) - UNDERFLOW
    nearest = floor.float()
    below = torch.nextafter(nearest, torch.full_like(nearest, -torch.inf))  # made on the device: nobody waits for it
    return torch.nan_to_num(below, nan=-torch.inf, neginf=-torch.inf)
