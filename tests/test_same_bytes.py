"""The same inputs and parameters give the same bytes, whatever the threads, the memory and the order of the rows."""

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import polars as pl
import pytest

from recsys_polars.recipes.build import build_features
from recsys_polars.recipes.raw import BuildSettings
from recsys_polars.store import ROW_GROUP
from tests.logs import ITEMS, LOG, START, checksums, shop, write

WAYS = {
    "global-time": {"split": "global-time", "min_user_interactions": 3, "min_item_interactions": 4},
    "user-time": {"split": "user-time", "implicit": True, "min_item_interactions": 2, "text": "none"},
    "last-n": {"split": "last-n", "test_n": 2, "item_features": ("shelf",)},
}


def built(folder: Path, out: str, *, memory: int = 1 << 30, way: str) -> dict[str, str]:
    settings = BuildSettings(
        interactions=str(folder / "log*.csv"), items=str(folder / "items*.csv"), memory_bytes=memory, **WAYS[way]
    )
    return checksums(build_features(settings, folder / out))


@pytest.mark.parametrize("way", WAYS)
def test_neither_buckets_nor_the_order_nor_the_files_of_rows_change_a_byte(tmp_path, way) -> None:
    log, items = shop(1)
    write(tmp_path / "log.csv", LOG, log)
    write(tmp_path / "items.csv", ITEMS, items)
    whole = built(tmp_path, "whole", way=way)
    chance = Random(2)
    chance.shuffle(log)
    chance.shuffle(items)
    for number in range(3):
        write(tmp_path / ("log.csv" if not number else f"log{number}.csv"), LOG, log[number::3])
        write(tmp_path / ("items.csv" if not number else f"items{number}.csv"), ITEMS, items[number::3])
    assert built(tmp_path, "parted", way=way) == whole
    assert built(tmp_path, "bucketed", memory=20_000, way=way) == whole


def build_all(folder: Path) -> None:
    """Print the checksums of a store in each way, and of one of several row groups."""
    found = {way: built(folder, f"{way} {os.getpid()}", memory=30_000, way=way) for way in WAYS}
    settings = BuildSettings(interactions=str(folder / "many.parquet"), text="none", memory_bytes=5_000_000)
    store = build_features(settings, folder / f"many {os.getpid()}")
    assert store.manifest["files"]["user_means.parquet"]["rows"] > ROW_GROUP
    rejects = store.manifest["files"]["rejects-interactions.parquet"]
    sys.stdout.write(json.dumps(found | {"many": {**checksums(store), "rejects": rejects}}))


def test_the_number_of_threads_changes_no_byte(tmp_path) -> None:
    log, items = shop(3)
    write(tmp_path / "log.csv", LOG, log)
    write(tmp_path / "items.csv", ITEMS, items)
    place = pl.int_range(100_000)
    many = pl.select(
        user_id="u" + (place * 7_919 % 80_021).cast(pl.String),
        item_id="i" + (place * 104_729 % 613).cast(pl.String),
        rating=pl.when(place % 1_000 > 0).then(place % 3 + 3.0),
        event_time=START + place * 999_983 % 10**7,
    )
    many.write_parquet(tmp_path / "many.parquet")
    command = [sys.executable, "-c", f"from tests.test_same_bytes import *; build_all(Path({str(tmp_path)!r}))"]
    found = [
        subprocess.run(
            command,
            env=os.environ | {"POLARS_MAX_THREADS": polars, "OMP_NUM_THREADS": blas, "OPENBLAS_NUM_THREADS": blas},
            check=True,
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[1],
        ).stdout
        for polars, blas in (("1", "2"), ("4", "1"))
    ]
    assert json.loads(found[0]).keys() == {*WAYS, "many"}
    assert found[0] == found[1]
