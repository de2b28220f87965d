"""`append_features`: new interactions and items into a store, as if it were built again from all files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from recsys_polars.disk import sha256
from recsys_polars.errors import ArtefactError, InputError
from recsys_polars.recipes import Progress, silent
from recsys_polars.recipes.build import building, store_tables
from recsys_polars.recipes.encode import check_models
from recsys_polars.recipes.raw import BuildSettings, fingerprints, nothing_usable, settings_of
from recsys_polars.recipes.timing import Stopwatch
from recsys_polars.sources import (
    ParsedFile,
    ParsedInteractions,
    ParsedItems,
    find_files,
    read_interactions,
    read_items,
    reading,
)
from recsys_polars.sources.files import printable
from recsys_polars.sources.formats import INTERACTIONS, ITEMS
from recsys_polars.store import Store, open_store, tidy_store
from recsys_polars.tables import vector_columns

Found = TypeVar("Found")
_USERS = {
    *("user_id", *INTERACTIONS.usual["user_id"]),
    *(name for layout in INTERACTIONS.layouts for name in layout.names.get("user_id", ())),
}
"""Columns that items never have: a log that lacks something else isn't to pass for items."""
_SHOWN = 200
"""Characters of why a file that is neither is none of items: most are meant to be interactions."""


@dataclass(frozen=True)
class Appended:
    """What became of files that were to be appended.

    Attributes:
        store: with them.
        files: path, rows_in, rows_out and rejected of each that was read.
        passed_over: those without a row, and those whose very bytes were in the store already.
    """

    store: Store
    files: list[dict[str, Any]]
    passed_over: list[Path]


@dataclass(frozen=True)
class _New:
    """What there is to append."""

    interactions: list[ParsedInteractions]
    items: list[ParsedItems]
    passed_over: list[Path]

    @property
    def interaction_files(self) -> list[ParsedFile]:
        """Those with new interactions."""
        return [file for source in self.interactions for file in source.files]

    @property
    def item_files(self) -> list[ParsedFile]:
        """Those with new items."""
        return [file for source in self.items for file in source.files]


def append_features(
    path: Path,
    patterns: Sequence[str],
    *,
    memory_bytes: int = 2 << 30,
    strict: bool = False,
    progress: Progress = silent,
) -> Appended:
    """Add new files to the store at `path`: a new generation, whose tables equal those of a build from all the files.

    The settings are those that the store was built with. The cuts are made again, and all that depends on them. A file
    without a row, or whose very bytes the store was built from, is passed over; where there is nothing else, the store
    stays as it is.

    Args:
        path: of the store.
        patterns: files, globs or folders of interactions or of items: their columns tell.
        memory_bytes: as in `BuildSettings`.
        strict: as in `BuildSettings`.
        progress: told of each step.

    Raises:
        InputError: files that can't be used, not in a single row, or that differ from those of the store.
        ArtefactError: no store there, or another build is at work.
    """
    watch = Stopwatch(progress)
    store = open_store(path)
    if "asked" not in store.manifest:
        raise ArtefactError(
            f"{path}: expected a store of this version, found one that can't be added to; build it again"
        )
    settings = replace(settings_of(store), memory_bytes=memory_bytes, strict=strict)
    new = _open(store, settings, patterns)
    files = [*new.interaction_files, *new.item_files]
    if not files:
        tidy_store(path)  # the run that appended them may have been killed since
        return Appended(store, [], new.passed_over)
    if not _any_row(files, pl.col("rule").is_null()):
        rejects = pl.concat([file.rows.select("file", "line", "rule", "found") for file in files])
        raise InputError(f"--append {nothing_usable(files[0].path, rejects, settings)}")
    check_models(settings)
    with building(settings, path, onto=store, progress=watch) as build:
        if open_store(path).identity != store.identity:
            raise ArtefactError(f"{path}: another run has published a generation meanwhile; append again")
        store_tables(new.interaction_files, new.item_files, build)
        build.writer.stage.facts |= _history(store, new, patterns)
    grown = open_store(path)
    watch.keep(path, grown.identity)
    return Appended(grown, build.ledger.files, new.passed_over)


def _history(store: Store, new: _New, patterns: Sequence[str]) -> dict[str, Any]:
    """What the manifest says of where all rows came from."""
    said, parameters = store.manifest, dict(store.manifest["parameters"])
    if new.item_files and parameters["items"] is None:
        parameters["items"] = str(new.item_files[0].path)
    left_out = [*said["left_out_columns"], *(name for source in new.items for name in source.left_out)]
    of_rows = [*said.get("left_out_of_interactions", []), *(name for log in new.interactions for name in log.left_out)]
    return {
        "parameters": parameters,
        "asked": said["asked"],
        "inputs": [*said["inputs"], *fingerprints([*new.interaction_files, *new.item_files])],
        "left_out_columns": list(dict.fromkeys(left_out)),
        "left_out_of_interactions": list(dict.fromkeys(of_rows)),
        "appended": [*said.get("appended", []), {"to": store.generation, "paths": list(patterns)}],
    }


