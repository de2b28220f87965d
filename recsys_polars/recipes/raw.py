"""Raw files -> the tables `interactions` and `items` of a store being built, and what became of every row."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from recsys_polars import catalogue
from recsys_polars.disk import sha256
from recsys_polars.errors import ArtefactError, InputError, TableError
from recsys_polars.recipes import Progress, silent
from recsys_polars.recipes.embedded import embedded_files
from recsys_polars.sources import ParsedFile, ParsedInteractions, ParsedItems, read_interactions, read_items, reading
from recsys_polars.sources.files import printable
from recsys_polars.splitting import Split
from recsys_polars.store import Store, StoreWriter
from recsys_polars.tables import Items
from recsys_polars.vectors.clip import CLIP_IMG, CLIP_TEXT
from recsys_polars.vectors.minilm import MINILM

ORIGIN = ("file", "line", "rule", "found")
"""Where a parsed row comes from, and what is wrong with it."""
NO_ORIGIN = {name: pl.lit(None, pl.Int64() if name == "line" else pl.String()) for name in ORIGIN}
_SHOWN = 3
"""Rejects that a message of --strict names."""
_SAYS_MORE = pl.any_horizontal(pl.all().exclude("item_id").is_not_null())
"""Whether the metadata of an item says more than its id."""
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
    time_format: str | None = None
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
    strict: bool = False

    @property
    def encoded(self) -> list[str]:
        """The vector columns of `items` that encoders make."""
        asked = {MINILM: self.text == MINILM, CLIP_TEXT: self.clip, CLIP_IMG: self.images}
        return [block for block, is_asked in asked.items() if is_asked]


@dataclass
class Ledger:
    """What became of every row: rows_in = rows_out + merged + rejected, step by step.

    Attributes:
        steps: name, rows_in, rows_out, merged and rejected of each.
        files: path, rows_in, rows_out and rejected of each raw file; not of those that Spark reads.
    """

    steps: list[dict[str, Any]] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)

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
    """A build at work.

    Attributes:
        settings: what from, and how.
        writer: of the store being built.
        scratch: a folder for what nobody keeps.
        onto: the store that is appended to.
        ledger: what became of every row so far.
        progress: told of what takes long.
    """

    settings: BuildSettings
    writer: StoreWriter
    scratch: Path
    onto: Store | None = None
    ledger: Ledger = field(default_factory=Ledger)
    progress: Progress = silent

    def rows_on_record(self, table: str) -> tuple[int, int]:
        """Return how many rows the store appended to had read for a table, and how many of them it rejected."""
        steps = self.onto.manifest["steps"] if self.onto else []
        read = [step for step in steps if step["name"] == f"read {table}"]
        return sum(step["rows_in"] for step in read), sum(step["rejected"] for step in read)


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
    """Return what a store was built with.

    Raises:
        ArtefactError: its manifest says nothing of it, or says it in other types.
    """
    asked = store.manifest.get("parameters")
    if not isinstance(asked, dict):
        raise ArtefactError(f"{store.path}: expected the parameters of the build in its manifest, found {asked!r}")
    defaults = asdict(BuildSettings())
    wrong = [f"{name} {asked[name]!r}" for name in defaults if name in asked and not _fits(asked[name], defaults[name])]
    if wrong:
        raise ArtefactError(f"{store.path}: expected parameters as a build writes them, found {', '.join(wrong)[:500]}")
    return BuildSettings(**{name: asked[name] for name in defaults if name in asked})


def _fits(value: object, default: object) -> bool:
    """Whether a value out of JSON can be that of a parameter with this default."""
    if default is None:
        return value is None or (isinstance(value, str | int) and not isinstance(value, bool))
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is (list if isinstance(default, tuple) else type(default))


def open_sources(settings: BuildSettings) -> Sources:
    """Look at the heads of the files: formats, columns, what is missing.

    Raises:
        InputError: files or columns that are missing or can't be used.
    """
    interactions = read_interactions(
        settings.interactions or "",
        format=settings.format,
        columns=settings.columns,
        implicit=settings.implicit,
        time_format=settings.time_format,
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


def accept(table: str, files: Sequence[ParsedFile], rejected: pl.Expr, rejects: pl.LazyFrame, build: Build) -> int:
    """Quarantine the rows of raw files that broke a rule, and enter what was read.

    Args:
        table: that the rows are for.
        files: that were read.
        rejected: which of their rows broke a rule.
        rejects: the rows that broke a rule, with file, line, rule and what was found.
        build: at work.

    Returns:
        How many rows are accepted, with those of the store that is appended to.

    Raises:
        InputError: there are rejects, and the build is to be strict.
    """
    n_rows = n_rejected = 0
    for file in files:
        n, bad = file.rows.select(pl.len(), rejected.sum().alias("bad")).collect().row(0)
        build.ledger.files.append({"path": str(file.path), "rows_in": n, "rows_out": n - bad, "rejected": bad})
        n_rows, n_rejected = n_rows + n, n_rejected + bad
    return quarantine(table, n_rows, n_rejected, rejects, build)


def scanned(files: Sequence[ParsedFile], paths: Sequence[Path]) -> list[ParsedFile]:
    """Return files whose parsed rows have been written to these paths, in the same order."""
    return [ParsedFile(file.path, pl.scan_parquet(path, glob=False)) for file, path in zip(files, paths, strict=True)]


def quarantine(table: str, n_rows: int, n_rejected: int, rejects: pl.LazyFrame, build: Build) -> int:
    """See `accept`; the rows are counted already."""
    if n_rejected and build.settings.strict:
        raise InputError(_strictly(table, rejects, n_rejected))
    earlier = build.onto.rejects(table) if build.onto else None
    build.writer.write_rejects(
        table, rejects if earlier is None else pl.concat([earlier, rejects], how="diagonal_relaxed")
    )
    n_rows_earlier, n_rejected_earlier = build.rows_on_record(table)
    rows_in, rejected = n_rows_earlier + n_rows, n_rejected_earlier + n_rejected
    build.ledger.enter(f"read {table}", rows_in=rows_in, rows_out=rows_in - rejected, rejected=rejected)
    return int(rows_in - rejected)


def _strictly(table: str, rejects: pl.LazyFrame, n_rejected: int) -> str:
    first = rejects.select("file", "line", "rule", "found").head(_SHOWN).collect()
    shown = "; ".join(
        f"{file}, line {line:,}: {rule}{'' if found is None else f', found {printable(found)!r}'}"
        for file, line, rule, found in first.iter_rows()
    )
    more = f" and {n_rejected - first.height:,} more" if n_rejected > first.height else ""
    return f"--strict: {table}: expected no rows that break a rule, found {n_rejected:,}: {shown}{more}"


def read_catalogue(files: Sequence[ParsedFile], seen_ids: pl.Series, build: Build) -> pl.DataFrame:
    """Return the catalogue: the items of the metadata and those of the interactions.

    Args:
        files: of metadata.
        seen_ids: of the items that have interactions.
        build: at work.
    """
    items = _read_items(files, build) if files or any(build.rows_on_record("items")) else Items.create_empty()
    catalogued: pl.DataFrame = catalogue.complete_catalogue(items, seen_ids.to_frame("item_id").lazy())
    return catalogued


def count_items(items: pl.DataFrame, build: Build) -> dict[str, int]:
    """Return how many items there are and, where there is metadata, of how many it says nothing."""
    counts = {"items": items.height}
    if any(step["name"] == "read items" for step in build.ledger.steps):
        said = items.drop(build.settings.encoded)
        counts["items_without_metadata"] = said.select((~_SAYS_MORE).sum()).item()
    return counts


def _read_items(files: Sequence[ParsedFile], build: Build) -> pl.DataFrame:
    """Parse raw files of items once, one by one, and keep one row per item, of the store appended to as well."""
    paths = [build.scratch / f"items-{number:06d}.parquet" for number in range(len(files))]
    for file, path in zip(files, paths, strict=True):
        with reading(file.path):
            file.rows.sink_parquet(path)
    parsed = pl.scan_parquet(paths, glob=False) if paths else Items.create_empty().lazy().with_columns(**NO_ORIGIN)
    rejected = pl.col("rule").is_not_null()
    n_rows = accept("items", scanned(files, paths), rejected, parsed.filter(rejected), build)
    _note_unread_prices(parsed.filter(~rejected), build)
    rows = [*_stored_items(build), parsed.filter(~rejected).drop(ORIGIN)]
    items = catalogue.deduplicate_items(pl.concat(rows, how="diagonal"))
    build.ledger.enter("deduplicate items", rows_in=n_rows, rows_out=items.height, merged=n_rows - items.height)
    return items


def _note_unread_prices(accepted: pl.LazyFrame, build: Build) -> None:
    """Have the manifest count the prices that could not be read, and show the first; of the store appended to, too."""
    row = pl.struct("file", "line", "found")
    n_rows, first = accepted.drop_nulls("found").select(pl.len(), row.min_by(row).alias("first")).collect().row(0)
    earlier = build.onto.manifest.get("unread_prices") if build.onto else None
    if earlier:
        n_rows, first = earlier["rows"] + n_rows, earlier["first"]
    if n_rows:
        build.writer.stage.facts["unread_prices"] = {"rows": n_rows, "first": first}


def _stored_items(build: Build) -> list[pl.LazyFrame]:
    """The items that the metadata of the store appended to described: all but those that interactions alone know."""
    if build.onto is None:
        return []
    described = build.onto.scan("items").drop(build.settings.encoded)  # made of the others, once all are known
    seen = build.onto.scan("interactions").select(pl.col("item_id").unique()).collect().to_series()
    return [described.filter(_SAYS_MORE | ~pl.col("item_id").is_in(seen.implode()))]


def nothing_usable(path: object, rejects: pl.LazyFrame, settings: BuildSettings) -> InputError:
    """Return the error that says why no row of a file, and of those after it, can be used: the rules, a row of each."""
    row = pl.struct("file", "line", "found")
    rules = rejects.group_by("rule").agg(pl.len(), first=row.min_by(row)).sort("len", "rule", descending=[True, False])
    broken = []
    for rule, n_rows, first in rules.collect().iter_rows():
        found = "" if first["found"] is None else f"{printable(first['found'])!r} on "
        where = f"line {first['line']:,}" + (f" of {first['file']}" if first["file"] != str(path) else "")
        broken.append(f"{rule} ({n_rows:,} row{'s' * (n_rows > 1)}, such as {found}{where})")
    if any(said.startswith("event_time: not a time") for said in broken):
        usual = "numbers, ISO 8601 or DD.MM.YYYY; others want --time-format"
        broken.append(f"times are {f'{settings.time_format!r} alone' if settings.time_format else usual}")
    return InputError(f"{path}: expected interactions, found none that can be used: {'; '.join(broken) or 'no rows'}")


def fingerprints(files: Sequence[ParsedFile]) -> list[dict[str, Any]]:
    """Return the path, size and sha256 of every input file."""
    return [{"path": str(file.path), "bytes": file.path.stat().st_size, "sha256": sha256(file.path)} for file in files]
