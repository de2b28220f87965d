"""`explain`: the list that `rank` gives, and why."""

import re
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import Result

from recsys_polars.models import KINDS
from recsys_polars.recipes.explain import Explanation, Nearest, Reason, explain
from recsys_polars.recipes.sides import RankSettings
from recsys_polars.store import open_store
from tests.oracles.cosine import cosine

every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def lists(world: Any, accept: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    """What `rank` gives everyone, by each model."""
    folder = tmp_path_factory.mktemp("lists")
    for kind in KINDS:
        words = ("--model", kind, "--store", world.store, "--users", "all", "-k", 5, "--out", folder / kind)
        accept("rank", *words)
    return {kind: pl.read_parquet(folder / kind) for kind in KINDS}


@every_kind
def test_the_list_is_that_of_rank_and_its_parts_add_up(kind: str, world: Any, lists: dict[str, pl.DataFrame]) -> None:
    for user in ("u000", "u017"):
        found = explain(world.store, user, RankSettings(kind=kind, k=5)).reasons
        ranked = lists[kind].filter(pl.col("user_id") == user).select("rank", "item_id", "score").rows()
        assert [(reason.rank, reason.item_id, reason.score) for reason in found] == ranked
        for reason in found:
            assert sum(reason.parts.values()) == pytest.approx(reason.score, abs=2e-6, rel=2e-7)


@every_kind
def test_an_item_stands_where_the_whole_list_has_it(kind: str, world: Any, lists: dict[str, pl.DataFrame]) -> None:
    (first, *_, last) = lists[kind].filter(pl.col("user_id") == "u003").rows(named=True)
    for row in (first, last):
        (reason,) = explain(world.store, "u003", RankSettings(kind=kind), item_id=row["item_id"]).reasons
        assert (reason.rank, reason.score) == (row["rank"], row["score"])
        assert sum(reason.parts.values()) == pytest.approx(reason.score, abs=2e-6)


def test_popularity_and_what_was_liked_are_counted_from_the_history(world: Any) -> None:
    store = open_store(world.store)
    history = store.scan("labelled").filter(pl.col("part") != "test").collect()
    liked = history.filter(pl.col("label") == 1)
    explanation = explain(world.store, "u004", RankSettings(kind="mlp"))
    assert explanation.n_liked == liked.filter(pl.col("user_id") == "u004").height
    for reason in explanation.reasons:
        assert reason.liked_by == liked.filter(pl.col("item_id") == reason.item_id).height
        assert not reason.had


def test_the_nearest_liked_item_is_that_of_an_oracle_in_each_block(
    world: Any, accept: Callable[..., str], run: Callable[..., Result], tmp_path: Path
) -> None:
    chance, words = np.random.default_rng(0), ("red", "green", "blue", "lamp", "vase", "chair")
    items = {
        "item_id": [f"i{item:03}" for item in range(20)],
        "title": [" ".join(chance.choice(words, 3)) for _ in range(20)],
    }
    pictures = chance.normal(size=(20, 3))
    pictures[4] = 0
    items |= {f"clip_img_{place}": pictures[:, place] for place in range(3)}
    pl.DataFrame(items).write_parquet(tmp_path / "items.parquet")
    files = ("--interactions", world.log, "--items", tmp_path / "items.parquet", "--out", tmp_path / "store")
    assert run("build-features", *files).exit_code == 0
    accept("train", "--model", "popularity", "--store", tmp_path / "store")
    store = open_store(tmp_path / "store")
    table = store.scan("item_features").collect()
    titles = dict(zip(items["item_id"], items["title"], strict=True))
    history = store.scan("labelled").filter((pl.col("part") != "test") & (pl.col("label") == 1)).collect()
    for block, user in product(("tfidf", "clip_img"), ("u000", "u004", "u011", "u020")):
        vectors = dict(table.select("item_id", pl.col(block).arr.to_list()).iter_rows())
        liked = sorted(history.filter(pl.col("user_id") == user)["item_id"])
        for reason in explain(store.path, user, RankSettings()).reasons:
            compared = [(cosine(vectors[reason.item_id], vectors[one]), titles[one]) for one in liked]
            found = [(value, title) for value, title in compared if value is not None]
            assert (block in reason.nearest) == bool(found)
            assert "numeric" not in reason.nearest
            if found:
                best = max(value for value, _ in found)
                assert reason.nearest[block].cosine == pytest.approx(best, abs=1e-6)
                assert reason.nearest[block].title in [title for value, title in found if value > best - 1e-6]


def test_both_tables_and_one_line_are_printed(
    accept: Callable[..., str], run: Callable[..., Result], world: Any
) -> None:
    words = ("explain", "u000", "--model", "catboost", "--store", world.store, "-k", 3)
    first, second = (table.splitlines() for table in accept(*words).split("\n\n"))
    assert first[0].startswith("rank  item_id  title")
    assert second[0].split("  ")[0] == "rank"
    assert "base  user count  user tfidf  item tfidf  item numbers  popularity  item brand  item category" in second[0]
    assert [line.split()[0] for line in (*first[2:], *second[2:])] == ["1", "2", "3"] * 2
    for line in second[2:]:
        score, *parts = map(float, re.findall(r"[-+]?\d+\.\d{3}", line))
        assert sum(parts) == pytest.approx(score, abs=6e-3)
    told = run(*words).stderr
    assert re.fullmatch(r"user u000: catboost, \d+ liked items, the first 3 of 20 items; .*\n", told)


def test_a_cold_user_is_said_to_be_cold_and_gets_what_is_popular(
    run: Callable[..., Result], accept: Callable[..., str], tmp_path: Path
) -> None:
    log, store = tmp_path / "log.csv", tmp_path / "store"
    rows = [f"u{user},i{item},5,{1_300_000_000 + item}\n" for user in range(6) for item in range(user + 1)]
    log.write_text("user_id,item_id,rating,event_time\n" + "".join(rows) + "late,i0,5,1400000000\n")
    accept("build-features", "--interactions", log, "--out", store)
    accept("train", "--model", "two-tower", "--store", store, "--device", "cpu")
    result = run("explain", "late", "--store", store, "-k", 2)
    assert result.exit_code == 0
    assert "user late: two-tower, cold: nothing liked before the test cut, served by popularity" in result.stderr
    (first, second) = explain(store, "late", RankSettings(k=2)).reasons
    assert (first.item_id, first.score, first.parts, first.nearest) == ("i0", 6.0, {"liked by": 6.0}, {})
    assert (second.item_id, second.score) == ("i1", 5.0)


def test_an_item_that_the_user_had_is_said_to_be_so(run: Callable[..., Result], world: Any) -> None:
    history = open_store(world.store).scan("labelled").filter(pl.col("part") == "train").collect()
    item = history.filter(pl.col("user_id") == "u000")["item_id"][0]
    result = run("explain", "u000", "--model", "mlp", "--store", world.store, "--item", item)
    assert result.exit_code == 0
    assert f"item {item} on no list: the user had it" in result.stderr
    assert result.stdout.splitlines()[2].startswith("-     i")


def test_a_rank_says_what_it_counts(run: Callable[..., Result], world: Any, store: Path, accept) -> None:
    history = open_store(world.store).scan("labelled").filter(pl.col("part") != "test").collect()
    had = history.filter(pl.col("user_id") == "u000")["item_id"]
    item = min({f"i{number:03}" for number in range(20)} - set(had))
    words = ("explain", "u000", "--model", "catboost", "--item", item, "--store")
    assert len(had) > 0
    assert f" of the {20 - len(had)} items that the user had not had; " in run(*words, world.store).stderr
    accept("train", "--model", "catboost", "--recipe", "notebook", "--store", store)
    assert " of all 20 items; " in run(*words, store).stderr


def test_what_rounds_to_zero_has_no_sign(accept: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    nearest, parts = {"tfidf": Nearest(-0.001, "t")}, {"average user": -1e-4, "user tfidf": -1e-4}
    reason = Reason("i", "t", 1, -2e-4, had=False, liked_by=1, nearest=nearest, parts=parts, proposers={})
    found = Explanation(model="mlp", n_liked=1, n_items=9, searched=1, reasons=[reason])
    monkeypatch.setattr("recsys_polars.recipes.explain.explain", lambda *_, **__: found)
    numbers = re.findall(r"\S*0\.0\S*", accept("explain", "u"))
    assert numbers == ["0.00", "0.000", "0.000", "+0.000"]


def test_whom_or_what_the_store_does_not_know_is_refused_with_what_may_have_been_meant(
    refuse: Callable[..., str], world: Any
) -> None:
    told = refuse("explain", "u0007", "--model", "popularity", "--store", world.store)
    assert "user: expected one of 30 user ids, found 'u0007'; did you mean:\n  u000\n  u007\n" in told
    assert "did you mean" not in refuse("explain", "", "--model", "mlp", "--store", world.store)
    told = refuse("explain", "u000", "--model", "mlp", "--store", world.store, "--item", "title 3")
    assert "item: expected one of 20 item ids, found 'title 3'; did you mean:\n  i003: Title 3 alpha" in told


def test_the_notebook_s_recipe_is_explained_with_what_the_user_had_as_it_ranks(world: Any, store: Path, accept) -> None:
    accept("train", "--model", "catboost", "--recipe", "notebook", "--store", store)
    found = explain(store, "u000", RankSettings(k=20)).reasons
    assert any(reason.had for reason in found)
    assert all(reason.nearest["tfidf"].title != reason.title for reason in found)
    assert {name for reason in found for name in reason.parts} & {"user count", "popularity"} == set()


def test_control_characters_of_titles_and_ids_reach_no_terminal(run: Callable[..., Result], tmp_path: Path) -> None:
    log, items, store = tmp_path / "log.parquet", tmp_path / "items.parquet", tmp_path / "store"
    odd = "\x1b[31mred\u202e\r\n"
    rows = [
        (f"u{user}{odd}", f"{item}{odd}", 5.0, 1_300_000_000 + item) for user in range(6) for item in range(user + 1)
    ]
    schema = ["user_id", "item_id", "rating", "event_time"]
    pl.DataFrame(rows, schema=schema, orient="row").write_parquet(log)
    pl.DataFrame({"item_id": [f"{item}{odd}" for item in range(6)], "title": [f"alpha {odd}"] * 6}).write_parquet(items)
    assert run("build-features", "--interactions", log, "--items", items, "--out", store).exit_code == 0
    assert run("train", "--model", "popularity", "--store", store).exit_code == 0
    for code, *words in (
        (0, "explain", f"u2{odd}"),
        (2, "explain", "u2"),
        (2, "similar", f"8{odd}"),
        (2, "similar", "alpha"),
    ):
        result = run(*words, "--store", store)
        assert (result.exit_code, "Traceback" in result.output) == (code, False)
        assert not set(result.stdout + result.stderr) & {"\x1b", "\u202e", "\r"}
