"""`auto` from raw files to figures: lists that are full and in order, whatever is given, damaged or missing."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recsys_polars.models.protocol import FitSettings
from recsys_polars.recipes import rank as ranking
from recsys_polars.recipes.raw import settings_of
from recsys_polars.recipes.train import train
from recsys_polars.recipes.trained import find_model, publish_model
from recsys_polars.store import Store, open_store
from recsys_polars.two_stage.ranker import TREES, Order, load_orders, save_orders
from tests.oracles import signals as oracle
from tests.slow_ranking import rank_slowly
from tests.two_stage.shops import (
    FEATURES,
    PAIR,
    SETTINGS,
    START,
    Shop,
    accept,
    build,
    invoke,
    item_table,
    log,
    model_files,
    rank_with,
    refuse,
    shop_of,
    told_by,
)

pytestmark = pytest.mark.usefixtures("few_trees")


def check_lists(lists: pl.DataFrame, shop: Shop, users, *, k: int, allowed, include_seen: bool = False) -> None:
    """Every user has their k best of what is allowed and unseen: full, without repeats, in the canonical order."""
    assert set(lists["user_id"]) == set(users)
    for user, (items, scores, ranks) in by_user(lists).items():
        hidden = set() if include_seen else shop.seen.get(user, set())
        free = set(allowed) - hidden
        assert len(items) == len(set(items)) == min(k, len(free))
        assert set(items) <= free
        assert ranks == list(range(1, len(items) + 1))
        assert list(zip(items, scores, strict=True)) == sorted(
            zip(items, scores, strict=True), key=lambda pair: (-pair[1], shop.items.index(pair[0]))
        )


def by_user(lists: pl.DataFrame) -> dict[str, tuple[list[str], list[float], list[int]]]:
    columns = lists.group_by("user_id", maintain_order=True).agg("item_id", "score", "rank")
    return {user: tuple(rest) for user, *rest in columns.iter_rows()}


def test_train_says_what_was_chosen_and_rank_and_evaluate_take_it_up(tmp_path, shop) -> None:
    store = tmp_path / "store"
    shutil.copytree(shop.store.path, store)
    accept("train", "--model", "auto", "--store", store, "--device", "cpu")
    manifest = find_model(open_store(store), None)[1]
    assert manifest["kind"] == "auto"
    for scope in ("known", "catalogue"):
        figures = manifest["choice"][scope]["validation"]
        assert figures[manifest["choice"][scope]["by"]] == max(figures.values()) > 0
        assert {"popularity", "cosine", "text", "vector[clip_img]", "vector[clip_img]_recent", TREES} <= set(figures)
    out = tmp_path / "lists.parquet"
    accept("rank", "--store", store, "--out", out)
    assert invoke("evaluate", out, "--store", store).exit_code == 0


def test_lists_of_test_users_and_of_all(tmp_path, shop) -> None:
    test = set(shop.store.scan("labelled").filter(pl.col("part") == "test").collect()["user_id"])
    assert test - shop.warm
    assert test & shop.warm
    of_test = rank_with(shop.store, tmp_path / "test.parquet")
    check_lists(of_test, shop, test, k=10, allowed=shop.items)
    everybody = set(shop.store.scan("labelled").collect()["user_id"])
    of_all = rank_with(shop.store, tmp_path / "all.parquet", "--users", "all")
    check_lists(of_all, shop, everybody, k=10, allowed=shop.items)
    assert_frame_equal(of_all.join(of_test.select("user_id").unique(), on="user_id", how="semi"), of_test)


@pytest.mark.parametrize("k", [1, 200])
def test_candidates_of_each_kind(tmp_path, shop, k) -> None:
    out = tmp_path / "lists.parquet"
    everybody = set(shop.store.scan("labelled").collect()["user_id"])
    known = set().union(*shop.seen.values())
    assert known < set(shop.items)
    some = [*shop.items[::4], "later0"]
    (tmp_path / "some.csv").write_text(pl.DataFrame({"item_id": [*some, "unheard of"]}).write_csv())
    for candidates, allowed in (("train", known), ("catalogue", shop.items), (tmp_path / "some.csv", some)):
        lists = rank_with(shop.store, out, "--users", "all", "--candidates", candidates, "-k", k)
        check_lists(lists, shop, everybody, k=k, allowed=allowed)


def test_seen_items_come_back_when_asked_for(tmp_path, shop) -> None:
    lists = rank_with(shop.store, tmp_path / "lists.parquet", "--users", "all", "--include-seen", "-k", 20)
    everybody = set(shop.store.scan("labelled").collect()["user_id"])
    check_lists(lists, shop, everybody, k=20, allowed=shop.items, include_seen=True)
    assert any(set(items) & shop.seen.get(user, set()) for user, (items, *_) in by_user(lists).items())


def test_a_user_gets_the_same_list_alone_and_among_unknown_ones(tmp_path, shop) -> None:
    of_all = by_user(rank_with(shop.store, tmp_path / "all.parquet", "--users", "all"))
    asked = [sorted(shop.warm)[3], "nobody ever", min(set(of_all) - shop.warm)]
    (tmp_path / "users.csv").write_text(pl.DataFrame({"user_id": asked}).write_csv())
    found = by_user(rank_with(shop.store, tmp_path / "some.parquet", "--users", tmp_path / "users.csv"))
    assert {user: found[user] for user in (asked[0], asked[2])} == {user: of_all[user] for user in (asked[0], asked[2])}
    assert len(found["nobody ever"][0]) == 10


def test_the_same_seed_gives_the_same_files_and_another_others(tmp_path, shop, trees_win) -> None:
    shutil.copytree(shop.store.path, tmp_path / "store")
    store = open_store(tmp_path / "store")
    train(store.path, "auto", SETTINGS)
    assert model_files(store) == model_files(shop.store)
    assert sum(name.endswith(".cbm") for name in model_files(store)) == 4
    train(store.path, "auto", FitSettings(device="cpu", seed=7))
    assert model_files(open_store(store.path)) != model_files(shop.store)


def test_given_columns_are_used(shop) -> None:
    trees = load_orders(find_model(shop.store, "auto")[0])["catalogue"].trees
    names = set(trees[0].feature_names_)
    assert {"vector[clip_img]", "vector[clip_img]_rank", "vector[clip_img_rank]", "given[age]", "given[flag]"} <= names
    assert {"given[maker]_count", "given[maker_count]", "given[popularity]_share", "given[nothing]"} <= names
    assert "age" in names
    assert len(names) == len(trees[0].feature_names_)


def test_candidates_that_all_were_known_have_an_order_of_their_own(tmp_path, shop) -> None:
    shutil.copytree(shop.store.path, tmp_path / "store")
    store = open_store(tmp_path / "store")
    orders = {"known": Order("cosine"), "catalogue": Order("text")}
    publish_model(
        store, "auto", lambda folder: save_orders(orders, folder), {"settings": {"recipe": "default"}, "seconds": 0}
    )
    told = told_by(store, log())
    user = min(shop.warm)
    (tmp_path / "user.csv").write_text(pl.DataFrame({"user_id": [user]}).write_csv())
    (tmp_path / "known.csv").write_text(pl.DataFrame({"item_id": ["i020", "i021", "i022", "i023"]}).write_csv())
    (tmp_path / "new.csv").write_text(pl.DataFrame({"item_id": ["i020", "i021", "later2", "later3"]}).write_csv())
    expected = oracle.signals(told, user, dimensions=4)
    for candidates, by in (("train", "cosine"), ("catalogue", "text"), ("known.csv", "cosine"), ("new.csv", "text")):
        option = tmp_path / candidates if candidates.endswith("csv") else candidates
        lists = rank_with(store, tmp_path / "p.parquet", "--users", tmp_path / "user.csv", "--candidates", option)
        scores = [expected[by][item] for item in lists["item_id"]]
        np.testing.assert_allclose(lists["score"].to_numpy(), scores, rtol=1e-4, atol=1e-6)


def test_other_recipes_and_shortcuts_are_refused(tmp_path, shop) -> None:
    message = refuse("train", "--model", "auto", "--store", shop.store.path, "--recipe", "notebook")
    assert "--recipe notebook: expected popularity, catboost or mlp, found auto" in message
    message = refuse("rank", "--model", "auto", "--store", shop.store.path, "--approx", "--out", tmp_path / "p.parquet")
    assert "--approx: expected an mlp, found auto" in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["orders.json", "known-0.cbm", "catalogue-1.cbm"])
@pytest.mark.parametrize("how", ["missing", "cut short", "other bytes"])
def test_a_damaged_model_is_named(tmp_path, shop, name, how) -> None:
    shutil.copytree(shop.store.path, tmp_path / "store")
    folder, _ = find_model(open_store(tmp_path / "store"), "auto")
    file = folder / name
    content = file.read_bytes()
    file.unlink()
    if how != "missing":
        file.write_bytes(content[:-3] if how == "cut short" else content[:-1] + b"?")
    message = refuse("rank", "--model", "auto", "--store", tmp_path / "store", "--out", tmp_path / "p.parquet")
    assert str(file) in message
    assert "make it again" in message


def test_a_model_of_another_generation_is_refused(tmp_path, shop) -> None:
    folder = tmp_path / "auto"
    shutil.copytree(shop.store.path.parent, folder)
    store = build(folder, log(n_rows=650), item_table(), item_features=FEATURES)
    message = refuse("rank", "--model", "auto", "--store", store.path, "--out", tmp_path / "p.parquet")
    assert "run recsys-polars train --model auto again" in message


def test_no_model_is_said(tmp_path) -> None:
    store = build(tmp_path / "x", log(n_rows=60))
    assert "run recsys-polars train --model auto first" in refuse(
        "rank", "--model", "auto", "--store", store.path, "--out", tmp_path / "p.parquet"
    )


def ends_well(store: Store, out: Path) -> pl.DataFrame:
    """Train, rank everybody and the whole catalogue, and check every list."""
    train(store.path, "auto", SETTINGS)
    everybody = set(store.scan("labelled").collect()["user_id"]) | set(store.scan("filtered").collect()["user_id"])
    shop = shop_of(store)
    for user, item in store.scan("filtered").select(PAIR).collect().iter_rows():
        shop.seen.setdefault(user, set()).add(item)
    lists = rank_with(store, out, "--users", "all", "-k", 60)
    ranked = {user for user in everybody if set(shop.items) - shop.seen.get(user, set())}
    check_lists(lists, shop, ranked, k=60, allowed=shop.items)
    return lists


def simple(rows) -> pl.DataFrame:
    schema = ["user_id", "item_id", "rating", "timestamp"]
    return pl.DataFrame([(*row, START + 60 * n) for n, row in enumerate(rows)], schema=schema, orient="row")


@pytest.mark.parametrize(
    "rows",
    [
        [(f"u{n}", "i", 5.0) for n in range(12)],
        [("u", f"i{n}", 5.0) for n in range(12)],
        [("u", "i", 5.0), ("u", "j", 5.0), ("u", "k", 5.0)],
        [("u", "i", 5.0), ("v", "j", 1.0), ("v", "i", 1.0)],
        [("u", "i", 5.0), *((f"v{n}", f"j{n}", 1.0) for n in range(20))],
        [("u", "i", 5.0)] * 9 + [("v", "i", 5.0)],
    ],
    ids=["one item", "one user", "three rows", "one like", "dislikes", "repeats"],
)
def test_too_little_to_choose_from_ends_in_lists(tmp_path, rows) -> None:
    store = build(tmp_path / "x", simple(rows))
    ends_well(store, tmp_path / "p.parquet")


def test_without_a_valid_part_or_folds_it_is_popularity(tmp_path) -> None:
    store = build(tmp_path / "x", simple([("u", "i", 5.0), ("v", "j", 5.0), ("v", "k", 5.0)]), valid_fraction=0.0)
    ends_well(store, tmp_path / "p.parquet")
    choice = find_model(store, "auto")[1]["choice"]
    assert choice == {scope: {"by": "popularity", "validation": {}} for scope in ("known", "catalogue")}


def test_without_a_valid_part_the_choice_is_made_before_the_test_cut(tmp_path) -> None:
    store = build(tmp_path / "x", log(), valid_fraction=0.0)
    ends_well(store, tmp_path / "p.parquet")
    assert max(find_model(store, "auto")[1]["choice"]["known"]["validation"].values()) > 0


@pytest.mark.parametrize(
    "settings", [{"split": "user-time"}, {"split": "last-n"}, {"implicit": True}, {"min_item_interactions": 12}]
)
def test_every_way_to_cut_and_label_ends_in_lists(tmp_path, settings) -> None:
    store = build(tmp_path / "x", log(), item_table(), **settings)
    if "min_item_interactions" in settings:
        assert store.scan("filtered").collect().height
    ends_well(store, tmp_path / "p.parquet")


def test_items_of_which_nothing_is_known_but_numbers(tmp_path) -> None:
    items = item_table().select("item_id", "weight", "flag")
    store = build(tmp_path / "x", log(), items, item_features=["weight", "flag"])
    ends_well(store, tmp_path / "p.parquet")


def test_a_killed_ranking_goes_on_to_the_same_bytes(tmp_path, shop, monkeypatch) -> None:
    monkeypatch.setattr(ranking, "USERS_AT_ONCE", 6)
    whole, killed = tmp_path / "whole.parquet", tmp_path / "killed.parquet"
    settings = ranking.RankSettings(kind="auto", users="all")
    ranking.rank(shop.store.path, whole, settings)
    process = rank_slowly(shop.store.path, killed, users_at_once=6, kind="auto", users="all")
    parts = tmp_path / ".killed.parquet.parts"
    while len(list(parts.glob("*.parquet"))) < 2:
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not killed.exists()
    ranking.rank(shop.store.path, killed, settings)
    assert killed.read_bytes() == whole.read_bytes()


def test_the_orders_file_says_what_was_chosen(shop) -> None:
    said = json.loads(model_files(shop.store)["orders.json"])
    assert said == {scope: {"by": TREES, "n_trees": 2} for scope in ("known", "catalogue")}
    assert settings_of(shop.store).item_features == list(FEATURES)
