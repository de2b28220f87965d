"""The ground that peers are judged on: who is ranked, what is known, how ties go, what is chosen where."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_array_equal

from benchmarks.field import Field, Peer, choose, item_terms, open_field, ranked, top_lists, write_lists
from benchmarks.peers import Scores
from recsys_polars.api.evaluate import evaluate
from recsys_polars.recipes.build import BuildSettings, build_features
from recsys_polars.store import Store

NOTHING_SEEN = (np.zeros(2, dtype=np.int64), np.empty(0, dtype=np.int64))
ANN = np.array([0])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Ten rows: four of train, three of valid, three of test. Bob dislikes cup, cat begins late, eve later."""
    folder = tmp_path_factory.mktemp("field")
    rows = [
        *[("ann", "cup", 5), ("bob", "cup", 1), ("ann", "pot", 5), ("bob", "pot", 4)],
        *[("ann", "pan", 5), ("bob", "pan", 5), ("cat", "pan", 5)],
        *[("ann", "tin", 5), ("bob", "tin", 1), ("eve", "pot", 5)],
    ]
    table = pl.DataFrame(rows, ["user_id", "item_id", "rating"], orient="row")
    table.with_columns(event_time=pl.int_range(len(rows)) + 1_600_000_000).write_csv(folder / "log.csv")
    pl.DataFrame({"item_id": ["jar"], "title": ["A jar"]}).write_csv(folder / "items.csv")
    paths = (str(folder / "log.csv"), str(folder / "items.csv"))
    return build_features(BuildSettings(*paths, test_fraction=0.2, valid_fraction=0.25), folder / "store")


def test_equal_scores_go_by_item_row() -> None:
    ((items, scores),) = top_lists(
        lambda users: np.array([[0.0, 1, 1, 0, 2]]), ANN, seen=NOTHING_SEEN, candidates=np.arange(5), k=4
    )
    assert_array_equal(items, [4, 1, 2, 0])
    assert_array_equal(scores, np.array([2, 1, 1, 0], dtype=np.float32))


def test_seen_items_and_others_than_candidates_are_left_out_even_if_the_list_is_short() -> None:
    seen = (np.array([0, 1]), np.array([4]))
    ((items, _),) = top_lists(
        lambda users: np.array([[0.0, 1, 1, 0, 2]]), ANN, seen=seen, candidates=np.array([0, 2, 4]), k=3
    )
    assert_array_equal(items, [2, 0])


def test_the_valid_field_knows_nothing_of_what_came_after_its_cut(store: Store) -> None:
    field = open_field(store, "valid", "train")
    assert field.known.item_ids.to_list() == ["cup", "jar", "pan", "pot", "tin"]
    assert_array_equal(field.likes.toarray(), [[1, 0, 0, 1, 0], [0, 0, 0, 1, 0], [0] * 5, [0] * 5])
    assert_array_equal(field.candidates, [0, 3])
    assert field.truth.rows() == [("ann", "pan"), ("bob", "pan")]
    assert field.cold_users == 1


def test_the_test_field_has_warm_users_and_counts_the_cold(store: Store) -> None:
    field = open_field(store, "test", "catalogue")
    assert field.truth.rows() == [("ann", "tin")]
    assert field.cold_users == 1
    assert_array_equal(field.candidates, np.arange(5))
    assert field.liked_at.toarray()[0, 2] == 1_600_000_004


def test_what_validates_best_is_chosen_and_the_first_among_equals(store: Store) -> None:
    def fit(field: Field, *, item: int, again: int = 0) -> Scores:
        return lambda users: np.tile(np.arange(5.0) == item, (len(users), 1)).astype(np.float64)

    grid = [{"item": 0}, {"item": 2}, {"item": 2, "again": 1}]
    assert choose(Peer("one item", fit, grid), open_field(store, "valid", "catalogue")) == ({"item": 2}, 1)


def test_a_peers_lists_are_judged_as_ours_are(store: Store, tmp_path: Path) -> None:
    field = open_field(store, "test", "catalogue")
    lists = ranked(lambda users: np.array([[9.0, 1, 9, 9, 0]]), field)
    assert lists.select("user_id", "item_id").rows() == [("ann", "jar"), ("ann", "tin")]
    write_lists(lists, "a peer", store, tmp_path / "lists.parquet")
    evaluation = evaluate([tmp_path / "lists.parquet"], store.path, users="warm")
    assert evaluation.figures.filter(pl.col("metric") == "mrr")["value"].item() == 0.5


def test_terms_are_words_and_one_each_for_brand_and_category() -> None:
    items = pl.DataFrame(
        {
            "title": ["Tea, 50 g", None],
            "description": [None, None],
            "brand": ["Old Mill", None],
            "category": ["Hot Drinks", None],
        }
    )
    assert item_terms(items) == [["tea", "50", "brand=Old Mill", "category=Hot Drinks"], []]
