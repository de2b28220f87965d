"""How building and appending grow with the rows: `python -m benchmarks.scale --rows 10_000_000`.

The log is in the order of time, as logs are; the newest hundredth is what is appended. A twentieth of its rows are
users, a hundredth are items, each with a vector of 64 numbers.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from polars.testing import assert_frame_equal

from benchmarks.whole import Step, run
from recsys_polars.store import open_store

DIMENSIONS = 64
_ROWS_AT_ONCE, _ITEMS_AT_ONCE = 2_000_000, 50_000
_FIRST, _LAST = 1_300_000_000, 1_600_000_000
_TABLES = (
    "interactions",
    "items",
    "labelled",
    "repeats",
    "filtered",
    "item_features_valid",
    "item_features",
    "user_means",
)

_WRITE = {"parquet": pl.DataFrame.write_parquet, "csv": pl.DataFrame.write_csv, "jsonl": pl.DataFrame.write_ndjson}


def write_log(folder: Path, n_rows: int, *, suffix: str) -> None:
    """Write `old/` and `new/`: 99 hundredths of the log and the rest of it, in files of two million rows."""
    chance = np.random.default_rng(0)
    n_users, n_items, n_old = n_rows // 20, n_rows // 100, n_rows - n_rows // 100
    for name, start, stop in (("old", 0, n_old), ("new", n_old, n_rows)):
        (folder / name).mkdir()
        for begin in range(start, stop, _ROWS_AT_ONCE):
            rows = _log(chance, begin, min(begin + _ROWS_AT_ONCE, stop), n_rows, n_users, n_items)
            path = folder / name / f"{begin:012d}.{suffix}"
            _WRITE[suffix](rows, path)


def _log(chance: np.random.Generator, begin: int, end: int, n_rows: int, n_users: int, n_items: int) -> pl.DataFrame:
    """Some users are busy; items are popular as 1 / rank; ids have no order that the work could profit from."""
    n = end - begin
    users = (n_users * chance.random(n) ** 1.7).astype(np.int64)
    items = np.minimum((n_items ** chance.random(n) - 1).astype(np.int64), n_items - 1)
    times = _FIRST + (begin + np.sort(chance.random(n)) * n) / n_rows * (_LAST - _FIRST)
    numbers = pl.DataFrame({"user": users * 2_654_435_761 % 2**32, "item": items * 2_654_435_761 % 2**32})
    return numbers.select(
        user_id=pl.format("U{}", pl.col("user").cast(pl.String).str.zfill(10)),
        item_id=pl.format("B{}", pl.col("item").cast(pl.String).str.zfill(10)),
        rating=pl.Series(chance.integers(1, 6, n), dtype=pl.Float32),
        timestamp=pl.Series(times.astype(np.int64)),
    )


def write_items(path: Path, n_items: int) -> None:
    """Write the metadata of every item, with a vector."""
    chance = np.random.default_rng(1)
    texts = {name: pa.string() for name in ("item_id", "title", "brand", "category")}
    schema = pa.schema([*texts.items(), ("price", pa.float64()), ("clip", pa.list_(pa.float32(), DIMENSIONS))])
    with pq.ParquetWriter(path, schema) as writer:
        for begin in range(0, n_items, _ITEMS_AT_ONCE):
            numbers = np.arange(begin, min(begin + _ITEMS_AT_ONCE, n_items))
            columns = {
                "item_id": [f"B{number * 2_654_435_761 % 2**32:010d}" for number in numbers],
                "title": [f"Title of item {number}" for number in numbers],
                "brand": [f"brand {number % 997}" for number in numbers],
                "category": [f"category {number % 31}" for number in numbers],
                "price": chance.random(len(numbers)) * 100,
            }
            vectors = chance.standard_normal(len(numbers) * DIMENSIONS, dtype=np.float32)
            columns["clip"] = pa.FixedSizeListArray.from_arrays(vectors, DIMENSIONS)
            writer.write_table(pa.table(columns, schema=schema))


def measure(folder: Path, n_rows: int, *, suffix: str, memory: str, is_appending: bool) -> Iterator[Step]:
    """Build from the whole log; or build from its old part, append the new part, and compare with the whole."""
    write_log(folder, n_rows, suffix=suffix)
    write_items(folder / "items.parquet", n_rows // 100)
    common = ("--items", folder / "items.parquet", "--text", "none", "--memory", memory)
    yield run("build-features", "--interactions", folder / "*" / f"*.{suffix}", *common, "--out", folder / "whole")
    if is_appending:
        run("build-features", "--interactions", folder / "old" / f"*.{suffix}", *common, "--out", folder / "store")
        yield run("build-features", "--append", folder / "new", "--memory", memory, "--out", folder / "store")
        _check_equal(folder / "store", folder / "whole")


def _check_equal(left: Path, right: Path) -> None:
    """Compare the tables of two stores, row group by row group."""
    for table in _TABLES:
        files = [
            pq.ParquetFile(store.path / store.generation / f"{table}.parquet")
            for store in map(open_store, (left, right))
        ]
        for group in range(max(file.num_row_groups for file in files)):
            assert_frame_equal(*(pl.DataFrame(file.read_row_group(group)) for file in files))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rows", "n_rows", type=int, default=10_000_000, show_default=True)
@click.option("--format", "suffix", type=click.Choice(list(_WRITE)), default="parquet", show_default=True)
@click.option("--memory", default="2GB", show_default=True)
@click.option("--append", "is_appending", is_flag=True, help="Append the newest hundredth, and compare.")
@click.option("--folder", type=click.Path(path_type=Path), help="For the files: some 60 bytes a row, and the store.")
def main(n_rows: int, suffix: str, memory: str, folder: Path | None, *, is_appending: bool) -> None:
    """Measure a build, and an append."""
    parent = Path(tempfile.mkdtemp(dir=folder))
    try:
        click.echo(f"{n_rows:,} rows, {n_rows // 20:,} users, {n_rows // 100:,} items, {suffix}, --memory {memory}\n")
        click.echo("| step | seconds | peak resident, MB |\n|---|---|---|")
        for step in measure(parent, n_rows, suffix=suffix, memory=memory, is_appending=is_appending):
            click.echo(f"| {step.name} | {step.seconds:,.1f} | {step.peak_megabytes:,.0f} |")
    finally:
        shutil.rmtree(parent)


if __name__ == "__main__":
    main()
