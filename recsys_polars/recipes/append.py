"""`append_features`: new interactions and items into a store, as if it were built again from all files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import polars as pl

from recsys_polars.artefacts import sha256
from recsys_polars.errors import ArtefactError, InputError
from recsys_polars.recipes import Progress, silent
from recsys_polars.recipes.build import building, store_tables
from recsys_polars.recipes.encode import check_models, store_catalogue
from recsys_polars.recipes.events import into_buckets, read_events
from recsys_polars.recipes.raw import BuildSettings, fingerprints, settings_of
from recsys_polars.sources import ParsedFile, ParsedInteractions, ParsedItems, read_interactions, read_items
from recsys_polars.store import Store, open_store, tidy_store
from recsys_polars.tables import vector_columns

Source = TypeVar("Source", ParsedInteractions, ParsedItems)


@dataclass(frozen=True)
class _New:
    """What there is to append."""

    interactions: list[ParsedInteractions]
    items: list[ParsedItems]

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
) -> Store:
    """Add new files to the store at `path`: a new generation, whose tables equal those of a build from all the files.

    The settings are those that the store was built with. The cuts are made again, and all that depends on them. A file
    whose very bytes the store was built from is passed over; where there is nothing else, the store stays as it is.

    Args:
        path: of the store.
        patterns: files, globs or folders of interactions or of items: their columns tell.
        memory_bytes: as in `BuildSettings`.
        strict: as in `BuildSettings`.
        progress: told of each step.

    Raises:
        InputError: files that can't be used, or that differ from those that the store was built from.
        ArtefactError: no store there, or another build is at work.
    """
    store = open_store(path)
    settings = replace(settings_of(store), memory_bytes=memory_bytes, strict=strict)
    new = _open(store, settings, patterns)
    files = [*new.interaction_files, *new.item_files]
    if not files:
        tidy_store(path)  # the run that appended them may have been killed since
        return store
    check_models(settings)
    with building(settings, path, onto=store, progress=progress) as build:
        if open_store(path).identity != store.identity:
            raise ArtefactError(f"{path}: another run has published a generation meanwhile; append again")
        progress("read interactions", 0, 5)
        events = read_events(new.interaction_files, build)
        progress("read items", 1, 5)
        items = store_catalogue(new.item_files, events.item_ids(), build)
        facts = store_tables(into_buckets(events, items["item_id"], build), items, build, progress)
        progress("publish", 4, 5)
        build.writer.stage.facts |= {**facts, "steps": build.ledger.steps, **_history(store, new, patterns)}
    return open_store(path)


def _history(store: Store, new: _New, patterns: Sequence[str]) -> dict[str, Any]:
    """What the manifest says of where all rows came from."""
    said, parameters = store.manifest, dict(store.manifest["parameters"])
    if new.item_files and parameters["items"] is None:
        parameters["items"] = patterns[0]
    left_out = [*said["left_out_columns"], *(name for source in new.items for name in source.left_out)]
    return {
        "parameters": parameters,
        "inputs": [*said["inputs"], *fingerprints([*new.interaction_files, *new.item_files])],
        "left_out_columns": list(dict.fromkeys(left_out)),
        "appended": [*said.get("appended", []), {"to": store.generation, "paths": list(patterns)}],
    }


def _open(store: Store, settings: BuildSettings, patterns: Sequence[str]) -> _New:
    """Tell interactions from items by their columns, and pass over files that the store was built from."""
    had = {entry["sha256"] for entry in store.manifest["inputs"]}
    new = _New([], [])
    for pattern in patterns:
        asked = {"format": store.manifest["asked"]["format"], "columns": settings.columns}
        interactions = _attempt(read_interactions, pattern, **asked, implicit=store.manifest["asked"]["implicit"])
        items = _attempt(read_items, pattern, **asked, item_features=settings.item_features)
        if isinstance(interactions, InputError) and isinstance(items, InputError):
            raise InputError(
                f"--append {pattern}: expected interactions or items, found neither. As interactions: {interactions}. "
                f"As items: {items}"
            )
        taken = set[Path]()
        if isinstance(interactions, ParsedInteractions):
            _check_interactions(pattern, interactions, settings)
            new.interactions.append(_without(interactions, had))
            taken = {file.path for file in interactions.files}
        # What has the columns of interactions has an item_id too; a folder may hold both.
        if isinstance(items, ParsedItems) and taken.isdisjoint(file.path for file in items.files):
            _check_items(pattern, items, store, settings)
            new.items.append(_without(items, had))
    return new


def _attempt(read: Callable[..., Source], pattern: str, **asked: Any) -> Source | InputError:
    try:
        return read(pattern, **asked)
    except InputError as error:
        return error


def _without(source: Source, had: set[str]) -> Source:
    return replace(source, files=[file for file in source.files if sha256(file.path) not in had])


def _check_interactions(pattern: str, source: ParsedInteractions, settings: BuildSettings) -> None:
    """A build from all files at once would refuse these."""
    if source.format != settings.format:
        raise InputError(f"--append {pattern}: expected {settings.format}, as in the store, found {source.format}")
    if source.implicit != settings.implicit:
        expected, found = ("no ratings", "some") if settings.implicit else ("ratings", "none")
        raise InputError(f"--append {pattern}: expected {expected}, as in the store, found {found}")


def _check_items(pattern: str, source: ParsedItems, store: Store, settings: BuildSettings) -> None:
    schema = store.scan("items").collect_schema()
    features = {name: schema[name] for name in settings.item_features}
    vectors = {name: schema[name] for name in vector_columns(schema) if name not in settings.encoded}
    expected = {**{name: str(dtype) for name, dtype in features.items()}, **{n: str(d) for n, d in vectors.items()}}
    found = {name: str(dtype) for name, dtype in source.item_features.items()}
    found |= {name: str(pl.Array(pl.Float32, width)) for name, width in source.vectors.items()}
    if settings.items is not None and found != expected:
        raise InputError(
            f"--append {pattern}: expected the vectors and item features of the store, {_shown(expected)}; "
            f"found {_shown(found)}"
        )


def _shown(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {dtype}" for name, dtype in columns.items()) or "none"
