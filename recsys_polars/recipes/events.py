"""Raw interactions -> rows whose ids are numbers, in buckets of users that fit into memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import polars as pl

from recsys_polars.dense_ids import IdNumbers, lookup, places
from recsys_polars.recipes import Progress
from recsys_polars.recipes.raw import NO_ORIGIN, ORIGIN, Build, accept, nothing_usable, scanned
from recsys_polars.sources import ParsedFile, reading
from recsys_polars.tables import Interactions

ROW_BYTES = 200
"""What a row takes while its bucket is sorted, cut and labelled; docs/reliability.md has the measurement."""
MAX_BUCKETS = 512
"""Each costs a few hundredths of a second, and a file that is open while they are filled."""


@dataclass(frozen=True)
class Events:
    """The accepted interactions of all files.

    Attributes:
        rows: user_id and item_id by number, rating, event_time; unread, in no promised order.
        users, items: what the numbers stand for.
        n_rows: how many there are.
    """

    rows: pl.LazyFrame
    users: IdNumbers
    items: IdNumbers
    n_rows: int

    def item_ids(self) -> pl.Series:
        """Return the ids that occur, each once."""
        numbers = self.rows.select(pl.col("item_id").unique()).collect()["item_id"]
        return self.items.ids().gather(numbers).alias("item_id")


@dataclass(frozen=True)
class Buckets:
    """The interactions by row numbers: the places of ids in the sorted unique ids.

    Attributes:
        user_ids: of those who have an interaction, sorted.
        item_ids: of the catalogue, sorted.
        n_rows: how many interactions there are.
        frames: `Interactions` with row numbers for ids, unread. No user is in two; users ascend from one to another.
    """

    user_ids: pl.Series
    item_ids: pl.Series
    n_rows: int
    frames: Sequence[pl.LazyFrame]


def read_events(files: Sequence[ParsedFile], build: Build) -> Events:
    """Parse raw files once, one by one; quarantine the rows that broke a rule; add those of the store appended to.

    Raises:
        InputError: no row can be used; it says which rules they broke.
    """
    users, items = IdNumbers(), IdNumbers()
    is_bad = pl.col("rule").is_not_null()
    numbers = {"user_id": users, "item_id": items}
    # A rejected row keeps its text, an accepted one its numbers: neither is held twice.
    columns = [of.numbers(pl.when(~is_bad).then(name)).alias(name) for name, of in numbers.items()]
    columns += [_counted("rating", build.progress), pl.col("event_time")]
    texts = [pl.when(is_bad).then(name).alias(f"raw {name}") for name in (*numbers, *ORIGIN)]
    paths = list[Path]()
    for file in [*_stored_interactions(build), *files]:
        paths.append(build.scratch / f"raw-{len(paths):06d}.parquet")
        with reading(file.path):
            file.rows.select(*columns, *texts).sink_parquet(paths[-1], compression="lz4")
    parsed, rejected = pl.scan_parquet(paths, glob=False), pl.col("raw rule").is_not_null()
    raw = {name: pl.col(f"raw {name}") for name in (*numbers, *ORIGIN)}
    rejects = parsed.filter(rejected).select(pl.col("rating", "event_time"), **raw)
    new = scanned(files, paths[len(paths) - len(files) :])
    n_rows = accept("interactions", new, rejected, rejects.select(*Interactions.column_names(), *ORIGIN), build)
    if not n_rows:
        raise nothing_usable(files[0].path, rejects, build.settings)
    return Events(parsed.filter(~rejected).select(Interactions.column_names()), users, items, n_rows)


def _counted(column: str, progress: Progress) -> pl.Expr:
    """A column that tells of its rows as they pass."""
    done, lock = 0, Lock()

    def tell(rows: pl.Series) -> pl.Series:
        nonlocal done
        with lock:
            done += len(rows)
            progress("read interactions", done, 0, "rows")
        return rows

    progress("read interactions", 0, 0, "rows")
    return pl.col(column).map_batches(tell, return_dtype=pl.Float32, is_elementwise=True)


def _stored_interactions(build: Build) -> list[ParsedFile]:
    """Those of the store appended to, as a file without a bad row."""
    if build.onto is None:
        return []
    rows = build.onto.scan("interactions").with_columns(**NO_ORIGIN)
    return [ParsedFile(build.onto.path, rows)]


def into_buckets(events: Events, item_ids: pl.Series, build: Build) -> Buckets:
    """Sort the users, and part their interactions so that each bucket can be worked on in `memory_bytes`.

    Args:
        events: the interactions.
        item_ids: of the catalogue, sorted.
        build: at work.
    """
    counts = events.rows.group_by("user_id").len().collect()
    ids = events.users.ids()
    counts = counts.with_columns(id=ids.gather(counts["user_id"])).sort("id")
    user_rows = places(counts["user_id"].to_numpy(), len(ids))
    item_numbers = item_ids.to_frame("item_id").select(events.items.numbers(pl.col("item_id"))).to_series()
    item_rows = places(item_numbers.to_numpy(), len(events.items.ids()))
    rows = events.rows.with_columns(
        user_id=lookup("user_id", pl.Series(user_rows)), item_id=lookup("item_id", pl.Series(item_rows))
    )
    n_buckets = min(-(-events.n_rows * ROW_BYTES // build.settings.memory_bytes), MAX_BUCKETS)
    first_row = counts["len"].cum_sum() - counts["len"]
    of_user = first_row.cast(pl.UInt64) * n_buckets // events.n_rows
    frames = _parted(rows, of_user.cast(pl.UInt32), build)
    return Buckets(counts["id"].alias("user_id"), item_ids, events.n_rows, frames)


def _parted(rows: pl.LazyFrame, bucket_of_user: pl.Series, build: Build) -> list[pl.LazyFrame]:
    """Write the rows of each bucket into a folder of its own, unless there is but one."""
    buckets = bucket_of_user.unique().sort()
    if len(buckets) == 1:
        return [rows]
    folder = build.scratch / "buckets"
    keyed = rows.with_columns(bucket=lookup("user_id", bucket_of_user))
    keyed.sink_parquet(pl.PartitionBy(folder, key="bucket", include_key=False), compression="lz4", mkdir=True)
    return [
        pl.scan_parquet(sorted((folder / f"bucket={bucket}").iterdir()), glob=False, hive_partitioning=False)
        for bucket in buckets
    ]
