"""What `--engine spark` moves, against what the model of it says: `python -m benchmarks.spark`.

The data are those of `benchmarks.scale`. Rows follow from the counts of a store (`spark_model`); the bytes of a row are
fitted at the smallest size and tried on the others. Tables of over 8 kB are joined by shuffles, as those of a large
store are, and small partitions are not put together.
"""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from benchmarks.event_log import Moved, read_moved
from benchmarks.scale import write_items, write_log
from benchmarks.spark_model import (
    DRIVER,
    FILES,
    ITEM_BYTES,
    PAIR_NANOSECONDS,
    SHUFFLES,
    Sizes,
    Volume,
    core_hours,
    file_rows,
    predicted,
    sizes_of,
)
from benchmarks.whole import run
from recsys_polars.store import open_store

SCANS, PARTITIONS = 2, 16
_CONF = {
    "spark.eventLog.enabled": "true",
    "spark.eventLog.rolling.enabled": "false",
    "spark.eventLog.compress": "false",
    "spark.sql.autoBroadcastJoinThreshold": "8192",
    "spark.sql.adaptive.coalescePartitions.enabled": "false",
    "spark.sql.shuffle.partitions": str(PARTITIONS),
}
LARGER = ((1e6, 1e6), (1e8, 1e6), (1e9, 1e7))
"""Users and items."""
_SUMS = ("build: ", "rank: ", "driver: ", "store: ")


def measure(folder: Path, n_rows: int) -> tuple[Sizes, dict[str, Volume]]:
    """Build a store on Spark and rank all its users by popularity, which moves what any model but `auto` does."""
    write_log(folder, n_rows, suffix="parquet")
    write_items(folder / "items.parquet", n_rows // 100)
    raw = ("--interactions", folder / "*" / "*.parquet", "--items", folder / "items.parquet", "--text", "none")
    store = ("--store", folder / "store")
    run("build-features", *raw, "--out", folder / "store", *_spark(folder / "build-log"))
    run("train", "--model", "popularity", *store)
    run("rank", "--users", "all", *store, "--out", folder / "lists.parquet", *_spark(folder / "rank-log"))
    return read_measured(folder)


def read_measured(folder: Path) -> tuple[Sizes, dict[str, Volume]]:
    """Return the sizes of the store in a folder, and what the event logs there say."""
    logs = [log for name in ("build-log", "rank-log") for log in (folder / name).iterdir()]
    moved = {step: moved for log in logs for step, moved in read_moved(log).items()}
    store = open_store(folder / "store")
    sizes = sizes_of(store, scans=SCANS, partitions=PARTITIONS)
    files = {name: store.manifest["files"][file]["bytes"] for file, name in FILES.items()}
    rows = dict(zip(files, file_rows(sizes).values(), strict=True))
    return sizes, {**volumes(moved), **{name: Volume(rows[name], files[name]) for name in files}}


def volumes(moved: Mapping[str, Moved]) -> dict[str, Volume]:
    """Return what was shuffled, by step, and what workers wrote for the driver."""
    shuffled = {name: Volume(moved[step].shuffled_rows, moved[step].shuffled_bytes) for step, name in SHUFFLES.items()}
    read = {name: Volume(moved[table].written_rows, moved[table].written_bytes) for table, name in DRIVER.items()}
    return {**shuffled, **read}


def _spark(log: Path) -> Iterator[str]:
    log.mkdir()
    yield from ("--engine", "spark", "--spark-master", f"local[{SCANS}]")
    for name, value in {**_CONF, "spark.eventLog.dir": log.absolute().as_uri()}.items():
        yield from ("--spark-conf", f"{name}={value}")


def row_bytes(measured: Mapping[str, Volume]) -> dict[str, float]:
    """Return the bytes of a row in each step."""
    return {step: volume.n_bytes / volume.rows for step, volume in measured.items()}


def _print_compared(measured: Mapping[str, Volume], model: Mapping[str, Volume]) -> None:
    click.echo("| step | rows | by the model | off | MB | by the model | off |\n|---|---|---|---|---|---|---|")
    for step in measured:
        click.echo(_line(step, measured[step], model[step]))
    for start in _SUMS:
        click.echo(_line(f"{start}all", _sum(measured, start), _sum(model, start)))


def _sum(volumes: Mapping[str, Volume], start: str) -> Volume:
    found = [volume for step, volume in volumes.items() if step.startswith(start)]
    return Volume(sum(volume.rows for volume in found), sum(volume.n_bytes for volume in found))


def _line(step: str, measured: Volume, model: Volume) -> str:
    rows = f"{measured.rows:,.0f} | {model.rows:,.0f} | {model.rows / measured.rows - 1:+.1%}"
    n_bytes = f"{measured.n_bytes / 1e6:,.2f} | {model.n_bytes / 1e6:,.2f}"
    return f"| {step} | {rows} | {n_bytes} | {model.n_bytes / measured.n_bytes - 1:+.1%} |"


def _print_larger(sizes: Sizes, fitted: Mapping[str, float]) -> None:
    """What the model says of sizes that were not measured, by the bytes of a row at the largest one that was."""
    columns = [sizes.grown(users, items) for users, items in LARGER]
    models = [predicted(column, fitted) for column in columns]
    lines = [
        ("users / items", [f"{s.users:,.0f} / {s.items:,.0f}" for s in columns]),
        ("interactions", [f"{s.rows:,.0f}" for s in columns]),
        ("shuffle partitions", [f"{s.partitions:,.0f}" for s in columns]),
    ]
    lines += [
        (step, [f"{model[step].rows:.2e} rows, {_size(model[step].n_bytes)}" for model in models]) for step in models[0]
    ]
    lines += [(f"{start}all", [_size(_sum(model, start).n_bytes) for model in models]) for start in _SUMS]
    lines += [
        (f"items in a worker process, {kind}", [_size(s.items * n_bytes) for s in columns])
        for kind, n_bytes in ITEM_BYTES.items()
    ]
    lines += [
        (f"core-hours, {kind}", [f"{core_hours(kind, s.users, s.items):,.3g}" for s in columns])
        for kind in PAIR_NANOSECONDS
    ]
    click.echo(f"| |{' |' * len(columns)}\n|---|{'---|' * len(columns)}")
    for name, cells in lines:
        click.echo(f"| {name} | {' | '.join(cells)} |")


def _size(n_bytes: float) -> str:
    unit = next((unit for unit in ("TB", "GB") if n_bytes >= {"TB": 1e12, "GB": 1e9}[unit]), "MB")
    return f"{n_bytes / {'TB': 1e12, 'GB': 1e9, 'MB': 1e6}[unit]:,.3g} {unit}"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rows", "all_rows", type=int, multiple=True, default=(100_000, 300_000, 1_000_000), show_default=True)
def main(all_rows: tuple[int, ...]) -> None:
    """Measure some sizes, the smallest first; compare with the model, and say what larger ones would move."""
    fitted: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        for n_rows in sorted(all_rows):
            folder = Path(name) / str(n_rows)
            folder.mkdir()
            sizes, measured = measure(folder, n_rows)
            fitted = fitted or row_bytes(measured)
            click.echo(f"\n{n_rows:,} rows, {sizes.users:,} users, {sizes.items:,} items\n")
            _print_compared(measured, predicted(sizes, fitted))
        click.echo("\nFrom the largest size, by the model, not measured:\n")
        _print_larger(sizes, row_bytes(measured))


if __name__ == "__main__":
    main()
