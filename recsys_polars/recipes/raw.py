"""Raw files -> the tables `interactions` and `items` of a store being built, and what became of every row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import polars as pl

from recsys_polars import catalogue
from recsys_polars.artefacts import sha256
from recsys_polars.errors import InputError, TableError
from recsys_polars.recipes import Progress, silent
from recsys_polars.recipes.embedded import embedded_files
from recsys_polars.sources import ParsedFile, ParsedInteractions, ParsedItems, read_interactions, read_items, reading
from recsys_polars.splitting import Split
from recsys_polars.store import Store, StoreWriter
from recsys_polars.tables import Interactions, Items

Sources = tuple[ParsedInteractions, ParsedItems | None]


@dataclass(frozen=True)
class BuildSettings:
    """What to build from, and how; see `recsys-polars build-features --help`.

    Without `interactions` the embedded set is used, and `split` is user-time instead of global-time.
    """

    interactions: str | None = None
    items: str | None = None
    format: str = "auto"
    columns: Mapping[str, str] = field(default_factory=dict)
    item_features: Sequence[str] = ()
    min_rating: float = 4.0
    implicit: bool = False
    split: Split | None = None
    test_fraction: float = 0.1
    test_n: int = 1
    valid_fraction: float = 0.1
    min_user_interactions: int = 1
    min_item_interactions: int = 1
    text: str = "tfidf"
    text_dim: int | None = None
    clip: str | None = None
    images: str | None = None
    memory_bytes: int = 2 << 30


@dataclass
class Ledger:
    """What became of every row: rows_in = rows_out + merged + rejected, step by step."""

    steps: list[dict[str, Any]] = field(default_factory=list)

    def enter(self, name: str, *, rows_in: int, rows_out: int, merged: int = 0, rejected: int = 0) -> None:
        """Enter a step whose rows add up."""
        if rows_in != rows_out + merged + rejected:
            raise TableError(
                f"{name}: {rows_in:,} rows in, but {rows_out:,} out, {merged:,} merged, {rejected:,} rejected"
            )
        self.steps.append(
            {"name": name, "rows_in": rows_in, "rows_out": rows_out, "merged": merged, "rejected": rejected}
        )


@dataclass(frozen=True)
class Build:
    """A build at work: its settings, where it writes, and a folder for what nobody keeps."""

    settings: BuildSettings
    writer: StoreWriter
    scratch: Path
    ledger: Ledger = field(default_factory=Ledger)
    progress: Progress = silent


def with_defaults(settings: BuildSettings) -> BuildSettings:
    """Fill in what depends on whether there are files: the embedded set, and how it is split."""
    settings = replace(settings, item_features=tuple(dict.fromkeys(settings.item_features)))
    if settings.interactions is not None:
        return replace(settings, split=settings.split or "global-time")
    if settings.items is not None:
        raise InputError("--items: expected --interactions too, found none")
    interactions, items = embedded_files()
    split = settings.split or "user-time"
    return replace(settings, interactions=str(interactions), items=str(items), format="movielens", split=split)


def settings_of(store: Store) -> BuildSettings:
    """Return what a store was built with."""
    names = {field.name for field in fields(BuildSettings)}
    asked = store.manifest["parameters"].items()
    return BuildSettings(**{name: value for name, value in asked if name in names})


def open_sources(settings: BuildSettings) -> Sources:
    """Look at the heads of the files: formats, columns, what is missing.

    Raises:
        InputError: files or columns that are missing or can't be used.
    """
    interactions = read_interactions(
        settings.interactions or "", format=settings.format, columns=settings.columns, implicit=settings.implicit
    )
    if settings.items is None and settings.item_features:
        raise InputError(f"--item-feature {settings.item_features[0]}: expected --items too, found none")
    items = None
    if settings.items is not None:
        items = read_items(
            settings.items, format=settings.format, columns=settings.columns, item_features=settings.item_features
        )
    unused = sorted(set(settings.columns) - interactions.mapped - (items.mapped if items else set()))
    if unused:
        pairs = ", ".join(f"{ours}={settings.columns[ours]}" for ours in unused)
        raise InputError(f"--column {pairs}: expected a column of that name in a file, found none")
    return interactions, items


def _parse(files: Sequence[ParsedFile], scratch: Path, table: str) -> pl.LazyFrame:
    """Parse raw files once, one by one, into Parquet."""
    for number, file in enumerate(files):
        with reading(file.path):
            file.rows.sink_parquet(scratch / f"{table}-{number:06d}.parquet")
    return pl.scan_parquet(scratch / f"{table}-*.parquet")


def _accept(parsed: pl.LazyFrame, table: str, build: Build) -> pl.LazyFrame:
    """Quarantine the rows that broke a rule; return the others, without their origin."""
    rejected = pl.col("rule").is_not_null()
    build.writer.write_rejects(table, parsed.filter(rejected))
    rows_in, n_rejected = parsed.select(pl.len(), rejected.sum().alias("rejected")).collect().row(0)
    build.ledger.enter(f"read {table}", rows_in=rows_in, rows_out=rows_in - n_rejected, rejected=n_rejected)
    return parsed.filter(~rejected).drop("file", "line", "rule", "found")


def store_interactions(source: ParsedInteractions, build: Build) -> pl.LazyFrame:
    """Write the accepted interactions into the store, sorted; return them unread.

    Raises:
        InputError: no row can be used; it says which rules they broke.
    """
    parsed = _parse(source.files, build.scratch, "interactions")
    accepted = _accept(parsed, "interactions", build).sort("user_id", "event_time", "item_id", "rating").collect()
    if accepted.is_empty():
        rules = parsed.group_by("rule").len().sort("len", "rule", descending=[True, False]).collect()
        broken = "; ".join(f"{rule} ({rows:,} rows)" for rule, rows in rules.iter_rows())
        raise InputError(
            f"{source.files[0].path}: expected interactions, found none that can be used: {broken or 'no rows'}"
        )
    build.writer.write("interactions", accepted, Interactions)
    return build.writer.scan("interactions")


def read_catalogue(source: ParsedItems | None, interactions: pl.LazyFrame, build: Build) -> pl.DataFrame:
    """Return the catalogue."""
    items: pl.DataFrame
    if source is None:
        items = Items.create_empty()
    else:
        accepted = _accept(_parse(source.files, build.scratch, "items"), "items", build)
        n_rows = accepted.select(pl.len()).collect().item()
        items = catalogue.deduplicate_items(accepted)
        build.ledger.enter("deduplicate items", rows_in=n_rows, rows_out=items.height, merged=n_rows - items.height)
    return catalogue.complete_catalogue(items, interactions)


def fingerprints(sources: Sources) -> list[dict[str, Any]]:
    """Return the path, size and sha256 of every input file."""
    files = [file.path for source in sources if source for file in source.files]
    return [{"path": str(path), "bytes": path.stat().st_size, "sha256": sha256(path)} for path in files]
