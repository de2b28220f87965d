"""What `evaluate --report` puts on its page, against plain loops over the files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recsys_polars.recipes import report as recipe
from recsys_polars.recipes.evaluate import SEED, figures_of, judge
from recsys_polars.recipes.shelves import read_shelves
from recsys_polars.reporting.contents import Contents
from recsys_polars.store import open_store
from tests.oracles import breakdowns as oracle

K = 3


@pytest.fixture(scope="module")
def lists_file(accept: Callable[..., str], world: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lists that are longer than what is judged, of users who took nothing, too."""
    out = tmp_path_factory.mktemp("lists") / "p.parquet"
    accept("rank", "--store", world.store, "--model", "catboost", "--users", "all", "-k", "10", "--out", out)
    return out


@pytest.fixture(scope="module")
def contents(world: Any, lists_file: Path) -> Contents:
    """What the page of those lists would be made of."""
    made: list[Contents] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe, "page", lambda contents: made.append(contents) or "")
        judged = judge([lists_file], world.store, k=K)
        recipe.report(judged, figures_of(judged))
    return made[0]


@pytest.fixture(scope="module")
def lists(lists_file: Path) -> dict[str, list[str]]:
    return lists_of(pl.read_parquet(lists_file).sort("user_id", "rank"))


@pytest.fixture(scope="module")
def pairs(world: Any) -> pl.DataFrame:
    liked = open_store(world.store).scan("labelled").filter(pl.col("label") == 1).collect()
    return liked.with_columns(is_test=pl.col("part") == "test").sort("user_id", "item_id")


@pytest.fixture(scope="module")
def truth(pairs: pl.DataFrame) -> dict[str, list[str]]:
    return lists_of(pairs.filter("is_test"))


def lists_of(pairs: pl.DataFrame) -> dict[str, list[str]]:
    return {user: own["item_id"].to_list() for (user,), own in pairs.group_by("user_id", maintain_order=True)}


def likes_by(pairs: pl.DataFrame, name: str) -> dict[str, int]:
    return dict(pairs.filter(~pl.col("is_test")).group_by(name).len().iter_rows())


def test_the_head_says_how_many_users_of_all_and_from_when(contents: Contents, world: Any, truth: Any) -> None:
    assert contents.data["Users judged"] == f"{len(truth)} of 30"
    assert contents.data["Cold among them"] == "0"
    test = open_store(world.store).scan("labelled").filter(pl.col("part") == "test").collect()
    assert contents.data["Cut"] == "global-time"
    assert contents.data["Test part from"] == f"{test['event_time'].dt.date().min()}"


def test_shares_are_of_the_places_that_are_judged(
    contents: Contents, world: Any, lists: Any, truth: Any, pairs: pl.DataFrame
) -> None:
    judged = {user: items[:K] for user, items in lists.items() if user in truth}
    assert len(judged) < len(lists), "users without truth have lists, too"
    catalogue = [f"i{number:03}" for number in range(20)]
    for name, of_users in (("catboost", judged), ("taken next", truth)):
        expected = oracle.shares(of_users, catalogue, likes_by(pairs, "item_id"), SEED)
        found = contents.shares.filter(name=name).drop("name", "decile").rows()
        for row, expected_row in zip(found, expected, strict=True):
            assert row == pytest.approx(expected_row, abs=1e-9)


def test_groups_are_of_all_users_who_took_something(
    contents: Contents, lists: Any, truth: Any, pairs: pl.DataFrame
) -> None:
    sets = {user: set(items) for user, items in truth.items()}
    expected = oracle.by_history(lists, sets, likes_by(pairs, "user_id"), K, SEED)
    found = contents.by_history.filter(metric="ndcg").select("lowest", "highest", "n_users", "value").rows()
    assert {row[:2]: row[2] for row in found} == {group: n_users for group, [(n_users, _)] in expected.items()}
    assert [row[3] for row in found] == pytest.approx([one["ndcg"][0] for _, [(_, one)] in sorted(expected.items())])


def test_warm_users_are_one_group(contents: Contents) -> None:
    groups = contents.by_warmth.select("lowest", "highest").unique().rows()
    assert set(groups) <= {(0, 0), (1, None)}
    assert (1, None) in groups


