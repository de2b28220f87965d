"""Float64 arithmetic in one fixed order: the same bits on every device, for every batch and thread count.

Each step is one elementwise product or one elementwise sum, which IEEE 754 rounds in one way only. A matrix product
isn't
used: its last bits depend on its shape. Nor is a fused multiply-add: torch launches the product and the sum as two
kernels.
"""

import threading
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from recsys_polars.ranking.protocol import IntArray

# On a CPU, torch splits elementwise work above 2^15 elements among its threads. Hundreds of steps that each wait for a
# slow thread took 200 times as long on a busy machine; and what is smaller stays in the cache.
_ELEMENTS_AT_ONCE = 1 << 15


def linear_in_order(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """`x @ weight.T + bias`, as ((bias + x_0 w_0) + x_1 w_1) + ...

    Args:
        x: float64 `(rows, d_in)`.
        weight: float64 `(d_out, d_in)`.
        bias: float64 `(d_out,)`.
    """
    rows = max(1, _ELEMENTS_AT_ONCE // len(weight)) if x.device.type == "cpu" else max(1, len(x))
    return torch.cat([_linear_part(part, weight, bias) for part in torch.split(x, rows)])


def _linear_part(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    total = bias.repeat(len(x), 1)
    product = torch.empty_like(total)
    for x_column, w_column in zip(x.t().contiguous(), weight.t().contiguous(), strict=True):
        torch.mul(x_column[:, None], w_column, out=product)
        total.add_(product)
    return total


def dot_in_order(x: torch.Tensor, y: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
    """`first + (x * y).sum(1)`, added from column 0 on; float64 `(rows, d)`, `(rows, d)`, `(rows,)`."""
    total = first.clone()
    for column in (x * y).t().contiguous():
        total.add_(column)
    return total


def sum_in_order(columns: torch.Tensor) -> torch.Tensor:
    """Sum of the rows of `columns`, float64 `(terms, m)` -> `(m,)`, from row 0 on."""
    total = torch.zeros_like(columns[0])
    for column in columns:
        total.add_(column)
    return total


def in_chunks(
    score: Callable[[IntArray, IntArray], torch.Tensor], users: IntArray, items: IntArray, *, n_at_once: int
) -> npt.NDArray[np.float64]:
    """Score `(m,)` pairs, at most `n_at_once` at a time."""
    scores = np.empty(len(users), dtype=np.float64)
    for start in range(0, len(users), n_at_once):
        part = slice(start, start + n_at_once)
        scores[part] = score(users[part], items[part]).cpu().numpy()
    return scores


class RowCache:
    """Rows of a table that are computed when first asked for, and kept while they fit. Threads share it."""

    def __init__(
        self, compute: Callable[[IntArray], torch.Tensor], *, n_rows: int, row_bytes: int, cache_bytes: int
    ) -> None:
        self._compute = compute
        self._capacity = min(n_rows, cache_bytes // max(1, row_bytes))
        self._slot = np.full(n_rows, -1, dtype=np.int64)
        self._used = 0
        self._kept: torch.Tensor | None = None
        self._lock = threading.Lock()

    def rows(self, rows: IntArray) -> torch.Tensor:
        """`compute(rows)`, for distinct `rows`, reusing what is kept."""
        with self._lock:
            return self._rows(rows)

    def _rows(self, rows: IntArray) -> torch.Tensor:
        missing = rows[self._slot[rows] < 0]
        if self._used + len(missing) > self._capacity:
            self._slot[:] = -1
            self._used, missing = 0, rows
        if len(missing) > self._capacity:
            return self._compute(rows)
        if len(missing):
            self._keep(missing)
        if self._kept is None:
            return self._compute(rows)
        return self._kept[torch.from_numpy(self._slot[rows]).to(self._kept.device)]

    def _keep(self, missing: IntArray) -> None:
        values = self._compute(missing)
        if self._kept is None:
            self._kept = values.new_empty(self._capacity, values.shape[1])
        self._kept[self._used : self._used + len(missing)] = values
        self._slot[missing] = np.arange(self._used, self._used + len(missing))
        self._used += len(missing)
