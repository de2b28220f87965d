"""The cases of what the program wrote itself, damaged since: stores, models, predictions; and of lists of ids."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from benchmarks.fuzz import columns, fields, mutations
from benchmarks.fuzz.inputs import HOSTILE_IDS, Case, Command
from benchmarks.fuzz.valid import log
from recsys_polars.sealing import seal

_JSON_VALUES = (
    *(
        None,
        True,
        -1,
        0,
        2**70,
        1.5,
        "",
        "x",
        [],
        {},
        [None],
        {"a": 1},
        "../../secret",
        "/etc/passwd",
        "\x00",
        "😀",
        "x" * 10_000,
    ),
)


def damaged_store(rng: random.Random, folder: Path, world: Path) -> Case:
    """Damage one file of a store or of a model in it."""
    store = _copy(world, folder)
    files = sorted(path for path in store.rglob("*") if path.is_file() and path.name != ".lock")
    path = rng.choice(files)
    kinds: dict[str, Callable[[], object]] = {
        "flip": lambda: path.write_bytes(mutations.flip_bytes(path.read_bytes(), rng)),
        "truncate": lambda: path.write_bytes(mutations.truncate(path.read_bytes(), rng)),
        "insert": lambda: path.write_bytes(mutations.insert(path.read_bytes(), rng)),
        "remove": path.unlink,
        "folder": lambda: (path.unlink(), path.mkdir()),
        "pipe": lambda: (path.unlink(), os.mkfifo(path)),
        "broken link": lambda: (path.unlink(), path.symlink_to("nowhere")),
        "other file": lambda: shutil.copyfile(other, path) if (other := rng.choice(files)) != path else None,
    }
    kind = rng.choice(tuple(kinds))
    kinds[kind]()
    return Case(_meet(store, folder, world, rng), f"{path.relative_to(store)}: {kind}")


def changed_manifest(rng: random.Random, folder: Path, world: Path) -> Case:
    """Change what a manifest of the store or of a model says, and seal it: types, names that lead out of the store."""
    store = _copy(world, folder)
    (folder / "secret").write_text("do not read")
    manifests = sorted(store.rglob("manifest.json"))
    path = rng.choice((manifests[0], *manifests))
    manifest = json.loads(path.read_text())
    del manifest["sha256"]
    note = _change(manifest, rng)
    path.write_text(seal(manifest))
    return Case(_meet(store, folder, world, rng), f"{path.relative_to(store)}: {note}")


def _change(tree: Any, rng: random.Random) -> str:
    """Replace, rename or remove one value somewhere in a tree of JSON."""
    key = rng.choice(list(tree)) if isinstance(tree, dict) else rng.randrange(len(tree))
    if isinstance(tree[key], dict | list) and tree[key] and rng.random() < 0.75:
        return f"{key} > {_change(tree[key], rng)}"
    what = rng.randrange(4)
    if what == 0:
        del tree[key]
        return f"{key} removed"
    if what == 1 and isinstance(tree, dict):
        name = rng.choice(("../../secret", "/etc/passwd", "", ".", "..", "a\x00b", f"./{key}", f"../{key}"))
        tree[name] = tree.pop(key)
        return f"{key} renamed to {name!r}"
    tree[key] = rng.choice(_JSON_VALUES)
    return f"{key} = {str(tree[key])[:40]!r}"


def damaged_predictions(rng: random.Random, folder: Path, world: Path) -> Case:
    """Judge a predictions file that is damaged, or another file."""
    store, path = _copy(world, folder), folder / "preds.parquet"
    lists = pl.read_parquet(world / "preds.parquet")
    kinds: dict[str, Callable[[], object]] = {
        "bytes": lambda: path.write_bytes(rng.choice(mutations.BYTES)((world / "preds.parquet").read_bytes(), rng)),
        "odd types": lambda: path.write_bytes(columns.odd_interactions(log(rng), rng)[0]),
        "odd metadata": lambda: _with_metadata(world / "preds.parquet", path, rng),
        "odd column": lambda: _with_odd_column(lists, rng).write_parquet(path),
        "rows twice": lambda: pl.concat([lists, lists]).write_parquet(path),
        "no rows": lambda: lists.clear().write_parquet(path),
        "nulls": lambda: lists.with_columns(
            pl.lit(None, lists.schema[name := rng.choice(lists.columns)]).alias(name)
        ).write_parquet(path),
        "pipe": lambda: os.mkfifo(path),
        "broken link": lambda: path.symlink_to("nowhere"),
        "nothing": lambda: None,
    }
    kind = rng.choice(tuple(kinds))
    kinds[kind]()
    return Case((("evaluate", str(path), "--store", str(store)),), kind)


def _with_metadata(source: Path, path: Path, rng: random.Random) -> None:
    table = pq.read_table(source)
    run = json.loads(pq.read_metadata(source).metadata[b"recsys_polars"])
    if rng.random() < 0.8:
        _change(run, rng)
    said = rng.choice((json.dumps(run), json.dumps(run), "[" * 5_000, "\x00", "null", ""))
    pq.write_table(table.replace_schema_metadata({"recsys_polars": said}), path)


def _with_odd_column(lists: pl.DataFrame, rng: random.Random) -> pl.DataFrame:
    name = rng.choice(lists.columns)
    values = (
        pl.lit([1]),
        pl.lit("x"),
        pl.lit(0),
        pl.lit(b"\xff"),
        pl.lit(float("nan")),
        pl.struct("user_id"),
        pl.lit(None),
    )
    return lists.with_columns(rng.choice(values).alias(name)) if rng.random() < 0.8 else lists.drop(name)


def lists_of_ids(rng: random.Random, folder: Path, world: Path) -> Case:
    """Rank for users, or among candidates, out of a hostile file."""
    store, option = _copy(world, folder), rng.choice(("--users", "--candidates"))
    column = "user_id" if option == "--users" else "item_id"
    path = folder / f"ids{rng.choice(('.txt', '.csv', '.tsv', '.parquet', '.csv.gz', ''))}"
    ids = [*map(str, range(1, 9)), *rng.choices(HOSTILE_IDS, k=4), *rng.choices(fields.VALUES, k=2)]
    frame = pl.DataFrame({column: ids}, schema={column: pl.String})
    kinds: dict[str, Callable[[], object]] = {
        "ids": lambda: _write_ids(frame, path),
        "damaged": lambda: (
            _write_ids(frame, path),
            path.write_bytes(rng.choice(mutations.BYTES)(path.read_bytes(), rng)),
        ),
        "odd types": lambda: path.write_bytes(columns.odd_interactions(log(rng), rng)[0]),
        "no rows": lambda: _write_ids(frame.clear(), path),
        "other column": lambda: _write_ids(frame.rename({column: "id"}), path),
        "empty": path.touch,
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "broken link": lambda: path.symlink_to("nowhere"),
        "nothing": lambda: None,
    }
    kind = rng.choice(("ids", "damaged", "damaged", *kinds))
    kinds[kind]()
    out = str(folder / "out.parquet")
    return Case((("rank", "--store", str(store), option, str(path), "--out", out),), f"{option} {path.name}: {kind}")


def _write_ids(frame: pl.DataFrame, path: Path) -> None:
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    elif path.suffix in {".csv", ".tsv"}:
        frame.write_csv(path, separator="," if path.suffix == ".csv" else "\t")
    else:
        path.write_text("\n".join(frame.to_series()), errors="surrogatepass")


def _copy(world: Path, folder: Path) -> Path:
    return Path(shutil.copytree(world / "store", folder / "store"))


def _meet(store: Path, folder: Path, world: Path, rng: random.Random) -> tuple[Command, ...]:
    """Return the commands that read a store, and go on after one of them refused."""
    at = ("--store", str(store))
    train: Command = ("train", "--model", "popularity", *at)
    rank: Command = ("rank", *at, "--out", str(folder / "out.parquet"), "--users", rng.choice(("all", "test")))
    return (rank, train, ("evaluate", str(world / "preds.parquet"), *at), ("audit-leaks", str(store)))