def _open(store: Store, settings: BuildSettings, patterns: Sequence[str]) -> _New:
    """Look at the files, one by one; pass over bytes that were read before, and files without a row."""
    had, new = {entry["sha256"] for entry in store.manifest["inputs"]}, _New([], [], [])
    for path in dict.fromkeys(path for pattern in patterns for path in _files(pattern)):
        fingerprint = sha256(path)
        if fingerprint in had:
            new.passed_over.append(path)
            continue
        had.add(fingerprint)
        source = _told_apart(path, store, settings)
        if not _any_row(source.files, pl.lit(value=True)):
            new.passed_over.append(path)
        elif isinstance(source, ParsedInteractions):
            _check_interactions(path, source, settings)
            new.interactions.append(source)
        else:
            _check_items(path, source, _vectors_and_features(store, settings, new))
            new.items.append(source)
    return new


def _told_apart(path: Path, store: Store, settings: BuildSettings) -> ParsedInteractions | ParsedItems:
    """Open a file as what its columns say it is."""
    asked = {"format": store.manifest["asked"]["format"], "columns": settings.columns}
    of_rows = {"implicit": store.manifest["asked"]["implicit"], "time_format": settings.time_format}
    interactions = _attempt(read_interactions, str(path), **asked, **of_rows)
    if isinstance(interactions, ParsedInteractions):  # first: such a file has all that items need
        return interactions
    items = _attempt(read_items, str(path), **asked, item_features=settings.item_features)
    if isinstance(items, InputError):
        reasons = [str(error).removeprefix(f"{path}: ") for error in (interactions, items)]
        raise InputError(
            f"--append {path}: expected interactions or items, found neither: {reasons[0]}; "
            f"as items: {printable(reasons[1], _SHOWN)}"
        )
    if not _USERS.isdisjoint(items.left_out):
        raise InputError(f"--append {path}: {interactions}")
    return items


def _any_row(files: Sequence[ParsedFile], wanted: pl.Expr) -> bool:
    """Whether there is a row like this; no more is read than it takes to find one."""
    for file in files:
        with reading(file.path):
            if file.rows.filter(wanted).select("line").head(1).collect(engine="streaming").height:
                return True
    return False


def _files(pattern: str) -> list[Path]:
    """The files that either kind would take."""
    kinds = (INTERACTIONS.file_names, ITEMS.file_names), (ITEMS.file_names, INTERACTIONS.file_names)
    found = [_attempt(find_files, pattern, prefer=prefer, avoid=avoid) for prefer, avoid in kinds]
    paths = {path for paths in found if not isinstance(paths, InputError) for path in paths}
    if not paths:
        raise InputError(f"--append {found[0]}")
    return sorted(paths)


def _attempt(read: Callable[..., Found], pattern: str, **asked: Any) -> Found | InputError:
    try:
        return read(pattern, **asked)
    except InputError as error:
        return error


def _check_interactions(path: Path, source: ParsedInteractions, settings: BuildSettings) -> None:
    """A build from all files at once would refuse these."""
    if source.format != settings.format:
        raise InputError(f"--append {path}: expected {settings.format}, as in the store, found {source.format}")
    if source.implicit != settings.implicit:
        expected, found = ("no ratings", "some") if settings.implicit else ("ratings", "none")
        raise InputError(f"--append {path}: expected {expected}, as in the store, found {found}")


def _vectors_and_features(store: Store, settings: BuildSettings, new: _New) -> dict[str, str] | None:
    """Those of the items so far, by name; None where there is no metadata yet."""
    if settings.items is None:
        return _shapes(new.items[0]) if new.items else None
    schema = store.scan("items").collect_schema()
    return {
        name: str(schema[name])
        for name in (*settings.item_features, *vector_columns(schema))
        if name not in settings.encoded
    }


def _shapes(source: ParsedItems) -> dict[str, str]:
    features = {name: str(dtype) for name, dtype in source.item_features.items()}
    return features | {name: str(pl.Array(pl.Float32, width)) for name, width in source.vectors.items()}


def _check_items(path: Path, source: ParsedItems, expected: dict[str, str] | None) -> None:
    """A build from all files at once would refuse these."""
    found = _shapes(source)
    if expected is not None and found != expected:
        raise InputError(
            f"--append {path}: expected the vectors and item features of the store, {_shown(expected)}; "
            f"found {_shown(found)}"
        )


def _shown(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {dtype}" for name, dtype in columns.items()) or "none"
