"""Vectors that were encoded once, kept by the sha256 of their content: files that are never changed, only added.

FOLDER/<sha256 of the file>.parquet     key String, vector Array(Float32, width)
"""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import polars as pl

from recsys_polars.disk import sha256, sync
from recsys_polars.tables import Vectors

_UNFINISHED = ".unfinished.tmp"


def encodings(keys: Collection[str], vectors: Vectors) -> pl.DataFrame:
    """Return vectors, shape (n, width), with their keys as a table."""
    return pl.DataFrame(
        {
            "key": pl.Series(keys, dtype=pl.String),
            "vector": pl.Series(vectors, dtype=pl.Array(pl.Float32, vectors.shape[1])),
        }
    )


def read_encodings(folder: Path, keys: Collection[str], *, width: int) -> pl.DataFrame:
    """Return the vectors of the keys that are kept, one row each.

    A file whose bytes are not what its name says is removed: what it held is encoded again, to the same bits.
    """
    (folder / _UNFINISHED).unlink(missing_ok=True)
    wanted = pl.DataFrame({"key": list(keys)}, schema={"key": pl.String})
    frames = [encodings([], np.empty((0, width), dtype=np.float32))]
    for path in sorted(folder.glob("*.parquet")):
        if sha256(path) == path.stem:
            frames.append(pl.read_parquet(path).join(wanted, on="key", how="semi"))
        else:
            path.unlink()
    return pl.concat(frames).unique("key", keep="first", maintain_order=True)


def keep_encodings(folder: Path, found: pl.DataFrame) -> None:
    """Add vectors: all of them are kept, or none."""
    if found.is_empty():
        return
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / _UNFINISHED
    found.write_parquet(unfinished, compression="lz4")
    sync(unfinished)
    unfinished.replace(folder / f"{sha256(unfinished)}.parquet")
    sync(folder)
