"""Parquet files of every type that a column can have, and those that a Parquet writer can be talked into."""

import datetime
import io
import random
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.fuzz.fields import VALUES
from benchmarks.fuzz.valid import N_ITEMS, Rows

_DAY = datetime.date(2011, 3, 14)
_NOON = datetime.datetime(2011, 3, 14, 12)


def _of(n: int) -> Mapping[str, Callable[[], pa.Array]]:
    """Name -> a column of n values of an unusual type."""
    texts = [f"t{row % 5}" for row in range(n)]
    return {
        "null": lambda: pa.nulls(n),
        "bool": lambda: pa.array([row % 2 == 0 for row in range(n)]),
        "int8": lambda: pa.array([row % 100 for row in range(n)], pa.int8()),
        "uint64": lambda: pa.array([2**64 - 1 - row for row in range(n)], pa.uint64()),
        "int64 edge": lambda: pa.array([(-(2**63), 2**63 - 1)[row % 2] for row in range(n)], pa.int64()),
        "float16": lambda: pa.array(np.arange(n, dtype=np.float16)),
        "float edge": lambda: pa.array([(np.nan, np.inf, -np.inf, 1e308, -0.0, 5e-324)[row % 6] for row in range(n)]),
        "float32": lambda: pa.array([row + 0.5 for row in range(n)], pa.float32()),
        "decimal": lambda: pa.array([Decimal(row) for row in range(n)], pa.decimal128(38, 10)),
        "decimal256": lambda: pa.array([Decimal(row) for row in range(n)], pa.decimal256(70, 2)),
        "date": lambda: pa.array([_DAY] * n),
        "date64": lambda: pa.array([_DAY] * n, pa.date64()),
        "time": lambda: pa.array([_NOON.time()] * n, pa.time64("us")),
        "timestamp s": lambda: pa.array([_NOON] * n, pa.timestamp("s")),
        "timestamp ns, zone": lambda: pa.array([_NOON] * n, pa.timestamp("ns", "America/New_York")),
        "timestamp, odd zone": lambda: pa.array([_NOON] * n, pa.timestamp("us", "+05:30")),
        "timestamp edge": lambda: pa.array([(-(2**63), 2**63 - 1)[row % 2] for row in range(n)], pa.timestamp("us")),
        "duration": lambda: pa.array([datetime.timedelta(1)] * n),
        "binary": lambda: pa.array([b"\xff\x00"] * n),
        "fixed binary": lambda: pa.array([b"\xff\x00"] * n, pa.binary(2)),
        "large text": lambda: pa.array(texts, pa.large_string()),
        "text view": lambda: pa.array(texts, pa.string_view()),
        "hostile text": lambda: pa.array([VALUES[row % len(VALUES)] for row in range(n)]),
        "long text": lambda: pa.array(["x" * (1 << 20), *texts[1:]]),
        "dictionary": lambda: pa.array(texts).dictionary_encode(),
        "dictionary of ints": lambda: pa.array([row % 5 for row in range(n)]).dictionary_encode(),
        "struct": lambda: pa.array([{"a": row, "b": [row]} for row in range(n)]),
        "empty struct": lambda: pa.array([{}] * n, pa.struct([])),
        "map": lambda: pa.array([[("a", row)] for row in range(n)], pa.map_(pa.string(), pa.int64())),
        "list": lambda: pa.array([[float(row)] * 3 for row in range(n)]),
        "list, uneven": lambda: pa.array([[float(row)] * (row % 4) for row in range(n)]),
        "list of nulls": lambda: pa.array([[None]] * n),
        "list of null": lambda: pa.array([[]] * n, pa.list_(pa.null())),
        "list, NaN": lambda: pa.array([[1.0, np.nan]] * n),
        "list of text": lambda: pa.array([["a", None]] * n),
        "list of bytes": lambda: pa.array([[b"\xff"]] * n),
        "list of times": lambda: pa.array([[2**63 - 1]] * n, pa.list_(pa.timestamp("us", "+01:00"))),
        "struct of dates": lambda: pa.array([{"a": 2**31 - 1}] * n, pa.struct([("a", pa.date32())])),
        "date edge": lambda: pa.array([(-(2**31), 2**31 - 1)[row % 2] for row in range(n)], pa.date32()),
        "timestamp ms edge": lambda: pa.array([(-(2**63), 2**63 - 1)[row % 2] for row in range(n)], pa.timestamp("ms")),
        "list of decimals": lambda: pa.array([[Decimal(row)] for row in range(n)]),
        "list of lists": lambda: pa.array([[[1.0], []]] * n),
        "list of structs": lambda: pa.array([[{"large": "u"}]] * n),
        "array": lambda: pa.array([[1.0, 2.0]] * n, pa.list_(pa.float32(), 2)),
        "array, nulls": lambda: pa.array(
            [[1.0, None] if row % 2 else None for row in range(n)], pa.list_(pa.float64(), 2)
        ),
        "array of none": lambda: pa.array([[]] * n, pa.list_(pa.float32(), 0)),
        "array of text": lambda: pa.array([["a", "b"]] * n, pa.list_(pa.string(), 2)),
        "deep": lambda: _deep(n),
    }


