"""`auto` from raw files to figures: what it is given it uses, what comes after the cut it never sees."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from catboost import CatBoostClassifier
from click.testing import CliRunner, Result
from polars.testing import assert_frame_equal

from recsys_polars.cli.main import main
from recsys_polars.models.protocol import FitSettings
from recsys_polars.recipes import auto, folds, history_before
from recsys_polars.recipes import rank as ranking
from recsys_polars.recipes.build import BuildSettings, build_features, cut_interactions
from recsys_polars.recipes.raw import settings_of
from recsys_polars.recipes.train import train
from recsys_polars.recipes.trained import find_model
from recsys_polars.store import Store, open_store
from recsys_polars.two_stage import choosing
from recsys_polars.two_stage import trees as second_stage
from recsys_polars.two_stage.candidates import Candidates
from recsys_polars.two_stage.past import past_of
from recsys_polars.two_stage.ranker import TREES, load_orders

FEW = {"iterations": 8, "depth": 3, "learning_rate": 0.5, "thread_count": 1}
ODD_IDS = (
    "two words",
    " padded ",
    'a "quote"',
    "😀",
    "two\nlines",
    "a,b;c\t|",
    "Ünïcode",
    "../up",
    "NULL",
    "0",
    "^.*$",
)
FEATURES = ("age", "popularity", "trees", "maker", "maker_count", "flag", "weight", "same", "nothing", "cosine_rank")
PAIR = ["user_id", "item_id"]
SETTINGS = FitSettings(device="cpu")
START = 1_500_000_000


@pytest.fixture(autouse=True, scope="module")
def few_trees():
    """Small trees, so that a test takes a moment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(second_stage, "PARAMETERS", FEW)
        yield


@pytest.fixture
def trees_win(monkeypatch) -> None:
    """Trees are chosen whatever the figures say."""
    monkeypatch.setattr(choosing, "_aps", lambda term, blocks, order: np.array([float(order.by == TREES)]))


def ids(prefix: str, n: int) -> list[str]:
    return [*ODD_IDS, *(f"{prefix}{number:03d}" for number in range(n))][:n]


def log(n_users: int = 40, n_items: int = 50, n_rows: int = 700) -> pl.DataFrame:
    """Items come into fashion one after the other; users keep to a third of them; some come late, some like nothing."""
    chance = random.Random(3)
    users, items = ids("u", n_users), ids("i", n_items)
    rows = []
    for hour in range(n_rows):
        user = chance.randrange(n_users if hour > 0.93 * n_rows else n_users - 4)
        item = min(n_items - 2, int(n_items * hour / n_rows * chance.random() ** 0.3))
        item -= (item - user) % 3 if item >= 3 else 0
        rating = 1.0 if user in (8, 9) else float(chance.choice([2, 4, 5, 5]))
        rows.append((users[user], items[item], rating, START + 3600 * (hour - hour % 3)))
    return pl.DataFrame(rows, schema=["user_id", "item_id", "rating", "timestamp"], orient="row")


def item_table(n_items: int = 50) -> pl.DataFrame:
    """Everything that a user may give, holes and all; `later` items are in no history."""
    item_ids = [*ids("i", n_items), *(f"later{number}" for number in range(5))]
    n = len(item_ids)
    rows = np.arange(n)
    vectors = np.random.default_rng(2).normal(size=(n, 3)).astype(np.float32)
    vectors[4], vectors[5] = np.nan, 0
    columns = {f"clip_img_{place}": vectors[:, place] for place in range(3)}
    columns |= {f"clip_img_rank_{place}": vectors[:, place] for place in range(2)}
    weights = [[1.5, None, float("inf"), float("nan"), -3.0][row % 5] for row in rows]
    return pl.DataFrame(
        {
            "item_id": item_ids,
            "title": [None if row % 7 == 0 else f"Title {row % 4} of {row}" for row in rows],
            "description": [None if row % 5 == 0 else "" if row % 5 == 1 else f"words {row % 3}" for row in rows],
            "brand": [f"b{row % 3}" if row % 4 else None for row in rows],
            "category": [f"c{row % 3}" for row in rows],
            "price": [None if row % 6 == 0 else float(row) for row in rows],
            "age": rows * 1.0,
            "popularity": [f"p{row % 2}" for row in rows],
            "trees": rows % 4,
            "maker": [None if row % 9 == 0 else f'm"{row % 3}' for row in rows],
            "maker_count": rows % 5,
            "flag": rows % 2 == 0,
            "weight": weights,
            "same": np.ones(n),
            "nothing": pl.Series([None] * n, dtype=pl.Float64),
            "cosine_rank": [f"r{row % 2}" for row in rows],
            **columns,
        }
    )


def build(folder: Path, rows: pl.DataFrame, items: pl.DataFrame | None = None, **settings: Any) -> Store:
    folder.mkdir(exist_ok=True)
    rows.write_parquet(folder / "log.parquet")
    if items is not None:
        items.write_parquet(folder / "items.parquet")
        settings = {"items": str(folder / "items.parquet"), **settings}
    return build_features(BuildSettings(str(folder / "log.parquet"), **settings), folder / "store")


