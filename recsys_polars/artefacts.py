"""Folders that are replaced as a whole: a new generation is staged, synced and renamed, then CURRENT points to it.

    PATH/CURRENT                     the name of the generation to read
    PATH/<generation>/manifest.json  written last: format version, the files with their sha256, and facts
    PATH/<generation>/...            the files

Nobody ever reads half a generation, and whatever ends a build leaves the old one whole.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recsys_polars.errors import ArtefactError

FORMAT_VERSION = 1
KEPT_GENERATIONS = 2
_STAGING = ".staging-"
_GENERATION = re.compile(r"\d{6,12}")


@dataclass
class Stage:
    """A generation being built: what its manifest will say, and the folder for its files."""

    generation: str
    folder: Path
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def add_file(self, name: str, **facts: Any) -> None:
        """Enter a file that lies in the folder into the manifest, with its sha256."""
        path = self.folder / name
        sync(path)
        self.files[name] = {"sha256": sha256(path), "bytes": path.stat().st_size, **facts}


@contextmanager
def staged(path: Path) -> Iterator[Stage]:
    """Build a new generation at `path`: published when the block ends, forgotten when it raises.

    Raises:
        ArtefactError: another build is at work there, or `path` is something else than such a folder.
    """
    _refuse_foreign_folder(path)
    path.mkdir(parents=True, exist_ok=True)
    with locked(path):
        # A number is never given twice, not even that of a generation that lost its manifest.
        numbers = [int(entry.name) for entry in path.iterdir() if _GENERATION.fullmatch(entry.name)]
        generation = f"{max(numbers, default=0) + 1:06d}"
        stage = Stage(generation, path / f"{_STAGING}{generation}")
        try:
            for left_over in path.glob(f"{_STAGING}*"):
                shutil.rmtree(left_over)
            stage.folder.mkdir()
            yield stage
            _publish(path, stage)
        finally:
            shutil.rmtree(stage.folder, ignore_errors=True)
            _remove_if_unused(path)


def _remove_if_unused(path: Path) -> None:
    """Remove a folder in which nothing was ever published, so that a failed first build leaves no trace."""
    if path.is_dir() and {entry.name for entry in path.iterdir()} <= {".lock"}:
        shutil.rmtree(path, ignore_errors=True)


def _publish(path: Path, stage: Stage) -> None:
    manifest = {"format_version": FORMAT_VERSION, "files": stage.files, **stage.facts}
    write_text(stage.folder / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True, allow_nan=False))
    stage.folder.rename(path / stage.generation)
    write_text(path / "CURRENT", f"{stage.generation}\n")
    for generation in generations(path)[:-KEPT_GENERATIONS]:
        shutil.rmtree(path / generation)


def generations(path: Path) -> list[str]:
    """Return the names of the published generations, oldest first."""
    return sorted(entry.name for entry in path.iterdir() if _is_generation(entry))


def _is_generation(entry: Path) -> bool:
    # A folder of the user's may have a date for a name.
    return bool(_GENERATION.fullmatch(entry.name)) and (entry / "manifest.json").is_file()


def current_generation(path: Path) -> tuple[str, Mapping[str, Any]]:
    """Return the name and the manifest of the generation to read.

    Raises:
        ArtefactError: there is none, it is damaged, or it has another format version.
    """
    pointer = path / "CURRENT"
    generation = pointer.read_text(encoding="utf-8", errors="replace").strip() if pointer.is_file() else ""
    if not _GENERATION.fullmatch(generation):
        raise ArtefactError(f"{pointer}: expected the number of a generation, found {generation[:50] or 'no file'!r}")
    manifest_path = path / generation / "manifest.json"
    try:
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
        version = manifest["format_version"]
        entries = [(name, entry["bytes"], entry["sha256"]) for name, entry in manifest["files"].items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtefactError(f"{manifest_path}: missing or damaged ({error}); make it again") from error
    outside = [name for name, _, _ in entries if Path(name).name != name]
    if outside:
        raise ArtefactError(f"{manifest_path}: expected names of files, found {outside[0]!r}; make it again")
    if version != FORMAT_VERSION:
        raise ArtefactError(
            f"{manifest_path}: expected format version {FORMAT_VERSION}, found {version}; make it again"
        )
    return generation, manifest


def checked_file(folder: Path, name: str, manifest: Mapping[str, Any]) -> Path:
    """Return the path of a file of a generation, once its bytes are what the manifest says.

    Raises:
        ArtefactError: it is missing or damaged.
    """
    path, entry = folder / name, manifest["files"].get(name)
    if entry is None or not path.is_file():
        raise ArtefactError(f"{path}: expected a file, found none; make it again")
    if path.stat().st_size != entry["bytes"] or sha256(path) != entry["sha256"]:
        raise ArtefactError(f"{path}: damaged, its bytes are not what the manifest says; make it again")
    return path


def write_text(path: Path, text: str) -> None:
    """Replace the text of a file atomically: a reader sees the old text or the new, also after a crash."""
    beside = path.with_name(f".{path.name}.tmp")
    try:
        beside.write_text(text, encoding="utf-8")
        sync(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    sync(path.parent)


def sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(value: Any) -> str:
    """Return a short sha256 of a value that JSON can say."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def sync(path: Path) -> None:
    """Have the bytes of a file, or the entries of a folder, on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_foreign_folder(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise ArtefactError(f"{path}: expected a folder, found a file")
    if path.is_dir() and not (path / "CURRENT").exists():
        ours = {".lock", ".CURRENT.tmp", "encoded", *(("rejects", "models") if generations(path) else ())}
        foreign = sorted(entry.name for entry in path.iterdir() if not _is_ours(entry) and entry.name not in ours)
        if foreign:
            raise ArtefactError(f"{path}: expected a new or an empty folder, found {', '.join(foreign[:5])}")


def _is_ours(entry: Path) -> bool:
    return _is_generation(entry) or entry.name.startswith(_STAGING)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other runs from writing in a folder.

    Raises:
        ArtefactError: another one is at work there.
    """
    path.mkdir(parents=True, exist_ok=True)
    with (path / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ArtefactError(f"{path}: another run is writing there; wait for it to end") from error
        yield