def _deep(n: int, depth: int = 40) -> pa.Array:
    kind, value = pa.int64(), 1
    for _ in range(depth):
        kind, value = pa.list_(kind), [value]
    return pa.array([value] * n, kind)


def odd_interactions(rows: Rows, rng: random.Random) -> tuple[bytes, str]:
    """Return a file of interactions with a column or two of another type, and what they are."""
    users, items, ratings, times = (list(column) for column in zip(*rows, strict=True))
    table = {
        "user_id": pa.array([f"u{user}" for user in users]),
        "item_id": pa.array([str(item + 1) for item in items]),
        "rating": pa.array([float(rating) for rating in ratings]),
        "event_time": pa.array(times),
    }
    return _with_odd(table, rng, more=("rating",))


def odd_items(rng: random.Random) -> tuple[bytes, str]:
    """Return a file of items with columns of another type, vectors among them, and what they are."""
    texts = {name: pa.array([f"{name} {n}" for n in range(N_ITEMS)]) for name in ("title", "brand", "category")}
    table = {"item_id": pa.array([str(n + 1) for n in range(N_ITEMS)]), **texts}
    table["price"] = pa.array([n + 0.5 for n in range(N_ITEMS)])
    return _with_odd(
        table, rng, more=("description", "image_url", "clip", "a/b", "../v", "stock", "numeric", "tfidf", "", "v_0")
    )


def _with_odd(table: dict[str, pa.Array], rng: random.Random, *, more: tuple[str, ...]) -> tuple[bytes, str]:
    n = len(next(iter(table.values())))
    kinds, said = _of(n), []
    for _ in range(rng.choice((1, 1, 2, 3))):
        name, kind = rng.choice((*table, *more)), rng.choice(tuple(kinds))
        table[name] = kinds[kind]()
        said.append(f"{name}: {kind}")
    if rng.random() < 0.1:
        table |= {f"v_{place}": pa.array([0.5] * n) for place in range(rng.choice((2, 3, 300)))}
    return _written(pa.table(table), rng), ", ".join(said)


def _written(table: pa.Table, rng: random.Random) -> bytes:
    if rng.random() < 0.1:
        table = table.slice(0, 0)
    options: dict[str, Any] = {
        "compression": rng.choice(("snappy", "gzip", "zstd", "lz4", "brotli", "none")),
        "row_group_size": rng.choice((1, 7, 1_000)),
        "use_dictionary": rng.random() < 0.5,
        "version": rng.choice(("1.0", "2.4", "2.6")),
        "data_page_version": rng.choice(("1.0", "2.0")),
        "use_deprecated_int96_timestamps": rng.random() < 0.1,
        "store_schema": rng.random() < 0.8,
    }
    buffer = io.BytesIO()
    try:
        pq.write_table(table, buffer, **options)
    except (pa.ArrowException, OverflowError):  # there are types that not even its writer writes
        buffer = io.BytesIO()
        pq.write_table(table.select([]), buffer)
    return buffer.getvalue()


def odd_shape(rows: Rows, rng: random.Random) -> tuple[bytes, str]:
    """Return a Parquet file whose types are fine and whose shape is not."""
    users, items, ratings, times = (list(column) for column in zip(*rows, strict=True))
    frame = pl.DataFrame({"user_id": users, "item_id": items, "rating": ratings, "event_time": times})
    table = frame.to_arrow()
    shapes: dict[str, Callable[[], pa.Table]] = {
        "no columns": lambda: table.select([]),
        "no rows": lambda: table.slice(0, 0),
        "one row": lambda: table.slice(0, 1),
        "10,000 columns": lambda: frame.with_columns(
            pl.lit(0, pl.Int8).alias(f"x{n}") for n in range(10_000)
        ).to_arrow(),
        "a column twice": lambda: pa.table([*table.columns, table["user_id"]], names=[*table.column_names, "user_id"]),
        "names with dots": lambda: table.rename_columns(["user.id", "item_id", "rating", "event_time"]),
        "odd metadata": lambda: table.replace_schema_metadata({b"ARROW:schema": b"rubbish", b"\xff": b"\xff"}),
        "our own names": lambda: pa.table(
            [*table.columns, table["rating"]], names=[*table.column_names, "recsys_polars:line"]
        ),
    }
    said = rng.choice(tuple(shapes))
    buffer = io.BytesIO()
    pq.write_table(shapes[said](), buffer)
    return buffer.getvalue(), said
