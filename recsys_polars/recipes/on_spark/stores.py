"""A store on a file system that only Spark reaches, by means of a folder of this machine."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from recsys_polars.artefacts import KEPT_GENERATIONS, MANIFEST, PUBLISHED, is_generation_name
from recsys_polars.errors import ArtefactError
from recsys_polars.spark.files import FileSystem, as_path, is_uri
from recsys_polars.store import Store, open_store

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@contextmanager
def store_at(session: "SparkSession", place: str, scratch: Path) -> Iterator[Path]:
    """Yield a folder to build a store in; when the block ends, what was built is at `place`, CURRENT last.

    Remote stores have no locks: two builds of one at once are the user's to avoid.
    """
    if not is_uri(place):
        yield as_path(place)
        return
    disk, here = FileSystem(session), scratch / "store"
    here.mkdir()
    _mirror_numbers(disk, place, here)
    before = {path.name for path in here.iterdir()}
    yield here
    for new in (path for path in here.iterdir() if is_generation_name(path.name) and path.name not in before):
        for file in sorted(new.iterdir(), key=lambda path: path.name == MANIFEST):
            disk.put(file, f"{place}/{new.name}/{file.name}")
    for name in ("CURRENT", PUBLISHED):
        disk.put(here / name, f"{place}/{name}")
    for file in (here / "rejects").glob("*.parquet"):
        disk.put(file, f"{place}/rejects/{file.name}")
    _remove_older(disk, place)


def _mirror_numbers(disk: FileSystem, place: str, here: Path) -> None:
    """Have a folder know which generations there are, without their files.

    Raises:
        ArtefactError: what is there is no store.
    """
    there = disk.entries(place)
    if "CURRENT" in there:
        _mirror(disk, place, here, [])
        for name in filter(is_generation_name, there):
            (here / name).mkdir(exist_ok=True)  # a number is never given twice, not even that of a broken upload
    elif there:
        raise ArtefactError(f"{place}: expected a new or an empty folder, found {', '.join(there[:5])}")


def _remove_older(disk: FileSystem, place: str) -> None:
    """Remove all generations but the latest, and what `rejects` shows of the others. Broken uploads stay."""
    names = [name for name in disk.entries(place) if is_generation_name(name)]
    whole = [name for name in names if disk.exists(f"{place}/{name}/{MANIFEST}")]
    for old in sorted(whole, key=int)[:-KEPT_GENERATIONS]:
        for file in disk.find(f"{place}/rejects/*-{old}.parquet"):
            disk.remove(file.uri)
        disk.remove(f"{place}/{old}")


def reachable_store(session: "SparkSession", place: str, scratch: Path, *, files: Sequence[str] | None) -> Store:
    """Open a store; of a remote one a copy with some files of its generation (None: all), and the models.

    Raises:
        ArtefactError: no store there, or a damaged one.
    """
    if not is_uri(place):
        return open_store(as_path(place))
    disk, here = FileSystem(session), scratch / "store"
    if not disk.exists(f"{place}/CURRENT"):
        raise ArtefactError(
            f"{place}: expected a feature store, found none; "
            f"build one with recsys-polars build-features --out {shlex.quote(place)}"
        )
    here.mkdir()
    _mirror(disk, place, here, files)
    models = f"{place}/models"
    for kind in disk.entries(models):
        if disk.exists(f"{models}/{kind}/CURRENT"):
            (here / "models" / kind).mkdir(parents=True)
            _mirror(disk, f"{models}/{kind}", here / "models" / kind, None)
        elif kind == "CURRENT":
            (here / "models").mkdir(exist_ok=True)
            disk.fetch(f"{models}/CURRENT", here / "models" / "CURRENT")
    return open_store(here)


def _mirror(disk: FileSystem, place: str, here: Path, files: Sequence[str] | None) -> None:
    """Copy what a folder of generations points to: the manifest, and some files of the current one (None: all)."""
    for name in ("CURRENT", PUBLISHED):
        if disk.exists(f"{place}/{name}"):
            disk.fetch(f"{place}/{name}", here / name)
    generation = (here / "CURRENT").read_text(encoding="utf-8", errors="replace").strip()
    if not is_generation_name(generation):
        raise ArtefactError(f"{place}/CURRENT: expected the number of a generation, found {generation[:50]!r}")
    (here / generation).mkdir()
    wanted = None if files is None else {MANIFEST, *files}
    for file in disk.find(f"{place}/{generation}"):
        if wanted is None or file.name in wanted:
            disk.fetch(file.uri, here / generation / file.name)


def table_place(store: Store, place: str, table: str) -> str:
    """Return where Spark finds a table of an open store."""
    if not is_uri(place):
        return str((store.path / store.generation / f"{table}.parquet").absolute())
    return f"{place}/{store.generation}/{table}.parquet"
