"""Cosines and their order are those of a slow float64 oracle."""

import numpy as np
import pytest

from recsys_polars.neighbours import cosines, nearest_rows
from tests.oracles.cosine import cosine


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """60 rows, some of zeros, some alike, some multiples of others."""
    rows = np.random.default_rng(1).normal(size=(60, 7)).astype(np.float32)
    rows[[3, 40]] = 0
    rows[[10, 25, 59]] = rows[5]
    rows[30] = 4 * rows[5]
    return rows


def expected(vectors: np.ndarray, row: int) -> list[tuple[int, float]]:
    found = [(other, cosine(vectors[row].tolist(), vectors[other].tolist())) for other in range(len(vectors))]
    kept = [(other, float(np.float32(one))) for other, one in found if one is not None and other != row]
    return sorted(kept, key=lambda pair: (-pair[1], pair[0]))


@pytest.mark.parametrize("row", [0, 5, 25, 58])
@pytest.mark.parametrize("k", [1, 10, 1000])
def test_the_nearest_are_those_of_the_oracle_and_equal_ones_go_by_row(vectors: np.ndarray, row: int, k: int) -> None:
    rows, found = nearest_rows(vectors, row, k=k)
    assert list(zip(rows.tolist(), found.tolist(), strict=True)) == expected(vectors, row)[:k]


def test_equal_rows_are_at_cosine_one_and_in_the_order_of_their_rows(vectors: np.ndarray) -> None:
    rows, found = nearest_rows(vectors, 5, k=4)
    assert rows.tolist() == [10, 25, 30, 59]
    assert found.tolist() == [1.0] * 4


def test_a_row_of_zeros_has_no_neighbours_and_is_none(vectors: np.ndarray) -> None:
    rows, _ = nearest_rows(vectors, 3, k=5)
    assert len(rows) == 0
    assert np.isnan(cosines(vectors[5], vectors[[3, 40]])).all()
    assert np.isnan(cosines(vectors[3], vectors[:4])).all()


def test_many_rows_are_compared_block_by_block() -> None:
    rows = np.random.default_rng(0).normal(size=(20_000, 3)).astype(np.float32)
    rows[[9000, 17_000]] = rows[10]
    found = cosines(rows[10], rows)
    assert found[[10, 9000, 17_000]].tolist() == [1.0] * 3
    for row in (0, 8191, 8192, 19_999):
        assert found[row] == pytest.approx(cosine(rows[10].tolist(), rows[row].tolist()), abs=1e-7)


def test_vectors_near_the_ends_of_float32_have_cosines_too() -> None:
    rows = np.array([[1e30, 1e30], [1e-30, 0], [0, 3e-38]], dtype=np.float32)
    np.testing.assert_allclose(cosines(rows[0], rows), [1, 0.5**0.5, 0.5**0.5], rtol=1e-6)
