"""Indexes find what a plain search finds, or say how much of it."""

import numpy as np
import pytest

from recsys_polars.vector_index import build_index, choose_probes, flat_rows, index_rows, recall, save_index

faiss = pytest.importorskip("faiss")


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(4000, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def queries() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(60, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def exact(vectors: np.ndarray, queries: np.ndarray) -> list[np.ndarray]:
    return [np.lexsort((np.arange(len(one)), -one))[:10] for one in queries.astype(float) @ vectors.T.astype(float)]


def test_a_plain_search_finds_all(vectors: np.ndarray, queries: np.ndarray, exact: list[np.ndarray]) -> None:
    assert recall(flat_rows(vectors, queries, k=10), exact) == 1
    assert flat_rows(vectors[:3], queries, k=10).shape == (60, 3)


def test_a_plain_search_in_parts_finds_the_same(monkeypatch, vectors, queries, exact) -> None:
    monkeypatch.setattr("recsys_polars.vector_index._SCORES_AT_ONCE", 7 * len(vectors))
    assert recall(flat_rows(vectors, queries, k=10), exact) == 1


def test_lists_are_probed_until_enough_is_found(vectors, queries, exact) -> None:
    index = build_index(vectors)
    assert index.nlist == 102
    found = {}
    for index.nprobe in (1, 2, 4, 8, 16, 32, 64, 102):
        found[index.nprobe] = recall(index_rows(index, queries, k=10), exact)
    assert found[1] < 0.9 < found[102] == 1
    choose_probes(index, queries, exact)
    assert index.nprobe == min(probes for probes, share in found.items() if share >= 0.99)


def test_a_saved_index_is_the_same_bytes_again_and_probes_as_many_lists(tmp_path, vectors, queries, exact) -> None:
    for name in ("one", "two"):
        index = build_index(vectors)
        choose_probes(index, queries, exact)
        save_index(index, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    again = faiss.read_index(str(tmp_path / "one"))
    assert (again.nprobe, again.metric_type) == (index.nprobe, faiss.METRIC_INNER_PRODUCT)
    np.testing.assert_array_equal(index_rows(again, queries, k=10), index_rows(index, queries, k=10))


@pytest.mark.parametrize("n", [1, 5, 50])
def test_few_vectors_are_all_found(n: int, vectors, queries) -> None:
    index = build_index(vectors[:n])
    choose_probes(index, queries, [np.arange(min(n, 10))] * len(queries))
    assert recall(index_rows(index, queries, k=n), [np.arange(n)] * len(queries)) == 1


def test_recall_is_the_mean_share_of_what_was_asked_for() -> None:
    found = np.array([[1, 2, 3], [7, -1, -1]])
    assert recall(found, [np.array([1, 2, 9, 8]), np.array([7])]) == pytest.approx((0.5 + 1) / 2)
