"""How the work of `--engine spark` grows: rows and bytes by step, from the counts of a store; derived from the code."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import polars as pl

from benchmarks.event_log import AFTER_ALL
from recsys_polars.store import Store

HOURS = 300_000_000 / 3600
"""That differ in the log of `benchmarks.scale`."""
SHUFFLES = {
    "before interactions": "build: item ids",
    "interactions": "build: sort interactions",
    "before pairs": "build: cut times",
    "pairs": "build: latest of a pair, label",
    "labelled": "build: sort labelled",
    "repeats": "build: sort repeats",
    "before known-valid": "build: count users of parts",
    "known-test": "build: history",
    "before means-valid": "build: known items",
    "means-valid": "build: means before valid",
    "means-test": "build: means before test",
    f"before {AFTER_ALL}": "build: count users",
    "before users": "rank: likes of items",
    "users": "rank: what users had",
    "lists": "rank: users in order",
}
DRIVER = {
    "interactions": "driver: interactions",
    "labelled": "driver: labelled",
    "repeats": "driver: repeats",
    "means-valid": "driver: means before valid",
    "means-test": "driver: means before test",
    "lists": "driver: lists",
}
"""By the name of the event log, what workers write and the driver reads."""
FILES = {
    "interactions.parquet": "store: interactions",
    "labelled.parquet": "store: labelled",
    "repeats.parquet": "store: repeats",
    "user_means.parquet": "store: means",
    "user_means.safetensors": "store: means as tensors",
}
"""By name, what the driver makes of it, each in one piece."""


class Volume(NamedTuple):
    """Rows, and their bytes."""

    rows: float
    n_bytes: float


@dataclass(frozen=True)
class Sizes:
    """What the volumes follow from.

    Attributes:
        rows: interactions.
        users, items: of the store.
        pairs, repeats: rows of these tables.
        users_of_parts: summed over train, valid and test.
        train, known: pairs known before the valid and the test cut.
        between: repeats of the valid part.
        liked_valid, liked_test: likes known before the valid and the test cut.
        likers_valid, likers_test: users who have some.
        scans, partitions: tasks that read a table; those of a shuffle.
        hours: that differ in the log.
    """

    rows: float
    users: float
    items: float
    pairs: float
    repeats: float
    users_of_parts: float
    train: float
    known: float
    between: float
    liked_valid: float
    liked_test: float
    likers_valid: float
    likers_test: float
    scans: float
    partitions: float
    hours: float = HOURS

    def grown(self, users: float, items: float, *, partition_bytes: float = 1 << 27) -> "Sizes":
        """The same log of more users, with other items, in partitions of 128 MB."""
        counts: dict[str, float] = {name: value * users / self.users for name, value in vars(self).items()}
        tasks = max(200.0, counts["rows"] * 28 / partition_bytes)
        fixed = {"items": items, "hours": self.hours, "scans": tasks, "partitions": tasks}
        return replace(self, **{**counts, **fixed})


def distinct(draws: float, among: float) -> float:
    """How many different values so many draws have, of some that are equally likely."""
    return among * -math.expm1(-draws / among)


def shuffled_rows(s: Sizes) -> dict[str, float]:
    """Return how many rows each step writes for shuffles, by the names of the event log."""

    def parts_of(draws: float, among: float) -> float:
        return s.scans * distinct(draws / s.scans, among)  # counted in each task first

    looks = [
        parts_of(share * s.rows, share * s.hours) + distinct(share * s.rows, share * s.hours) for share in (1, 0.9)
    ]
    history = s.known + s.between
    return {
        "before interactions": parts_of(s.rows, s.items),
        "interactions": s.rows,
        "before pairs": 2 * sum(looks),
        "pairs": s.rows,
        "labelled": s.pairs,
        "repeats": s.repeats,
        "before known-valid": s.users_of_parts,
        "known-test": history,
        "before means-valid": parts_of(s.train, s.items) + parts_of(s.known, s.items),
        "means-valid": s.liked_valid,
        "means-test": s.liked_test,
        f"before {AFTER_ALL}": s.users,
        "before users": s.liked_test + s.between + s.partitions * distinct(s.liked_test / s.partitions, s.items),
        # Everyone, whose rows lie together; means; what each had.
        "users": s.users + s.likers_test + distinct(s.known, s.users),
        "lists": s.users,
    }


def driver_rows(s: Sizes, k: int = 10) -> dict[str, float]:
    """Return how many rows of each table workers write for the driver, by the names of the event log."""
    counts = (s.rows, s.pairs, s.repeats, s.likers_valid, s.likers_test, s.users * k)
    return dict(zip(DRIVER, counts, strict=True))


def file_rows(s: Sizes) -> dict[str, float]:
    """Return how many rows the driver writes into each file of a store."""
    means = s.likers_valid + s.likers_test
    return dict(zip(FILES, (s.rows, s.pairs, s.repeats, means, means), strict=True))


def sizes_of(store: Store, *, scans: int, partitions: int) -> Sizes:
    """Return the counts of a store."""
    counts, files = store.manifest["counts"], store.manifest["files"]
    parts = counts["parts"]
    means = store.scan("user_means").group_by("before").agg(pl.len(), pl.col("n_positives").sum()).collect()
    of_cut: dict[str, Any] = {cut: (n, likes) for cut, n, likes in means.iter_rows()}
    return Sizes(
        rows=files["interactions.parquet"]["rows"],
        users=counts["users"],
        items=counts["items"],
        pairs=files["labelled.parquet"]["rows"],
        repeats=files["repeats.parquet"]["rows"],
        users_of_parts=sum(part["users"] for part in parts.values()),
        train=parts["train"]["pairs"],
        known=parts["train"]["pairs"] + parts["valid"]["pairs"],
        between=counts["repeats"]["valid"],
        likers_valid=of_cut["valid"][0],
        likers_test=of_cut["test"][0],
        liked_valid=of_cut["valid"][1],
        liked_test=of_cut["test"][1],
        scans=scans,
        partitions=partitions,
    )


def predicted(sizes: Sizes, row_bytes: Mapping[str, float]) -> dict[str, Volume]:
    """Return what a log of some sizes moves, given the bytes of a row in each step."""
    rows = {SHUFFLES[step]: n for step, n in shuffled_rows(sizes).items()}
    rows |= {DRIVER[table]: n for table, n in driver_rows(sizes).items()}
    rows |= {FILES[file]: n for file, n in file_rows(sizes).items()}
    return {step: Volume(n, n * row_bytes[step]) for step, n in rows.items()}


PAIR_FLOPS = {"two-tower": 2 * 64, "mlp": 2 * (256 * 64 + 64)}
"""Of one user with one item, once both halves of the first layer are there; see `models`."""
PAIR_NANOSECONDS = {"two-tower": 2.4, "catboost": 15.5, "mlp": 247.0}
"""Of one core, by docs/benchmarks.md, both cores counted."""

ITEM_BYTES = {"two-tower": 1215, "mlp": 2900}
"""What a worker process, one a core, holds of each item while it ranks, at 70 dimensions; measured for 300,000 items.

Vectors that are joined side by side are a copy, for each process and then for its model; a two-tower adds 64 numbers in
float32 and bfloat16, an MLP 256 in float32 and twice 16 bits.
"""


def core_hours(kind: str, users: float, items: float) -> float:
    """Return what ranking all items for all users takes, on cores such as those of docs/benchmarks.md."""
    return users * items * PAIR_NANOSECONDS[kind] / 3.6e12