def invoke(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def accept(*args: object) -> None:
    result = invoke(*args)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("\n") == 1


def refuse(*args: object) -> str:
    result = invoke(*args)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.count("Error: ") == 1
    return result.stderr


def rank_with(store: Store, out: Path, *options: object) -> pl.DataFrame:
    accept("rank", "--model", "auto", "--store", store.path, "--out", out, *options)
    return pl.read_parquet(out)


class Shop(NamedTuple):
    store: Store
    seen: dict[str, set[str]]
    warm: set[str]
    items: list[str]


def shop_of(store: Store) -> Shop:
    history = history_before(store, "test").collect()
    seen = dict(history.group_by("user_id").agg("item_id").iter_rows())
    warm = set(history.filter(pl.col("label") == 1)["user_id"])
    items = store.scan("items").collect()["item_id"].sort().to_list()
    return Shop(store, {user: set(had) for user, had in seen.items()}, warm, items)


@pytest.fixture(scope="module")
def shop(tmp_path_factory, few_trees) -> Shop:
    """A store with an `auto` model of trees."""
    store = build(tmp_path_factory.mktemp("auto"), log(), item_table(), item_features=FEATURES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choosing, "_aps", lambda term, blocks, order: np.array([float(order.by == TREES)]))
        train(store.path, "auto", SETTINGS)
    return shop_of(store)


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


def model_files(store: Store) -> dict[str, bytes]:
    """The files of the model, without the time and the random number that CatBoost writes into its own."""
    folder, manifest = find_model(store, "auto")
    found = {}
    for name in manifest["files"]:
        file = folder / name
        if file.suffix == ".cbm":
            trees = CatBoostClassifier().load_model(str(file))
            for key in ("model_guid", "train_finish_time"):
                del trees.get_metadata()[key]
            file = store.path / name
            trees.save_model(str(file))
        found[name] = file.read_bytes()
    return found


def test_the_same_seed_gives_the_same_files_and_another_others(tmp_path, shop, trees_win) -> None:
    shutil.copytree(shop.store.path, tmp_path / "store")
    store = open_store(tmp_path / "store")
    train(store.path, "auto", SETTINGS)
    assert model_files(store) == model_files(shop.store)
    assert sum(name.endswith(".cbm") for name in model_files(store)) == 4
    train(store.path, "auto", FitSettings(device="cpu", seed=7))
    assert model_files(store) != model_files(shop.store)


def test_given_columns_are_used(shop) -> None:
    trees = load_orders(find_model(shop.store, "auto")[0])["catalogue"].trees
    names = set(trees[0].feature_names_)
    assert {"vector[clip_img]", "vector[clip_img]_rank", "vector[clip_img_rank]", "given[age]", "given[flag]"} <= names
    assert {"given[maker]_count", "given[maker_count]", "given[popularity]_share", "given[nothing]"} <= names
    assert "age" in names
    assert len(names) == len(trees[0].feature_names_)


# What comes after the cut


def changed_after(rows: pl.DataFrame, split: str) -> pl.DataFrame:
    """The same before the test cut, and after it other items, ratings and, where the cut is everybody's, users."""
    timed = rows.with_columns(event_time=pl.from_epoch("timestamp"))
    parted = cut_interactions(timed.lazy(), BuildSettings(split=split)).filter(pl.col("part") == "test").collect()
    after = parted.select(*PAIR, "event_time", is_after=True).unique()
    rows = timed.join(after, on=[*PAIR, "event_time"], how="left", maintain_order="left").drop("event_time")
    is_after = pl.col("is_after").fill_null(value=False)
    row, everybodys = pl.int_range(pl.len()), split == "global-time"
    users = pl.format("newcomer {}", row % 80) if everybodys else pl.col("user_id")
    items = pl.format("later{}", row % 5) if everybodys else pl.lit("later0")
    return rows.with_columns(
        user_id=pl.when(is_after).then(users).otherwise("user_id"),
        item_id=pl.when(is_after).then(items).otherwise("item_id"),
        rating=pl.when(is_after).then(5.0 - pl.col("rating") % 5).otherwise("rating"),
        # Of a user's pairs of one time the last by id is the latest.
        timestamp=pl.col("timestamp") + pl.when(is_after & (split == "last-n")).then(86_400).otherwise(0),
    ).drop("is_after")


def known_to(store: Store) -> dict[str, np.ndarray]:
    """The candidates and features of everybody with a history, as `rank` sees them, by user id."""
    catalogue = auto._catalogue(store)
    candidates = Candidates(
        past_of(catalogue, auto.history_before(store, "test").collect(), auto._events_before_test(store))
    )
    users = np.flatnonzero(catalogue.user_ids.is_in(sorted(shop_of(store).warm)).to_numpy())
    allowed = np.ones(len(catalogue.item_ids), dtype=bool)
    found = {}
    for pairs in candidates.blocks(users, seen=None, allowed=allowed):
        for place in range(pairs.start, pairs.stop):
            rows = pairs.places == place
            found[catalogue.user_ids[int(users[place])]] = np.column_stack([pairs.items[rows], pairs.features[rows]])
    return found


def lists_of(store: Store, out: Path) -> pl.DataFrame:
    """Lists of everybody who was there before the cut."""
    before = shop_of(store).seen
    file = out.with_suffix(".csv")
    file.write_text(pl.DataFrame({"user_id": sorted(before)}).write_csv())
    return rank_with(store, out, "--users", file, "-k", 15)


def differences(store: Store, other: Store, tmp_path: Path) -> set[str]:
    """What of candidates and features, models and lists differs between two stores."""
    known = known_to(store), known_to(other)
    assert known[0].keys() == known[1].keys()
    found = set()
    if any(a.tobytes() != b.tobytes() for a, b in zip(*(one.values() for one in known), strict=True)):
        found.add("features")
    if model_files(store) != model_files(other):
        found.add("model")
    choices = [find_model(one, "auto")[1]["choice"] for one in (store, other)]
    if choices[0] != choices[1]:
        found.add("choice")
    if not lists_of(store, tmp_path / "a.parquet").equals(lists_of(other, tmp_path / "b.parquet")):
        found.add("lists")
    return found


@pytest.fixture(params=["global-time", "user-time", "last-n"])
def two_futures(request, tmp_path) -> tuple[Store, Store]:
    """Two stores that differ after the test cut alone."""
    rows = log()
    other = changed_after(rows, request.param)
    stores = [
        build(tmp_path / name, one, item_table(), item_features=FEATURES, split=request.param)
        for name, one in (("one", rows), ("other", other))
    ]
    before = [history_before(one, "test").collect().sort(PAIR) for one in stores]
    assert_frame_equal(*before)
    test = [one.scan("labelled").filter(pl.col("part") == "test").collect() for one in stores]
    assert not test[0].equals(test[1])
    return stores[0], stores[1]


@pytest.mark.parametrize("scored_by", ["figures", "trees"])
def test_nothing_after_the_cut_changes_candidates_choice_model_or_lists(
    two_futures, tmp_path, request, scored_by
) -> None:
    if scored_by == "trees":
        request.getfixturevalue("trees_win")
    for store in two_futures:
        train(store.path, "auto", SETTINGS)
    assert differences(*two_futures, tmp_path) == set()


@pytest.mark.parametrize("two_futures", ["global-time"], indirect=True)
def test_the_comparison_notices_a_past_of_all_events(two_futures, tmp_path, monkeypatch, trees_win) -> None:
    for store in two_futures:
        train(store.path, "auto", SETTINGS)
    monkeypatch.setattr(auto, "_events_before_test", lambda store: store.scan("interactions").collect())
    assert differences(*two_futures, tmp_path) == {"features", "lists"}


@pytest.mark.parametrize("two_futures", ["global-time"], indirect=True)
def test_the_comparison_notices_labels_of_the_test_part(two_futures, tmp_path, monkeypatch, trees_win) -> None:
    def before_everything(interactions, settings):
        return cut_interactions(interactions, settings).with_columns(part=pl.lit("train"))

    monkeypatch.setattr(folds, "cut_interactions", before_everything)
    for store in two_futures:
        train(store.path, "auto", SETTINGS)
    assert {"model", "lists"} <= differences(*two_futures, tmp_path)


# What can't be used


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
    assert "run train --model auto again" in message


def test_no_model_is_said(tmp_path) -> None:
    store = build(tmp_path / "x", log(n_rows=60))
    assert "run train --model auto first" in refuse(
        "rank", "--model", "auto", "--store", store.path, "--out", tmp_path / "p.parquet"
    )


# What is small, odd or missing


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


SLOWLY = """
import sys, time
from pathlib import Path
from recsys_polars.recipes import rank as ranking

ranking.USERS_AT_ONCE = 6
part = ranking._part

def slow_part(*args):
    time.sleep(0.05)
    return part(*args)

ranking._part = slow_part
ranking.rank(Path(sys.argv[1]), Path(sys.argv[2]), ranking.RankSettings(kind="auto", users="all"))
"""


def test_a_killed_ranking_goes_on_to_the_same_bytes(tmp_path, shop, monkeypatch) -> None:
    monkeypatch.setattr(ranking, "USERS_AT_ONCE", 6)
    whole, killed = tmp_path / "whole.parquet", tmp_path / "killed.parquet"
    settings = ranking.RankSettings(kind="auto", users="all")
    ranking.rank(shop.store.path, whole, settings)
    process = subprocess.Popen([sys.executable, "-c", SLOWLY, str(shop.store.path), str(killed)])
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
