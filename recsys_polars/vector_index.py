"""Indexes of vectors by inner product, for those who serve lists from one: faiss, inverted files (extra `export`)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from recsys_polars.ranking.protocol import IntArray
from recsys_polars.tables import Vectors

ENOUGH = 0.99
"""The recall up to which more lists are probed."""
_LEAST_ROWS = 39
"""Of a list, on average: with fewer, faiss warns that its clusters are of too few points."""

_SCORES_AT_ONCE = 1 << 24


def build_index(vectors: Vectors) -> Any:
    """Return a faiss index of vectors `(n, d)`, n > 0, whose ids are row numbers; the same vectors, the same bytes."""
    import faiss

    n_rows, width = vectors.shape
    n_lists = max(1, min(int(4 * n_rows**0.5), n_rows // _LEAST_ROWS))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, n_lists, faiss.METRIC_INNER_PRODUCT)
    with threadpool_limits(limits=1):  # the last bits of the clusters depend on the number of threads
        index.train(vectors)
        index.add(vectors)
    return index


def choose_probes(index: Any, queries: Vectors, exact: Sequence[IntArray]) -> None:
    """Have an index probe as few of its lists as find `ENOUGH` of the exact answers, or all; it is saved with it."""
    index.nprobe = 1
    while recall(index_rows(index, queries, k=_longest(exact)), exact) < ENOUGH and index.nprobe < index.nlist:
        index.nprobe = min(2 * index.nprobe, index.nlist)


def index_rows(index: Any, queries: Vectors, *, k: int) -> IntArray:
    """Return the rows that an index finds, best first, -1 where it finds no more; shape (n_queries, k)."""
    rows: IntArray = index.search(queries, k)[1]
    return rows


def flat_rows(vectors: Vectors, queries: Vectors, *, k: int) -> IntArray:
    """Return the rows with the largest float32 products, in any order; shape (n_queries, min(k, n))."""
    k, n_at_once = min(k, len(vectors)), max(1, _SCORES_AT_ONCE // len(vectors))
    parts = [queries[start : start + n_at_once] for start in range(0, len(queries), n_at_once)]
    return np.concatenate([np.argpartition(part @ vectors.T, -k, axis=1)[:, -k:] for part in parts])


def recall(found: IntArray, exact: Sequence[IntArray]) -> float:
    """Return the mean share of the exact answers that were found, over queries."""
    shares = [np.isin(one, rows).mean() for one, rows in zip(exact, found, strict=True)]
    return float(np.mean(shares)) if shares else 1.0


def save_index(index: Any, path: Path) -> None:
    """Write an index to a file, as `faiss.read_index` reads it."""
    import faiss

    faiss.write_index(index, str(path))


def _longest(exact: Sequence[IntArray]) -> int:
    return max(map(len, exact), default=1)
