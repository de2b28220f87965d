"""`store verify`: whether every file of a store is as it was written, whatever else would notice."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open

from recsys_polars.artefacts import (
    MANIFEST,
    PUBLISHED,
    checked_file,
    current_generation,
    generations,
    left_overs,
    read_manifest,
    unpublished,
)
from recsys_polars.disk import sha256
from recsys_polars.errors import ArtefactError
from recsys_polars.guards import SCRATCH, hold, refuse_link
from recsys_polars.models import is_kind
from recsys_polars.recipes import Progress, silent
from recsys_polars.recipes.encode import CACHE
from recsys_polars.recipes.timing import TIMINGS
from recsys_polars.recipes.tuned import SPACES, read_search
from recsys_polars.store import rejects_of

_OURS = {"CURRENT", PUBLISHED, ".lock"}


@dataclass
class Findings:
    """What was looked at, and what was found.

    Attributes:
        n_files: files whose bytes were checked.
        n_bytes: of them.
        damage: what is wrong, one message each: it names the file or folder.
        left_overs: what killed runs left, or what a run at work is writing; the next run clears it.
        progress: told of each file.
        total: bytes that lie there.
    """

    n_files: int = 0
    n_bytes: int = 0
    damage: list[str] = field(default_factory=list)
    left_overs: list[Path] = field(default_factory=list)
    progress: Progress = silent
    total: int = 0

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note an error as damage."""
        try:
            yield
        except (ArtefactError, OSError) as error:
            if str(error) not in self.damage:
                self.damage.append(str(error))

    def count(self, path: Path) -> None:
        """Count a file that was checked."""
        self.n_files += 1
        self.n_bytes += path.stat().st_size
        self.progress("verify", self.n_bytes, self.total, "bytes")


def verify_store(path: Path, *, progress: Progress = silent) -> Findings:
    """Check every file of every generation of a store and of its models against its manifest.

    The bytes and their sha256, the rows and columns of Parquet footers, the shapes of tensors, what CURRENT names,
    copies of rejects, searches, encoded texts and images, symbolic links, and files that nobody wrote there.

    Raises:
        ArtefactError: no store there.
    """
    if not path.is_dir() or not ((path / "CURRENT").is_file() or generations(path)):
        raise ArtefactError(f"{path}: expected a feature store, found none")
    total = sum(file.lstat().st_size for file in path.rglob("*") if file.is_file())
    found = Findings(progress=progress, total=total)
    progress("verify", 0, total, "bytes")
    _verify_generations(path, found, beside={"rejects", "models", CACHE, TIMINGS})
    with found.noting():
        refuse_link(path / TIMINGS)
    _verify_rejects(path, found)
    _verify_cache(path / CACHE, found)
    _verify_models(path / "models", found)
    return found


def _verify_generations(path: Path, found: Findings, *, beside: set[str]) -> None:
    """Check a folder of generations, in which other things may lie too."""
    spare = unpublished(path) if not (path / "CURRENT").is_symlink() else []
    found.left_overs += [*left_overs(path), *path.glob(f"{SCRATCH}*"), *(path / name for name in spare)]
    with found.noting():
        current_generation(path)
    names = {*_OURS, *beside, *(left_over.name for left_over in found.left_overs if left_over.parent == path)}
    for entry in sorted(path.iterdir()):
        if entry.name in generations(path):
            _verify_generation(entry, found)
        elif entry.name not in names:
            found.damage.append(_foreign(entry))


def _verify_generation(folder: Path, found: Findings) -> None:
    held = hold(folder / MANIFEST)  # a build at work may not take it away meanwhile
    with found.noting():
        manifest = read_manifest(folder)
        found.count(folder / MANIFEST)
        for name in manifest["files"]:
            with found.noting():
                _verify_file(checked_file(folder, name, manifest), manifest["files"][name])
                found.count(folder / name)
        found.damage += [_foreign(file) for file in sorted(folder.iterdir()) if file.name not in _known(manifest)]
    del held


