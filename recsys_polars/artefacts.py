"""Folders that are replaced as a whole: a new generation is staged, synced and renamed, then CURRENT points to it.

    PATH/CURRENT                     the name of the generation to read
    PATH/.published                  the name of the latest that CURRENT has had: a changed digit leads to no older one
    PATH/<generation>/manifest.json  written last: format version, the files with their sha256, facts, its own sha256
    PATH/<generation>/...            the files

Nobody ever reads half a generation, whatever ends a build leaves the old one whole, and none is removed while a run
reads it. No byte of what is read can be changed without being refused.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recsys_polars.disk import sha256, sync, write_text
from recsys_polars.errors import ArtefactError
from recsys_polars.guards import Hold, Removed, hold, locked, refuse_link, remove, unheld
from recsys_polars.sealing import seal, unseal

FORMAT_VERSION = 1
KEPT_GENERATIONS = 2
STAGING = ".staging-"
MANIFEST = "manifest.json"
_GENERATION = re.compile(r"[0-9]{6,12}")
PUBLISHED = ".published"


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
def staged(path: Path, then: Callable[[], None] = lambda: None) -> Iterator[Stage]:
    """Build a new generation at `path`: published when the block ends, forgotten when it raises.

    Args:
        path: the folder.
        then: called once it is published, while other writers are still kept away.

    Raises:
        ArtefactError: another build is at work there, or `path` is something else than such a folder.
    """
    _refuse_foreign_folder(path)
    path.mkdir(parents=True, exist_ok=True)
    with locked(path):
        # A number is never given twice, not even that of a generation that lost its manifest.
        numbers = [int(entry.name) for entry in path.iterdir() if is_generation_name(entry.name)]
        generation = f"{max(numbers, default=0) + 1:06d}"
        stage = Stage(generation, path / f"{STAGING}{generation}")
        try:
            clear_left_overs(path)
            stage.folder.mkdir()
            yield stage
            _publish(path, stage)
            then()
        finally:
            shutil.rmtree(stage.folder, ignore_errors=True)
            _remove_if_unused(path)


def _remove_if_unused(path: Path) -> None:
    """Remove a folder in which nothing was ever published, so that a failed first build leaves no trace."""
    if path.is_dir() and {entry.name for entry in path.iterdir()} <= {".lock"}:
        shutil.rmtree(path, ignore_errors=True)


def _publish(path: Path, stage: Stage) -> None:
    _share_equal_files(path, stage)
    write_text(stage.folder / MANIFEST, seal({"format_version": FORMAT_VERSION, "files": stage.files, **stage.facts}))
    stage.folder.rename(path / stage.generation)
    sync(path)
    write_text(path / "CURRENT", f"{stage.generation}\n")
    write_text(path / PUBLISHED, f"{stage.generation}\n")
    remove_older(path, keep=KEPT_GENERATIONS)


def _share_equal_files(path: Path, stage: Stage) -> None:
    """Have the generation before hold the same files, where they are equal, as far as the file system has hard links.

    It takes the new ones: they were written just now, whatever has become of its own since.
    """
    with suppress(ArtefactError, OSError):
        before, manifest = current_generation(path)
        for name, entry in stage.files.items():
            if manifest["files"].get(name, {}).get("sha256") == entry["sha256"]:
                link = stage.folder / f"{STAGING}link"
                os.link(stage.folder / name, link)
                link.replace(path / before / name)


def tidy(path: Path, then: Callable[[], None]) -> None:
    """Do what a run had left to do that was killed once its generation was published.

    Raises:
        ArtefactError: another run is writing there.
    """
    with locked(path):
        clear_left_overs(path)
        write_text(path / PUBLISHED, f"{_current(path)}\n")
        remove_older(path, keep=KEPT_GENERATIONS)
        then()


def clear_left_overs(path: Path) -> list[Removed]:
    """Remove what killed runs left, under the caller's lock: staging folders, and generations never pointed to."""
    removed = [Removed(entry, remove(entry)) for entry in left_overs(path)]
    return removed + [_retire(path / name) for name in unpublished(path)]


def left_overs(path: Path) -> list[Path]:
    """Return the staging folders and temporary files in a folder; none of a run at work, under the caller's lock."""
    return sorted([*path.glob(f"{STAGING}*"), *path.glob(".*.tmp")])


def unpublished(path: Path) -> list[str]:
    """Return the names of generations later than CURRENT's: whole, but the run was killed before it pointed there."""
    named = [name for name in (_named(path / "CURRENT"), _named(path / PUBLISHED)) if name]
    if not named:  # damaged: nobody knows which
        return [] if (path / "CURRENT").exists() else generations(path)
    return [name for name in generations(path) if int(name) > max(map(int, named))]


def remove_older(path: Path, *, keep: int) -> list[Removed]:
    """Remove generations, under the caller's lock, but the latest `keep` and those that a run is reading."""
    return [_retire(path / name) for name in generations(path)[:-keep]]


