import numpy as np
import polars as pl
import pytest

from recsys_polars.vectors import reduced
from recsys_polars.vectors.reduced import reduced_vectors

WIDTH = 24


def unit_rows(n: int, seed: int = 0, *, rank: int = WIDTH) -> np.ndarray:
    chance = np.random.default_rng(seed)
    rows = chance.normal(size=(n, rank)) @ chance.normal(size=(rank, WIDTH))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def column(vectors: np.ndarray, *, without: list[int] = []) -> pl.Series:  # noqa: B006 - never changed
    rows = [None if place in without else row.tolist() for place, row in enumerate(vectors)]
    return pl.Series(rows, dtype=pl.Array(pl.Float32, vectors.shape[1]))


def first(n: int, of: int) -> pl.Series:
    return pl.Series([place < n for place in range(of)])


@pytest.mark.parametrize("dimensions", [1, 7, WIDTH])
def test_distances_are_those_to_the_best_subspace_through_the_known_mean(dimensions: int) -> None:
    vectors = unit_rows(90)
    found = reduced_vectors(column(vectors), first(60, 90), dimensions=dimensions)
    mean = vectors[:60].mean(axis=0, dtype=np.float64)
    axes = np.linalg.svd(vectors[:60] - mean, full_matrices=False)[2][:dimensions]
    np.testing.assert_allclose(np.abs(found), np.abs((vectors - mean) @ axes.T), atol=1e-6)


def test_the_width_is_never_above_the_encoders() -> None:
    assert reduced_vectors(column(unit_rows(60)), first(60, 60), dimensions=100).shape == (60, WIDTH)


def test_a_row_has_the_same_bits_in_any_company(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = unit_rows(200)
    whole = reduced_vectors(column(vectors), first(50, 200), dimensions=10)
    monkeypatch.setattr(reduced, "BLOCK_ROWS", 7)
    for n in (50, 51, 113):
        part = reduced_vectors(column(vectors[:n]), first(50, n), dimensions=10)
        np.testing.assert_array_equal(part, whole[:n])


def test_an_unknown_item_changes_no_other() -> None:
    vectors, others = unit_rows(80), unit_rows(80, 1)
    others[:40] = vectors[:40]
    before, after = (reduced_vectors(column(rows), first(40, 80), dimensions=10) for rows in (vectors, others))
    np.testing.assert_array_equal(before[:40], after[:40])
    assert (before[40:] != after[40:]).any()


def test_items_without_a_vector_are_zeros_and_teach_nothing() -> None:
    vectors = unit_rows(60)
    with_gaps = column(np.insert(vectors, [3, 20], 0, axis=0), without=[3, 21])
    found = reduced_vectors(with_gaps, first(62, 62), dimensions=9)
    assert not found[[3, 21]].any()
    whole = reduced_vectors(column(vectors), first(60, 60), dimensions=9)
    np.testing.assert_array_equal(np.delete(found, [3, 21], axis=0), whole)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("n_known", "alike"), [(0, False), (1, False), (2, False), (5, True)])
def test_dimensions_that_the_known_items_cannot_fill_are_zeros(n_known: int, alike: bool) -> None:
    vectors = unit_rows(9)
    if alike:
        vectors[:n_known] = vectors[0]
    found = reduced_vectors(column(vectors), first(n_known, 9), dimensions=8)
    n_filled = 0 if alike else max(0, n_known - 1)
    assert found.any(axis=0).tolist() == [place < n_filled for place in range(8)]


def test_without_any_vector_all_is_zero() -> None:
    nothing = pl.Series([None, None], dtype=pl.Array(pl.Float32, WIDTH))
    assert reduced_vectors(nothing, first(2, 2), dimensions=5).tolist() == [[0.0] * 5] * 2