def _known(manifest: Mapping[str, Any]) -> set[str]:
    return {MANIFEST, *manifest["files"]}


def _verify_file(path: Path, entry: Mapping[str, Any]) -> None:
    """Hold what a file says of itself against its manifest, which might have been wrong from the start."""
    try:
        if path.suffix == ".parquet" and "rows" in entry:
            footer = pq.read_metadata(path)
            columns = sorted(footer.schema.to_arrow_schema().names)
            _expect(path, "rows", entry["rows"], footer.num_rows)
            _expect(path, "columns", sorted(entry.get("columns", columns)), columns)
        if path.suffix == ".safetensors" and "shapes" in entry:
            with safe_open(path, framework="np") as file:
                shapes = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            _expect(path, "shapes", entry["shapes"], shapes)
    except (pa.ArrowException, SafetensorError) as error:
        raise ArtefactError(f"{path}: expected a {path.suffix[1:]} file ({error})") from error


def _expect(path: Path, what: str, said: Any, found: Any) -> None:
    if said != found:
        raise ArtefactError(f"{path}: expected the {what} of its manifest, {said}, found {found}")


def _verify_rejects(path: Path, found: Findings) -> None:
    shown = path / "rejects"
    with found.noting():
        if not refuse_link(shown).is_dir():
            return
        copies = rejects_of(path)
        found.left_overs += left_overs(shown)
        for file in sorted(set(shown.iterdir()) - set(left_overs(shown))):
            if file.name not in copies:
                found.damage.append(_foreign(file))
                continue
            with found.noting():
                _verify_copy(refuse_link(file), copies[file.name])
                found.count(file)


def _verify_copy(file: Path, of: Path) -> None:
    if sha256(file) != read_manifest(of.parent)["files"].get(of.name, {}).get("sha256"):
        raise ArtefactError(f"{file}: damaged, it is no copy of {of}; remove it, the next build copies it again")


def _verify_cache(cache: Path, found: Findings) -> None:
    with found.noting():
        for folder in sorted(refuse_link(cache).iterdir()) if cache.is_dir() else []:
            left = left_overs(refuse_link(folder))
            found.left_overs += left
            for file in sorted(set(folder.iterdir()) - set(left)):
                with found.noting():
                    if sha256(refuse_link(file)) != file.stem:
                        raise ArtefactError(f"{file}: damaged; the next build removes it and encodes again")
                    found.count(file)


def _verify_models(models: Path, found: Findings) -> None:
    with found.noting():
        if not refuse_link(models).is_dir():
            return
        left = left_overs(models)
        found.left_overs += left
        searches = {f"{kind}.tuned.json": kind for kind in SPACES}
        for entry in sorted(set(models.iterdir()) - set(left)):
            with found.noting():
                refuse_link(entry)
                if entry.name in searches:
                    read_search(entry, searches[entry.name])
                    found.count(entry)
                elif is_kind(entry.name) and entry.is_dir():
                    _verify_model(entry, found)
                elif entry.name == "CURRENT":
                    _verify_last(entry)
                elif entry.name not in _OURS:
                    found.damage.append(_foreign(entry))


def _verify_model(folder: Path, found: Findings) -> None:
    if (folder / "CURRENT").exists() or generations(folder):
        _verify_generations(folder, found, beside=set())
        kind = current_generation(folder)[1].get("kind")
        if kind != folder.name:
            raise ArtefactError(f"{folder}: expected a {folder.name} model, found {kind!r}; train it again")
    else:
        found.left_overs += left_overs(folder)


def _verify_last(pointer: Path) -> None:
    kind = pointer.read_bytes().decode(errors="replace")
    if not is_kind(kind) or not (pointer.parent / kind).is_dir():
        raise ArtefactError(f"{pointer}: expected the kind of model trained last, found {kind[:50]!r}; train it again")


def _foreign(path: Path) -> str:
    return f"{path}: expected nothing here, found what no build or training wrote"
