"""Which items lie nearest to another: by cosine, exactly."""

import numpy as np
import torch

from recsys_polars.ranking.canonical import dot_in_order
from recsys_polars.ranking.order import top_of_each
from recsys_polars.ranking.protocol import IntArray
from recsys_polars.tables import Vectors

_ROWS_AT_ONCE = 8192


def cosines(vector: Vectors, rows: Vectors) -> Vectors:
    """Return the cosine of a vector `(d,)` with each of `rows` `(n, d)`: float32 `(n,)`, NaN where either has zeros.

    Sums in float64, from column 0 on, rounded once: equal rows have equal cosines wherever they stand.
    """
    one = torch.from_numpy(np.array(vector, dtype=np.float64))[None]
    parts = [_cosines(one, rows[start : start + _ROWS_AT_ONCE]) for start in range(0, len(rows), _ROWS_AT_ONCE)]
    return np.concatenate([np.empty(0, dtype=np.float32), *parts])


def _cosines(one: torch.Tensor, rows: Vectors) -> Vectors:
    others = torch.from_numpy(np.array(rows, dtype=np.float64))
    none = torch.zeros(len(rows), dtype=torch.float64)
    lengths = dot_in_order(one, one, none[:1]) * dot_in_order(others, others, none)
    found: Vectors = (dot_in_order(one, others, none) / lengths.sqrt()).float().numpy()
    return found


def nearest_rows(vectors: Vectors, row: int, *, k: int) -> tuple[IntArray, Vectors]:
    """Return the k rows that are most like a row, itself and rows of zeros left out, and their cosines.

    Args:
        vectors: shape (n, d).
        row: of these.
        k: how many, at most.

    Returns:
        Cosine descending, equal ones by row; none where the row itself has zeros.
    """
    found = cosines(vectors[row], vectors)
    found[row] = np.nan
    rows = np.flatnonzero(~np.isnan(found))
    best, _ = top_of_each(np.zeros_like(rows), rows, found[rows], k)
    return rows[best], found[rows[best]]