def test_precision_is_followed_as_far_down_as_the_lists_go(contents: Contents) -> None:
    assert contents.over_k["k"].unique().sort().to_list() == [1, 2, 3, 5, 7, 10]


def test_example_users_have_their_own_hits(contents: Contents, lists: Any, truth: Any, pairs: pl.DataFrame) -> None:
    titles = {f"i{number:03}": f"Title {number} alpha" for number in range(20)}
    assert len(contents.shelves) == 5
    for shelf in contents.shelves:
        own = lists[shelf.user_id][:5]
        shown = shelf.given["catboost"]
        assert [card.title for card in shown] == [titles[item] for item in own]
        assert [card.is_hit for card in shown] == [item in truth[shelf.user_id] for item in own]
        assert {card.title for card in shelf.taken} <= {titles[item] for item in truth[shelf.user_id]}
        liked = pairs.filter((pl.col("user_id") == shelf.user_id) & ~pl.col("is_test"))["item_id"]
        assert {card.title for card in shelf.liked} <= {titles[item] for item in liked}
    assert any(card.is_hit for shelf in contents.shelves for card in shelf.given["catboost"])


def test_every_item_that_is_marked_as_taken_is_among_those_taken(pairs: pl.DataFrame, world: Any) -> None:
    taken = pairs.filter("is_test").sort("user_id", "event_time")  # the earliest would be cut off first
    lists = {name: taken.filter(pl.int_range(pl.len()).over("user_id") == n) for n, name in enumerate("ab")}
    ranked = {name: own.select("user_id", "item_id", rank=1) for name, own in lists.items()}
    shelves = read_shelves(ranked, open_store(world.store), n_users=30, n_titles=1)
    for shelf in shelves:
        hits = {card.title for cards in shelf.given.values() for card in cards}
        assert {card.title for card in shelf.taken} == hits
        assert shelf.n_taken == taken.filter(user_id=shelf.user_id).height
    assert max(len(shelf.taken) for shelf in shelves) == 2
    assert max(shelf.n_taken for shelf in shelves) > 2


def test_an_id_stands_beside_a_title_that_looks_like_that_of_another_item(
    accept: Callable[..., str], world: Any, lists_file: Path, tmp_path: Path
) -> None:
    long = "long " * 25
    titles = ["Hamlet"] * 3 + [f"{long}1", f"{long}2", "long", None, None, *(f"Title {n}" for n in range(12))]
    items = pl.DataFrame({"item_id": [f"i{number:03}" for number in range(20)], "title": titles})
    items.write_parquet(tmp_path / "items.parquet")
    words = ("--interactions", world.log, "--items", tmp_path / "items.parquet", "--out", tmp_path / "store")
    accept("build-features", *words)
    shelves = read_shelves({"catboost": pl.read_parquet(lists_file)}, open_store(tmp_path / "store"), n_users=30)
    cards = [card for shelf in shelves for card in (*shelf.liked, *shelf.taken, *shelf.given["catboost"])]
    alike = dict(items.rows()[:5])
    assert {card.item_id: card.title.strip() for card in cards if card.item_id} == alike
    assert not {card.title for card in cards if not card.item_id} & set(alike.values())


def test_training_and_time_come_from_the_manifest_and_from_what_the_store_kept(contents: Contents) -> None:
    assert contents.trainings["catboost"]["kind"] == "catboost"
    build, train, rank = contents.works
    assert [(work.run, work.kind) for work in contents.works] == [
        ("build", None),
        ("train", "catboost"),
        ("rank", "catboost"),
    ]
    assert (rank.users, rank.items) == (30, 20)
    assert [step for step, *_ in train.steps] == ["choose the number of rounds", "train"]
    assert [step for step, *_ in rank.steps] == ["prepare", "rank"]
    for work in (build, train, rank):
        assert work.seconds
        assert sum(seconds for _, seconds, _ in work.steps) == pytest.approx(work.seconds, abs=0.05)
        assert work.peak_bytes == max(peak for *_, peak in work.steps)