def _retire(folder: Path) -> Removed:
    with unheld(folder / MANIFEST) as is_free:
        if not is_free:
            return Removed(folder, 0)
        # Renamed first: what is left of a removal that is killed is no generation.
        old = folder.rename(folder.with_name(f"{STAGING}old-{folder.name}"))
    return Removed(folder, remove(old))


def generations(path: Path) -> list[str]:
    """Return the names of the published generations, oldest first."""
    return sorted((entry.name for entry in path.iterdir() if _is_generation(entry)), key=int)


def is_generation_name(name: str) -> bool:
    """Return whether a folder of this name may be a generation."""
    return bool(_GENERATION.fullmatch(name))


def _is_generation(entry: Path) -> bool:
    # A folder of the user's may have a date for a name.
    return is_generation_name(entry.name) and not entry.is_symlink() and (entry / MANIFEST).is_file()


def current_generation(path: Path) -> tuple[str, Mapping[str, Any]]:
    """Return the name and the manifest of the generation to read.

    Raises:
        ArtefactError: there is none, it is damaged, it has another format version, or a symbolic link for a part.
    """
    name = _current(path)
    return name, read_manifest(path / name)


def held_generation(path: Path) -> tuple[str, Mapping[str, Any], Hold | None]:
    """Return what `current_generation` does, and a hold: until it is gone the generation is not removed.

    Raises:
        ArtefactError: see `current_generation`.
    """
    while True:
        name = _current(path)
        held = hold(path / name / MANIFEST)
        if name == _current(path):  # what CURRENT names is never removed, so that it is held in time
            return name, read_manifest(path / name), held


def _current(path: Path) -> str:
    """The name of the generation to read."""
    published = _named(path / PUBLISHED)  # before the pointer, which is ahead of it at times
    pointer, name = path / "CURRENT", _named(path / "CURRENT")
    if name is None:
        found = repr(pointer.read_bytes()[:50].decode(errors="replace")) if pointer.is_file() else "no file"
        raise ArtefactError(f"{pointer}: expected the number of a generation, found {found}; make it again")
    if published and (int(published) > int(name) or not refuse_link(path / name).is_dir()):
        raise ArtefactError(f"{pointer}: expected {published}, which was published last, found {name}; write it there")
    return refuse_link(path / name).name


def _named(file: Path) -> str | None:
    """The generation that a file names; None where there is no such file, or it has something else to say."""
    text = refuse_link(file).read_bytes().decode(errors="replace") if file.is_file() else ""
    name = text.removesuffix("\n")
    return name if is_generation_name(name) else None


def read_manifest(folder: Path) -> Mapping[str, Any]:
    """Return the manifest of a generation.

    Raises:
        ArtefactError: it is missing, damaged, or has another format version.
    """
    path = refuse_link(folder / MANIFEST)
    if not path.is_file():
        raise ArtefactError(f"{path}: missing or damaged (no file); make it again")
    try:
        text = path.read_bytes().decode()
        version = json.loads(text)["format_version"]
        if version != FORMAT_VERSION:
            raise ArtefactError(f"{path}: expected format version {FORMAT_VERSION}, found {version}; make it again")
        manifest = unseal(text)
        entries = [(name, entry["bytes"], entry["sha256"]) for name, entry in manifest["files"].items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArtefactError(f"{path}: missing or damaged ({error}); make it again") from error
    outside = [name for name, _, _ in entries if Path(name).name != name or name in {"", ".."} or "\0" in name]
    if outside:
        raise ArtefactError(f"{path}: expected names of files, found {outside[0]!r}; make it again")
    return manifest


def checked_file(folder: Path, name: str, manifest: Mapping[str, Any]) -> Path:
    """Return the path of a file of a generation, once its bytes are what the manifest says.

    Raises:
        ArtefactError: it is missing or damaged, or a symbolic link.
    """
    path, entry = refuse_link(folder / name), manifest["files"].get(name)
    if entry is None or not path.is_file():
        raise ArtefactError(f"{path}: expected a file, found none; make it again")
    if path.stat().st_size != entry["bytes"] or sha256(path) != entry["sha256"]:
        raise ArtefactError(f"{path}: damaged, its bytes are not what the manifest says; make it again")
    return path


def _refuse_foreign_folder(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise ArtefactError(f"{path}: expected a folder, found a file")
    if path.is_dir() and not (path / "CURRENT").exists():
        ours = {".lock", ".CURRENT.tmp", PUBLISHED, "encoded", "timings.jsonl"}
        ours |= {"rejects", "models"} if generations(path) else set()
        others = (entry for entry in path.iterdir() if not (_is_generation(entry) or entry.name.startswith(STAGING)))
        foreign = sorted(entry.name for entry in others if entry.name not in ours)
        if foreign:
            raise ArtefactError(f"{path}: expected a new or an empty folder, found {', '.join(foreign[:5])}")
