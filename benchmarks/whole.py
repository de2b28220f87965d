"""The whole notebook at its own size, by the commands that a user runs: seconds and peak memory of each."""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.synthetic import D_CLIP, Synthetic
from recsys_polars.store import open_store

KINDS = ("popularity", "catboost", "mlp", "two-tower")
NOTEBOOKS = frozenset({"popularity", "catboost", "mlp"})
TEST_ROWS = 138_023 / 1_773_112  # of the notebook's log
RANKED_USERS = 85_083 / 552_000  # the notebook's, of all


@dataclass(frozen=True)
class Step:
    """A command that ran."""

    name: str
    seconds: float
    peak_megabytes: float


def whole(data: Synthetic) -> Iterator[Step]:
    """Build, train and rank with the notebook's recipe and a two-tower, evaluate; yield each step when it is done.

    Raises:
        RuntimeError: a command that failed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_raw_files(data, folder)
        store = ("--store", folder / "store")
        raw = ("--interactions", folder / "log.parquet", "--items", folder / "items.parquet")
        yield run("build-features", *raw, "--test-fraction", TEST_ROWS, "--out", folder / "store")
        write_users(folder / "store", folder / "users.csv")
        for kind in KINDS:
            recipe = ("--recipe", "notebook") if kind in NOTEBOOKS else ()
            yield run("train", "--model", kind, *store, *recipe)
            yield run(
                "rank", "--model", kind, *store, "--users", folder / "users.csv", "--out", folder / f"{kind}.parquet"
            )
        yield run("evaluate", *(folder / f"{kind}.parquet" for kind in KINDS), *store)


def write_raw_files(data: Synthetic, folder: Path) -> None:
    """Write a log and item metadata as a user has them: ids, ratings, times; titles, prices, wide CLIP columns."""
    chance = np.random.default_rng(1)
    n_pairs, n_items = len(data.users), data.shape.n_items
    pl.DataFrame(
        {
            "user_id": data.user_ids.gather(data.users),
            "item_id": data.item_ids.gather(data.items),
            "rating": np.where(data.labels == 1, 5.0, 2.0),
            "timestamp": 1_300_000_000 + chance.integers(200_000_000, size=n_pairs),
        }
    ).write_parquet(folder / "log.parquet")
    words = np.array([f"word{number}" for number in range(5000)])
    titles = [" ".join(words[row]) for row in (chance.zipf(1.3, size=(n_items, 8)) - 1) % len(words)]
    blocks = {"clip_text": data.vectors[:, : D_CLIP // 2], "clip_img": data.vectors[:, D_CLIP // 2 : D_CLIP]}
    wide = {f"{block}_{place}": column for block, matrix in blocks.items() for place, column in enumerate(matrix.T)}
    table = {"item_id": data.item_ids, "title": titles, "brand": data.brands, "category": data.categories}
    prices = pl.Series("price", data.prices, nan_to_null=True)
    pl.DataFrame({**table, "price": prices, **wide}).write_parquet(folder / "items.parquet")


def write_users(store: Path, path: Path) -> None:
    """Write the ids of as many users of the test part as the notebook ranks, none of them cold."""
    labelled = open_store(store).scan("labelled")
    liked = labelled.filter(pl.col("part") != "test", pl.col("label") == 1)
    warm = labelled.filter(pl.col("part") == "test").join(liked, on="user_id", how="semi")
    n_users = labelled.select(pl.col("user_id").n_unique()).collect().item()
    warm.select(pl.col("user_id").unique().sort()).head(int(RANKED_USERS * n_users)).collect().write_csv(path)


def run(*words: object) -> Step:
    """Run one command of the program in a process of its own."""
    program = [sys.executable, "-c", "from recsys_polars.cli.main import main; main()"]
    began = time.perf_counter()
    child = os.posix_spawn(sys.executable, [*program, *map(str, words)], os.environ)
    _, status, usage = os.wait4(child, 0)
    name = " ".join(str(word) for word in words[:3] if not isinstance(word, Path))
    if status != 0:
        raise RuntimeError(f"recsys-polars {name}: expected exit code 0, found {os.waitstatus_to_exitcode(status)}")
    return Step(name, time.perf_counter() - began, usage.ru_maxrss / 1024)
