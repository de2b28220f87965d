"""`similar`: the nearest items by an exact cosine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import Result

from recsys_polars.recipes.similar import similar
from recsys_polars.store import open_store
from tests.oracles.cosine import cosine


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, run: Callable[..., Result]) -> Path:
    """A store with the blocks tfidf, clip_img and numeric; item i05 has neither text nor picture."""
    folder = tmp_path_factory.mktemp("pictures")
    rows = [f"u{user},i{item:02},5,{1_300_000_000 + 10 * user + item}\n" for user in range(20) for item in range(12)]
    (folder / "log.csv").write_text("user_id,item_id,rating,event_time\n" + "".join(rows))
    vectors = np.random.default_rng(0).normal(size=(12, 3)).round(2)
    vectors[[2, 7]], vectors[5] = vectors[1], 0
    words = ("zero", "one", "two", "three")
    titles = [f"{'green' if item % 2 else 'red'} thing {words[item % 4]}" if item != 5 else None for item in range(12)]
    columns = {f"clip_img_{place}": vectors[:, place] for place in range(3)}
    items = pl.DataFrame({"item_id": [f"i{item:02}" for item in range(12)], "title": titles, **columns})
    items.write_parquet(folder / "items.parquet")
    files = ("--interactions", folder / "log.csv", "--items", folder / "items.parquet", "--out", folder / "store")
    assert run("build-features", *files).exit_code == 0
    return folder / "store"


@pytest.mark.parametrize("block", ["tfidf", "clip_img", "numeric"])
def test_neighbours_are_those_of_a_float64_oracle(pictures: Path, block: str) -> None:
    table = open_store(pictures).scan("item_features").collect()
    vectors = dict(table.select("item_id", pl.col(block).arr.to_list()).iter_rows())
    for item in ("i00", "i01", "i11"):
        _, used, nearest = similar(pictures, item, block=block, k=20)
        assert used == block
        found = [(other, cosine(vectors[item], vectors[other])) for other in sorted(vectors) if other != item]
        expected = {other: value for other, value in found if value is not None}
        assert set(nearest["item_id"]) == set(expected)
        np.testing.assert_allclose(nearest["cosine"], [expected[one] for one in nearest["item_id"]], atol=1e-6)
        order = list(zip((-nearest["cosine"]).to_list(), nearest["item_id"], strict=True))
        assert order == sorted(order)
        assert nearest["rank"].to_list() == list(range(1, len(expected) + 1))


def test_equal_cosines_go_by_item_id(pictures: Path) -> None:
    _, _, nearest = similar(pictures, "i01", block="clip_img", k=2)
    assert nearest.select("item_id", "cosine").rows() == [("i02", 1.0), ("i07", 1.0)]


def test_the_text_is_compared_unless_told_otherwise(run: Callable[..., Result], pictures: Path) -> None:
    result = run("similar", "i01", "--store", pictures, "-k", 3)
    assert result.exit_code == 0
    assert result.stderr.startswith("i01: green thing one; the nearest 3 items by tfidf; ")
    head, _, *rows = result.stdout.splitlines()
    assert head.split() == ["rank", "item_id", "title", "cosine"]
    assert rows[0].split() == ["1", "i09", "green", "thing", "one", "1.0000"]


def test_an_item_without_a_vector_says_so(refuse: Callable[..., str], pictures: Path) -> None:
    assert "i05: expected an item with a vector in tfidf, found zeros" in refuse("similar", "i05", "--store", pictures)


def test_an_unknown_item_is_refused_with_titles_that_contain_the_text(
    refuse: Callable[..., str], pictures: Path
) -> None:
    told = refuse("similar", "GREEN Thing", "--store", pictures)
    assert "item: expected one of 12 item ids, found 'GREEN Thing'; did you mean:\n  i01: green thing one\n" in told
    assert told.count("green thing") == 5
    assert "did you mean" not in refuse("similar", "blue", "--store", pictures)
    assert "did you mean" not in refuse("similar", "g.*n", "--store", pictures)
    assert "did you mean" not in refuse("similar", "", "--store", pictures)


def test_an_unknown_block_is_refused_with_those_of_the_store(refuse: Callable[..., str], pictures: Path) -> None:
    told = refuse("similar", "i01", "--block", "clip", "--store", pictures)
    assert "--block: expected one of tfidf, clip_img, numeric, found 'clip'" in told


def test_without_a_text_block_the_first_one_is_compared(run: Callable[..., Result], world: Any, tmp_path: Path) -> None:
    words = ("--interactions", world.log, "--items", world.items, "--text", "none", "--out", tmp_path / "store")
    assert run("build-features", *words).exit_code == 0
    assert similar(tmp_path / "store", "i003")[1] == "numeric"
