"""Raw files of a small shop with everything that a user may give, a store of them, and the program to run on it."""

import math
import random
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from click.testing import CliRunner, Result

from recsys_polars.cli.main import main
from recsys_polars.models.protocol import FitSettings
from recsys_polars.recipes import auto, history_before
from recsys_polars.recipes.build import BuildSettings, build_features
from recsys_polars.recipes.trained import find_model
from recsys_polars.store import Store
from recsys_polars.two_stage.candidates import Candidates
from recsys_polars.two_stage.past import past_of
from tests.odd_ids import ODD_IDS
from tests.oracles import signals as oracle

FEW = {"iterations": 8, "depth": 3, "learning_rate": 0.5, "thread_count": 1}
FEATURES = ("age", "popularity", "trees", "maker", "maker_count", "flag", "weight", "same", "nothing", "cosine_rank")
PAIR = ["user_id", "item_id"]
SETTINGS = FitSettings(device="cpu")
START = 1_500_000_000


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
    vectors[4], vectors[5], vectors[6, 1] = np.nan, 0, np.inf
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
            "price": [None if row % 6 == 0 else 1e39 if row == 7 else float(row) for row in rows],
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


def model_files(store: Store) -> dict[str, bytes]:
    """The files of the model."""
    folder, manifest = find_model(store, "auto")
    return {name: (folder / name).read_bytes() for name in manifest["files"]}


def proposed_by(store: Store) -> Candidates:
    """The candidates as `rank` sees them."""
    history = auto.history_before(store, "test").collect()
    return Candidates(past_of(auto._catalogue(store), history, auto._events_before_test(store)))


def told_by(store: Store, rows: pl.DataFrame) -> oracle.Told:
    """What the raw rows before the cut say but for the pairs that were filtered out, with the items of the store."""
    times = sorted(rows["timestamp"].to_list())
    cut = times[math.floor((len(times) - 1) * 0.9)]
    filtered = set(store.scan("filtered").select(PAIR).collect().rows())
    before = [row for row in rows.rows() if row[3] < cut and row[:2] not in filtered]
    before.sort(key=lambda row: (row[3], row[2]))
    latest = {(user, item): (time, rating) for user, item, rating, time in before}
    pairs = [(user, item, time, int(rating >= 4)) for (user, item), (time, rating) in latest.items()]
    items = store.scan("items").collect().sort("item_id")
    events = [(item, time) for _, item, _, time in before]
    return oracle.Told({row["item_id"]: row for row in items.to_dicts()}, pairs, events, FEATURES)
