"""Vectors of an encoder, reduced to the directions in which the known items differ most."""

import numpy as np
import polars as pl
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from recsys_polars.tables import Vectors, as_matrix

BLOCK_ROWS = 4_096
LEAST_VARIANCE = 1e-9
"""Vectors have length 1: below it there is rounding alone, whose direction says nothing."""


def reduced_vectors(encoded: pl.Series, known: pl.Series, *, dimensions: int) -> Vectors:
    """Project vectors on their principal components, fitted on the known items alone.

    Args:
        encoded: Array(Float32, width), vectors of length 1; null where an item has none.
        known: Boolean, one value a row: the item had an interaction before the cut.
        dimensions: width of the result, where the encoder's own isn't smaller.

    Returns:
        Shape (n_items, min(dimensions, width)). Zeros, which is the known mean, where an item has no vector; and in
        each dimension that the known items can't fill (too few of them, or all alike). A row depends on its own vector
        and on the known ones alone, to the bit.
    """
    present = encoded.is_not_null()
    vectors = as_matrix(encoded.drop_nulls())
    known_vectors = as_matrix(encoded.filter(known & present))
    reduced = np.zeros((len(encoded), min(dimensions, vectors.shape[1])), dtype=np.float32)
    if len(known_vectors) < 2:
        return reduced
    # The last bits depend on the number of threads; a store must not.
    with threadpool_limits(limits=1), np.errstate(invalid="ignore"):  # items all alike have no variance to share out
        fitted = PCA(min(reduced.shape[1], len(known_vectors)), svd_solver="covariance_eigh").fit(
            known_vectors.astype(np.float64)
        )
        axes = fitted.components_[fitted.explained_variance_ > LEAST_VARIANCE]
        rows = np.flatnonzero(present.to_numpy())
        for start in range(0, len(rows), BLOCK_ROWS):
            centred = vectors[start : start + BLOCK_ROWS] - fitted.mean_
            # One product a row: in a product of many, the last bits of a row depend on how many there are.
            reduced[rows[start : start + BLOCK_ROWS], : len(axes)] = (axes @ centred[:, :, None])[:, :, 0]
    return reduced
