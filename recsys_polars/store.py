"""The feature store on disk: Parquet tables, their tensors and a manifest, by generation. Knows no step.

    STORE/CURRENT                     the name of the generation to read
    STORE/<generation>/*.parquet      tables, *.safetensors: float32 copies of their vectors, to be memory-mapped
    STORE/<generation>/manifest.json  written last: format version, files with sha256, parameters, inputs, steps
    STORE/rejects/<table>-<generation>.parquet
    STORE/models/KIND                 see `models_folder`

A generation is built in a staging folder, synced and renamed; then CURRENT is replaced: nobody reads half a store.
"""

import fcntl
import hashlib
import json
import os
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

from recsys_polars.errors import ArtefactError
from recsys_polars.tables import Vectors, check

FORMAT_VERSION = 1
KEPT_GENERATIONS = 2
VECTOR_ROW_GROUP = 50_000
"""Rows of a Parquet row group: larger ones with vectors blow up a streaming reader."""


@dataclass(frozen=True)
class Store:
    """One generation of a store, open for reading.

    Attributes:
        path: the store's folder.
        generation: name of the generation.
        manifest: what `manifest.json` holds.
    """

    path: Path
    generation: str
    manifest: Mapping[str, Any] = field(repr=False)

    @property
    def folder(self) -> Path:
        """The generation's own folder."""
        return self.path / self.generation

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
        """Return the vectors of a table by name, memory-mapped: rows in the order of the table.

        Raises:
            ArtefactError: this generation has no vectors for that table, or their file is damaged.
        """
        path = self._file(f"{table}.safetensors")
        try:
            # The torch reader maps the file; the numpy one would copy it.
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name).numpy() for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ArtefactError(f"{path}: damaged, build the store again ({error})") from error

    def _file(self, name: str) -> Path:
        path = self.folder / name
        if name not in self.manifest["files"] or not path.is_file():
            raise ArtefactError(f"{path}: not in this store; build it again with this version")
        return path


def open_store(path: Path) -> Store:
    """Open the current generation of the store at `path`.

    Raises:
        ArtefactError: no store there, or one of another format version.
    """
    pointer = path / "CURRENT"
    if not pointer.is_file():
        raise ArtefactError(f"{path}: expected a feature store, found none; build one with build-features --out {path}")
    generation = pointer.read_text(encoding="utf-8").strip()
    if Path(generation).name != generation:
        raise ArtefactError(f"{pointer}: expected the name of a generation, found {generation!r}")
    manifest_path = path / generation / "manifest.json"
    try:
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
        version = manifest["format_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtefactError(f"{manifest_path}: missing or damaged, build the store again ({error})") from error
    if version != FORMAT_VERSION:
        raise ArtefactError(f"{path}: a store of format version {version}, expected {FORMAT_VERSION}; build it again")
    return Store(path, generation, manifest)


@dataclass
class Staging:
    """A generation being built; becomes readable when the block of `build_store` ends without an error."""

    folder: Path
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    rejects: dict[str, pl.DataFrame] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    """What goes into the manifest besides the files: parameters, inputs, steps, counts."""

    def write(self, table: str, frame: pl.DataFrame, contract: type[dy.Schema]) -> None:
        """Write a table in the order of its rows, once it keeps its contract.

        Raises:
            TableError: it doesn't.
        """
        check(contract, frame, name=table)
        path = self.folder / f"{table}.parquet"
        frame.write_parquet(path, row_group_size=VECTOR_ROW_GROUP, statistics=True)
        self.add_file(path, rows=frame.height, columns={name: str(dtype) for name, dtype in frame.schema.items()})

    def write_tensors(self, table: str, tensors: Mapping[str, Vectors]) -> None:
        """Write the float32 copy of a table's vectors, by name; rows in the order of the table."""
        path = self.folder / f"{table}.safetensors"
        save_file({name: np.ascontiguousarray(tensor, dtype=np.float32) for name, tensor in tensors.items()}, path)
        self.add_file(path, shapes={name: list(tensor.shape) for name, tensor in tensors.items()})

    def add_file(self, path: Path, **facts: Any) -> None:
        """Enter a file that lies in the staging folder into the manifest."""
        _sync(path)
        self.files[path.name] = {"sha256": sha256(path), "bytes": path.stat().st_size, **facts}


@contextmanager
def build_store(path: Path) -> Iterator[Staging]:
    """Build a new generation of the store at `path`; an error inside the block leaves the store as it was.

    Raises:
        ArtefactError: another build is at work there, or the folder is something else than a store.
    """
    _refuse_other_folders(path)
    path.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        for left_over in path.glob(".staging-*"):
            shutil.rmtree(left_over)
        generation = _next_generation(path)
        staging = Staging(path / f".staging-{generation}")
        staging.folder.mkdir()
        try:
            yield staging
            _publish(path, generation, staging)
        finally:
            shutil.rmtree(staging.folder, ignore_errors=True)


def _publish(path: Path, generation: str, staging: Staging) -> None:
    rejects = {name: _write_rejects(path, generation, name, rows) for name, rows in staging.rejects.items()}
    manifest = {"format_version": FORMAT_VERSION, "files": staging.files, "rejects": rejects, **staging.facts}
    write_text(staging.folder / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True))
    _sync(staging.folder)
    staging.folder.rename(path / generation)
    write_text(path / "CURRENT", f"{generation}\n")
    _forget_old_generations(path)


def _write_rejects(path: Path, generation: str, name: str, rows: pl.DataFrame) -> dict[str, Any]:
    target = path / "rejects" / f"{name}-{generation}.parquet"
    target.parent.mkdir(exist_ok=True)
    rows.write_parquet(target)
    _sync(target)
    return {"file": target.name, "rows": rows.height, "sha256": sha256(target)}


def _generations(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if entry.is_dir() and entry.name.isdigit())


def _next_generation(path: Path) -> str:
    present = _generations(path)
    return f"{int(present[-1]) + 1 if present else 1:06d}"


def _forget_old_generations(path: Path) -> None:
    kept = set(_generations(path)[-KEPT_GENERATIONS:])
    for generation in set(_generations(path)) - kept:
        shutil.rmtree(path / generation)
    for rejects in (path / "rejects").glob("*.parquet"):
        if rejects.stem.rsplit("-", 1)[-1] not in kept:
            rejects.unlink()


def _refuse_other_folders(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise ArtefactError(f"{path}: expected a folder for the store, found a file")
    if path.is_dir() and not (path / "CURRENT").exists():
        foreign = [entry.name for entry in path.iterdir() if entry.name not in _OURS and not _is_ours(entry.name)]
        if foreign:
            raise ArtefactError(f"{path}: expected an empty folder or a store, found {', '.join(sorted(foreign)[:5])}")


_OURS = {".lock", "rejects", "models"}


def _is_ours(name: str) -> bool:
    return name.isdigit() or name.startswith(".staging-")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with (path / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ArtefactError(f"{path}: another build is at work on this store; wait for it to end") from error
        yield


def write_text(path: Path, text: str) -> None:
    """Replace the text of a file atomically: a reader sees the old text or the new, also after a crash."""
    beside = path.with_name(f".{path.name}.tmp")
    beside.write_text(text, encoding="utf-8")
    _sync(beside)
    beside.replace(path)
    _sync(path.parent)


def sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
