"""The feature store on disk: Parquet tables, their tensors and a manifest, by generation. Knows no step.

    STORE/<generation>/*.parquet      tables; *.safetensors: float32 copies of their vectors, to be memory-mapped
    STORE/rejects/<table>-<generation>.parquet
    STORE/models/KIND                 see `models_folder`

How a generation is published: `artefacts`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dataframely as dy
import numpy as np
import polars as pl
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from recsys_polars.artefacts import Stage, current_generation, generations, sha256, sha256_of_text, staged, sync
from recsys_polars.errors import ArtefactError
from recsys_polars.tables import Vectors, check

VECTOR_ROW_GROUP = 50_000
"""Rows of a Parquet row group: larger ones with vectors blow up a streaming reader."""


@dataclass(frozen=True)
class Store:
    """One generation of a store, open for reading.

    Attributes:
        path: the store's folder.
        generation: name of the generation.
        manifest: what its `manifest.json` holds.
    """

    path: Path
    generation: str
    manifest: Mapping[str, Any] = field(repr=False)

    @property
    def identity(self) -> str:
        """The generation and a fingerprint of its files: what models and predictions say they were made for."""
        sums = "".join(f"{name}{entry['sha256']}" for name, entry in sorted(self.manifest["files"].items()))
        return f"{self.generation}-{sha256_of_text(sums)[:12]}"

    @property
    def models_folder(self) -> Path:
        """Where models lie, one folder a kind, beside the generations."""
        return self.path / "models"

    def scan(self, table: str) -> pl.LazyFrame:
        """Return a table, unread.

        Raises:
            ArtefactError: this generation has no such table.
        """
        return pl.scan_parquet(self._file(f"{table}.parquet"))

    def tensors(self, table: str) -> dict[str, Vectors]:
        """Return the vectors of a table by name, memory-mapped.

        Raises:
            ArtefactError: this generation has no vectors for that table, or their file is damaged.
        """
        path = self._file(f"{table}.safetensors")
        try:
            # The torch reader maps the file; the numpy one would copy it.
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name).numpy() for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ArtefactError(f"{path}: damaged ({error}); build the store again") from error

    def _file(self, name: str) -> Path:
        path = self.path / self.generation / name
        if name not in self.manifest["files"] or not path.is_file():
            raise ArtefactError(f"{path}: not in this store; build it again with this version")
        return path


def open_store(path: Path) -> Store:
    """Open the current generation of the store at `path`.

    Raises:
        ArtefactError: no store there, a damaged one, or one of another format version.
    """
    if not (path / "CURRENT").is_file():
        raise ArtefactError(f"{path}: expected a feature store, found none; build one with build-features --out {path}")
    return Store(path, *current_generation(path))


@dataclass(frozen=True)
class StoreWriter:
    """A generation of a store being built; it becomes readable when the block of `build_store` ends without error."""

    path: Path
    stage: Stage

    def scan(self, table: str) -> pl.LazyFrame:
        """Return a table already written, unread."""
        return pl.scan_parquet(self.stage.folder / f"{table}.parquet")

    def write(self, table: str, frame: pl.DataFrame, contract: type[dy.Schema]) -> None:
        """Write a table in the order of its rows, once it keeps its contract.

        Raises:
            TableError: it doesn't.
        """
        check(contract, frame, name=table)
        frame.write_parquet(self.stage.folder / f"{table}.parquet", row_group_size=VECTOR_ROW_GROUP)
        columns = {name: str(dtype) for name, dtype in frame.schema.items()}
        self.stage.add_file(f"{table}.parquet", rows=frame.height, columns=columns)

    def write_tensors(self, table: str, tensors: Mapping[str, Vectors]) -> None:
        """Write the float32 copy of a table's vectors, by name; rows in the order of the table."""
        contiguous = {name: np.ascontiguousarray(tensor, dtype=np.float32) for name, tensor in tensors.items()}
        save_file(contiguous, self.stage.folder / f"{table}.safetensors")
        shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
        self.stage.add_file(f"{table}.safetensors", shapes=shapes)

    def write_rejects(self, table: str, rows: pl.LazyFrame) -> None:
        """Write the rows that broke a contract, with the rule that they broke; nothing where there are none."""
        found = rows.collect()
        if found.is_empty():
            return
        target = self.path / "rejects" / f"{table}-{self.stage.generation}.parquet"
        target.parent.mkdir(exist_ok=True)
        found.write_parquet(target)
        sync(target)
        entry = {"file": target.name, "rows": found.height, "sha256": sha256(target)}
        self.stage.facts.setdefault("rejects", {})[table] = entry


@contextmanager
def build_store(path: Path) -> Iterator[StoreWriter]:
    """Build a new generation of the store at `path`; an error inside the block leaves the store as it was.

    Raises:
        ArtefactError: another build is at work there, or the folder is something else than a store.
    """
    try:
        with staged(path) as stage:
            yield StoreWriter(path, stage)
    finally:
        _forget_rejects_without_generation(path)


def _forget_rejects_without_generation(path: Path) -> None:
    if (path / "rejects").is_dir():
        kept = generations(path)
        for rejects in (path / "rejects").glob("*.parquet"):
            if rejects.stem.rsplit("-", 1)[-1] not in kept:
                rejects.unlink()
