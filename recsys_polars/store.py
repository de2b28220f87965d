"""The feature store on disk: Parquet tables, their tensors and a manifest, by generation. Knows no step.

    STORE/<generation>/*.parquet      tables; *.safetensors: float32 copies of their vectors, to be memory-mapped
    STORE/rejects/<table>-<generation>.parquet   copies of the rejects of each generation, to be found at once
    STORE/models/KIND                 see `models_folder`

How a generation is published: `artefacts`.
"""

import shutil
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

from recsys_polars.artefacts import (
    Stage,
    checked_file,
    fingerprint,
    generations,
    held_generation,
    staged,
)
from recsys_polars.errors import ArtefactError
from recsys_polars.guards import Hold, refuse_link
from recsys_polars.tables import Vectors, check

_REJECTS = "rejects-"
VECTOR_ROW_GROUP = 50_000
"""Rows of a Parquet row group: larger ones with vectors blow up a streaming reader."""


@dataclass(frozen=True)
class Store:
    """One generation of a store, open for reading; it is not removed before this is gone.

    Attributes:
        path: the store's folder.
        generation: name of the generation.
        manifest: what its `manifest.json` holds.
        models: the models of the store that were found so far, by kind; see `recipes.trained`.
    """

    path: Path
    generation: str
    manifest: Mapping[str, Any] = field(repr=False)
    _held: Hold | None = field(default=None, repr=False, compare=False)
    models: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    _checked: dict[str, Path] = field(default_factory=dict, repr=False, compare=False)

    @property
    def identity(self) -> str:
        """The generation and a fingerprint of its files: what models and predictions say they were made for."""
        return identity_of(self.generation, self.manifest)

    @property
    def models_folder(self) -> Path:
        """Where models lie, one folder a kind, beside the generations.

        Raises:
            ArtefactError: it is a symbolic link.
        """
        return refuse_link(self.path / "models")

    def scan(self, table: str) -> pl.LazyFrame:
        """Return a table, unread.

        Raises:
            ArtefactError: this generation has no such table, or it is damaged.
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
        """The path of a file, whose bytes are checked when it is first asked for."""
        if name not in self._checked:
            self._checked[name] = checked_file(self.path / self.generation, name, self.manifest)
        return self._checked[name]


def identity_of(generation: str, manifest: Mapping[str, Any]) -> str:
    """See `Store.identity`."""
    return f"{generation}-{fingerprint(manifest['files'])}"


def open_store(path: Path) -> Store:
    """Open the current generation of the store at `path`.

    Raises:
        ArtefactError: no store there, a damaged one, or one of another format version.
    """
    if not (path / "CURRENT").is_file():
        raise ArtefactError(f"{path}: expected a feature store, found none; build one with build-features --out {path}")
    store = Store(path, *held_generation(path))
    blocks = store.manifest.get("blocks")
    if not (isinstance(blocks, list) and blocks and all(isinstance(block, str) for block in blocks)):
        raise ArtefactError(
            f"{path}: expected the names of vector blocks in the manifest, found {blocks!r}; build it again"
        )
    return store


@dataclass(frozen=True)
class StoreWriter:
    """A generation of a store being built; it becomes readable when the block of `build_store` ends without error."""

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
        # Float32 vectors hardly compress, and zstd takes twice as long to find that out.
        with_vectors = any(isinstance(dtype, pl.Array) for dtype in frame.dtypes)
        path = self.stage.folder / f"{table}.parquet"
        frame.write_parquet(path, row_group_size=VECTOR_ROW_GROUP, compression="lz4" if with_vectors else "zstd")
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
        name = f"{_REJECTS}{table}.parquet"
        found.write_parquet(self.stage.folder / name)
        self.stage.add_file(name, rows=found.height)
        self.stage.facts.setdefault("rejects", {})[table] = {"file": name, "rows": found.height}


@contextmanager
def build_store(path: Path) -> Iterator[StoreWriter]:
    """Build a new generation of the store at `path`; an error inside the block leaves the store as it was.

    Raises:
        ArtefactError: another build is at work there, or the folder is something else than a store.
    """
    refuse_link(path / "rejects")
    with staged(path, then=lambda: show_rejects(path)) as stage:
        yield StoreWriter(stage)


def show_rejects(path: Path) -> None:
    """Have `rejects/` hold the rejects of the generations that are kept, and no others; under the caller's lock."""
    shown = refuse_link(path / "rejects")
    kept = rejects_of(path)
    if kept:
        shown.mkdir(exist_ok=True)
    for old in shown.glob("*.parquet"):
        if old.name not in kept:
            old.unlink()
    beside = shown / ".copy.tmp"
    beside.unlink(missing_ok=True)
    for name, file in kept.items():
        if not (shown / name).exists():
            shutil.copyfile(file, beside)
            beside.replace(shown / name)


def rejects_of(path: Path) -> dict[str, Path]:
    """Return the files of rejects in the generations of a store, by what they are called in `rejects/`."""
    return {
        f"{file.stem.removeprefix(_REJECTS)}-{generation}.parquet": file
        for generation in generations(path)
        for file in (path / generation).glob(f"{_REJECTS}*.parquet")
    }
