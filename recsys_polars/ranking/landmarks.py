"""Logits of a network as a dot product: a basis from some users' logits, coordinates from a few landmark items.

Logits, users x items, less the items' means, are nearly a matrix of low rank; a user's logits with well chosen items
tell where in it the user is, by least squares. Nothing is trained. Figures: docs/experiments.md.
"""

from typing import NamedTuple

import torch

_RIDGE = 1e-3  # of the landmarks' mean variance
_TINY = torch.finfo(torch.float32).tiny


class Landmarks(NamedTuple):
    """logit(u, i) ~ [logits of u with `items`; 1] . to_coordinates . factors_i, all float32."""

    items: torch.Tensor
    """Item rows, int64 `(n,)`."""
    to_coordinates: torch.Tensor
    """`(n + 1, rank + 1)`; the last coordinate is 1."""
    factors: torch.Tensor
    """`(n_items, rank + 1)`; the last column is the item's mean logit."""

    def coordinates(self, known: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Coordinates `(users, rank + 1)` from logits `(users, n)` with the landmarks, and their misfit `(users,)`.

        The misfit is the root mean square of the dot product's errors at the landmarks.
        """
        coordinates = torch.cat([known, known.new_ones(len(known), 1)], dim=1) @ self.to_coordinates
        errors = coordinates @ self.factors[self.items].t() - known
        return coordinates, errors.square().mean(1).sqrt()


def fit_landmarks(logits: torch.Tensor, *, rank: int, n_landmarks: int) -> Landmarks:
    """Fit the dot product to logits `(users, n_items)`, float32; at most as many landmarks as there are users."""
    means = logits.mean(0)
    rest = logits - means
    energy, directions = torch.linalg.eigh((rest @ rest.t()).double())
    energy, directions = energy.flip(0), directions.flip(1)
    n = min(n_landmarks, *logits.shape)
    items = _spread_out((directions[:, :n].float().t() @ rest).double(), n)
    rank = min(rank, int((energy > 1e-6 * energy[0]).sum()))
    length = energy[:rank].sqrt()
    factors = (directions[:, :rank] / length).float().t() @ rest
    known = rest[:, items].double()
    gram = known.t() @ known
    gram.diagonal().add_(_RIDGE * gram.diagonal().mean() + _TINY)
    weights = torch.linalg.solve(gram, known.t() @ (directions[:, :rank] * length))
    to_coordinates = weights.new_zeros(n + 1, rank + 1)
    to_coordinates[:n, :rank] = weights
    to_coordinates[n, :rank] = -means[items].double() @ weights
    to_coordinates[n, rank] = 1.0
    return Landmarks(items, to_coordinates.float(), torch.cat([factors.t(), means[:, None]], dim=1))


def _spread_out(columns: torch.Tensor, n: int) -> torch.Tensor:
    """Choose n of the columns `(d, m)`, each the one furthest from the span of those before it: a pivoted QR."""
    left = columns.square().sum(0)
    basis, chosen = columns.new_zeros(n, len(columns)), []
    for place in range(n):
        item = int(left.argmax())
        direction = columns[:, item] - (basis @ columns[:, item]) @ basis
        basis[place] = direction / direction.norm().clamp_min(_TINY)
        left -= (basis[place] @ columns).square()
        left[item] = -torch.inf
        chosen.append(item)
    return torch.tensor(chosen, device=columns.device)
