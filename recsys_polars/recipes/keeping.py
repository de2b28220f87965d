"""`store list` and `store prune`: what a store holds, and how to be rid of what is old or left over."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recsys_polars.artefacts import (
    MANIFEST,
    clear_left_overs,
    current_generation,
    generations,
    left_overs,
    read_manifest,
    remove_older,
)
from recsys_polars.errors import ArtefactError
from recsys_polars.guards import Removed, bytes_of, clear_scratch, locked, refuse_link, remove
from recsys_polars.models import is_kind
from recsys_polars.store import identity_of, show_rejects

TABLES = ("interactions", "labelled", "items", "user_means")
"""Whose rows are told."""


@dataclass(frozen=True)
class Kept:
    """A generation of a store, or of a model in it.

    Attributes:
        name: its number.
        identity: of a generation of the store: its own; of a model's: the one that it was trained on.
        when: it was written.
        n_bytes: of its files.
        manifest: what it says.
        is_current: it is the one that is read.
    """

    name: str
    identity: str
    when: datetime
    n_bytes: int
    manifest: Mapping[str, Any]
    is_current: bool

    def rows(self, table: str) -> int:
        """Return the rows of a table."""
        return int(self.manifest["files"].get(f"{table}.parquet", {}).get("rows", 0))


def list_store(path: Path) -> tuple[list[Kept], dict[str, Kept]]:
    """Return the generations of a store, oldest first, and the models that are read, by kind.

    Raises:
        ArtefactError: no store, or a damaged manifest.
    """
    of_store = [_kept(path, name, of_model=False) for name in _names(path)]
    folders = {folder.name: folder for folder in _model_folders(path)}
    models = {kind: _kept(folder, current_generation(folder)[0], of_model=True) for kind, folder in folders.items()}
    return of_store, models


def _kept(path: Path, name: str, *, of_model: bool) -> Kept:
    folder = path / name
    manifest = read_manifest(folder)
    return Kept(
        name=name,
        identity=str(manifest.get("store")) if of_model else identity_of(name, manifest),
        when=datetime.fromtimestamp((folder / MANIFEST).stat().st_mtime, UTC),
        n_bytes=bytes_of(folder),
        manifest=manifest,
        is_current=current_generation(path)[0] == name,
    )


def _names(path: Path) -> list[str]:
    """The generations of a store that is one."""
    if not (path / "CURRENT").is_file():
        raise ArtefactError(f"{path}: expected a feature store, found none")
    current_generation(path)
    return generations(path)


def _model_folders(path: Path) -> list[Path]:
    """The folders of the kinds of models that were trained."""
    models = refuse_link(path / "models")
    folders = (
        [refuse_link(entry) for entry in sorted(models.iterdir()) if is_kind(entry.name)] if models.is_dir() else []
    )
    return [folder for folder in folders if folder.is_dir() and generations(folder)]


def prune_store(path: Path, *, keep: int) -> list[Removed]:
    """Remove, of a store and of each of its models, all but the latest `keep` generations, and what killed runs left.

    A generation that a run is reading stays. Nothing is removed where a manifest, or what points to it, is damaged.

    Raises:
        ArtefactError: no store, a damaged one, or another run is writing there.
    """
    _names(path)
    models = path / "models"
    folders = [path, *_model_folders(path)]
    for folder in folders:
        current_generation(folder)
    with ExitStack() as stack:
        for folder in [*folders, *([models] if models.is_dir() else [])]:
            stack.enter_context(locked(folder))
        removed = clear_scratch(path)
        for folder in folders:
            removed += clear_left_overs(folder) + remove_older(folder, keep=keep)
        removed += [Removed(file, remove(file)) for file in (left_overs(models) if models.is_dir() else ())]
        show_rejects(path)
    return removed
