"""A build in many buckets of users: its tables equal the oracles', however the rows lie among users and items."""

from itertools import product

import numpy as np
import pandas as pd
import polars as pl
import pytest

from recsys_polars.recipes.events import ROW_BYTES
from recsys_polars.store import Store, open_store
from tests.logs import ITEMS, LOG, START, shop, write
from tests.oracles import counting, time_split, user_means

PAIR = ["user_id", "item_id"]
COLUMNS = [*PAIR, "rating", "label"]
LONG = "x" * 1_000_000


def event(user: str, item: str, place: int, rating: str = "5") -> tuple[str, ...]:
    return user, item, rating, str(START + 1_000 * place)


LOGS = {
    "odd ids, zeros of both signs, ties": shop(5, n_rows=400)[0],
    "one user": [event("u", f"i{n % 30}", n) for n in range(90)],
    "one item": [event(f"u{n % 20}", "i", n) for n in range(60)],
    "one user has more than a bucket": [event("m" if n % 3 else f"{n % 9}", f"i{n % 11}", n) for n in range(200)],
    "ids of a megabyte": [event(LONG + f"{n % 3}", f"{n % 4}" + LONG, n) for n in range(12)],
    "nobody likes before the valid cut": [event(f"u{n % 3}", f"i{n}", n, "1" if n < 73 else "5") for n in range(93)],
    "nothing before the valid cut": [event(f"u{n % 7}", f"i{n % 60}", n if n >= 80 else 0) for n in range(100)],
    "all that is valid or test is a repeat": [event(f"u{n % 7}", f"i{n % 7}", n) for n in range(100)],
}
CORES = {"odd ids, zeros of both signs, ties": (3, 3)}
"""The fewest pairs of a user and of an item in train; (1, 1) for the other logs."""


@pytest.fixture
def build(tmp_path, accept):
    """Build a store of rows, in buckets of some twenty rows, and with item vectors."""

    def build_in_buckets(rows, *options: object) -> Store:
        write(tmp_path / "log.csv", LOG, rows)
        write(tmp_path / "items.csv", ITEMS, [(row[1][:50], *shop(5)[1][n % 40][1:]) for n, row in enumerate(rows)])
        files = ("--interactions", tmp_path / "log.csv", "--items", tmp_path / "items.csv", "--text", "none")
        accept("build-features", *files, "--memory", 20 * ROW_BYTES, *options, "--out", tmp_path / "store")
        return open_store(tmp_path / "store")

    return build_in_buckets


def expected_of(log: pd.DataFrame, *, split: time_split.Split, min_user: int, min_item: int) -> dict[str, pd.DataFrame]:
    """The oracle's tables: those of the split, then `filtered`, `known valid` and `known test`."""
    tables = time_split.split(log, split=split)
    core = counting.k_core(tables["train"], min_user=min_user, min_item=min_item)
    filtered = tables["train"].drop(core.index)
    known = time_split.pairs_not_in(tables["history"], filtered)
    return tables | {"train": core, "filtered": filtered, "known valid": core, "known test": known}


def assert_rows(found: pl.DataFrame, expected: pd.DataFrame) -> None:
    rows = [tuple(row) for row in expected[COLUMNS].itertuples(index=False)]
    assert found.select(COLUMNS).rows() == sorted(rows, key=lambda row: (row[0].encode(), row[1].encode()))


@pytest.mark.parametrize(
    ("name", "split"), [*((name, "global-time") for name in LOGS), *product(list(LOGS)[:2], ["user-time", "last-n"])]
)
def test_tables_of_many_buckets_equal_the_oracles(build, name, split) -> None:
    min_user, min_item = CORES.get(name, (1, 1))
    limits = ("--min-user-interactions", min_user, "--min-item-interactions", min_item)
    store = build(LOGS[name], "--split", split, *limits)
    log = store.scan("interactions").collect().to_pandas()
    assert len(log) == len(LOGS[name])
    expected = expected_of(log, split=split, min_user=min_user, min_item=min_item)
    assert expected["filtered"].empty == (name not in CORES)
    labelled = store.scan("labelled").collect()
    for part in ("train", "valid", "test"):
        assert_rows(labelled.filter(part=part), expected[part])
    assert_rows(store.scan("filtered").collect(), expected["filtered"])
    items = store.scan("items").collect()["item_id"].to_list()
    table, means = store.scan("user_means").collect(), store.tensors("user_means")
    for cut, features in (("valid", "item_features_valid"), ("test", "item_features")):
        tensors = store.tensors(features)
        vectors = pd.DataFrame(np.hstack([tensors[block] for block in store.manifest["blocks"]]), index=items)
        known = expected[f"known {cut}"]
        oracle = user_means.user_means(known[known["label"] == 1], vectors)
        own = table.filter(before=cut)
        assert own["user_id"].to_list() == sorted(oracle, key=str.encode)
        assert own["n_positives"].to_list() == [oracle[user][1] for user in own["user_id"]]
        means_of_oracle = [oracle[user][0] for user in own["user_id"]]
        np.testing.assert_allclose(means[cut], np.reshape(means_of_oracle, means[cut].shape), rtol=1e-6, atol=1e-6)
