"""`build_features`: raw files -> the feature store."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl

from recsys_polars import catalogue, counting, item_features, labelling, splitting, user_means
from recsys_polars.artefacts import sha256
from recsys_polars.errors import InputError, TableError
from recsys_polars.recipes import Progress, silent
from recsys_polars.recipes.embedded import embedded_files
from recsys_polars.sources import ParsedFile, ParsedInteractions, ParsedItems, read_interactions, read_items, reading
from recsys_polars.store import Store, StoreWriter, build_store, open_store
from recsys_polars.tables import (
    CUTS,
    PARTS,
    Interactions,
    ItemFeatures,
    Items,
    Labelled,
    Repeats,
    UserMeans,
    Vectors,
    as_matrix,
    features_table,
    vector_columns,
)


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
    split: splitting.Split | None = None
    test_fraction: float = 0.1
    test_n: int = 1
    valid_fraction: float = 0.1
    min_user_interactions: int = 1
    min_item_interactions: int = 1
    text: str = "tfidf"
    memory_bytes: int = 2 << 30


def build_features(settings: BuildSettings, out: Path, *, progress: Progress = silent) -> Store:
    """Build a new generation of the store at `out`.

    Raises:
        InputError: files, columns or options that can't be used, or data that leaves nothing to learn from.
        ArtefactError: `out` is no store, or another build is at work there.
    """
    settings = _with_defaults(settings)
    with build_store(out) as writer, TemporaryDirectory(dir=writer.stage.folder) as scratch:
        ledger = Ledger()
        sources = _open_sources(settings)
        progress("read interactions", 0, 5)
        interactions = _read_interactions(sources[0], writer, ledger, Path(scratch))
        progress("cut and label", 1, 5)
        labelled, repeats = _label(interactions, settings, writer, ledger, Path(scratch))
        progress("read items", 2, 5)
        items = _read_items(sources[1], interactions, writer, ledger, Path(scratch))
        progress("build features", 3, 5)
        blocks = _build_vectors(items, labelled, repeats, settings, writer)
        progress("publish", 4, 5)
        writer.stage.facts |= {
            "blocks": blocks,
            "parameters": {**asdict(settings), "format": sources[0].format, "implicit": sources[0].implicit},
            "inputs": _fingerprints(sources),
            "left_out_columns": sources[1].left_out if sources[1] else [],
            "steps": ledger.steps,
            "counts": _counts(labelled, repeats, items),
        }
    return open_store(out)


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


def _with_defaults(settings: BuildSettings) -> BuildSettings:
    if settings.interactions is not None:
        return replace(settings, split=settings.split or "global-time")
    if settings.items is not None:
        raise InputError("--items: expected --interactions too, found none")
    interactions, items = embedded_files()
    split = settings.split or "user-time"
    return replace(settings, interactions=str(interactions), items=str(items), format="movielens", split=split)


def _open_sources(settings: BuildSettings) -> tuple[ParsedInteractions, ParsedItems | None]:
    """Look at the heads of the files: formats, columns, what is missing."""
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


def _accept(parsed: pl.LazyFrame, table: str, writer: StoreWriter, ledger: Ledger) -> pl.LazyFrame:
    """Quarantine the rows that broke a rule; return the others, without their origin."""
    rejected = pl.col("rule").is_not_null()
    writer.write_rejects(table, parsed.filter(rejected))
    rows_in, n_rejected = parsed.select(pl.len(), rejected.sum().alias("rejected")).collect().row(0)
    ledger.enter(f"read {table}", rows_in=rows_in, rows_out=rows_in - n_rejected, rejected=n_rejected)
    return parsed.filter(~rejected).drop("file", "line", "rule", "found")


def _read_interactions(source: ParsedInteractions, writer: StoreWriter, ledger: Ledger, scratch: Path) -> pl.LazyFrame:
    parsed = _parse(source.files, scratch, "interactions")
    accepted = (
        _accept(parsed, "interactions", writer, ledger).sort("user_id", "event_time", "item_id", "rating").collect()
    )
    if accepted.is_empty():
        rules = parsed.group_by("rule").len().sort("len", "rule", descending=[True, False]).collect()
        broken = "; ".join(f"{rule} ({rows:,} rows)" for rule, rows in rules.iter_rows())
        raise InputError(
            f"{source.files[0].path}: expected interactions, found none that can be used: {broken or 'no rows'}"
        )
    writer.write("interactions", accepted, Interactions)
    return writer.scan("interactions")


def _label(
    interactions: pl.LazyFrame, settings: BuildSettings, writer: StoreWriter, ledger: Ledger, scratch: Path
) -> tuple[pl.DataFrame, pl.DataFrame]:
    parted_path = scratch / "parted.parquet"
    splitting.assign_parts(
        interactions,
        split=settings.split or "global-time",
        test_fraction=settings.test_fraction,
        test_n=settings.test_n,
        valid_fraction=settings.valid_fraction,
    ).sink_parquet(parted_path)
    parted = pl.scan_parquet(parted_path)
    pairs = labelling.label_interactions(
        splitting.deduplicate_interactions(parted), min_rating=settings.min_rating
    ).collect()
    labelled = pairs.filter(~pl.col("is_repeat")).select(Labelled.column_names()).sort("user_id", "item_id")
    repeats = pairs.filter("is_repeat").select(Repeats.column_names()).sort("user_id", "item_id", "part")
    rows_in = dict(parted.group_by("part").len().collect().iter_rows())
    for part in PARTS:
        n_in, n_out = rows_in.get(part, 0), labelled.filter(pl.col("part") == part).height
        ledger.enter(f"pairs of {part}", rows_in=n_in, rows_out=n_out, merged=n_in - n_out)
    labelled = _filter(labelled, settings, writer, ledger)
    _check_history(labelled, settings)
    writer.write("labelled", labelled, Labelled)
    writer.write("repeats", repeats, Repeats)
    return labelled, repeats


def _filter(labelled: pl.DataFrame, settings: BuildSettings, writer: StoreWriter, ledger: Ledger) -> pl.DataFrame:
    """Drop rare users and items from the train part: what came later decides nothing, and truth stays truth."""
    smallest = {"min_user": settings.min_user_interactions, "min_item": settings.min_item_interactions}
    if max(smallest.values()) <= 1:
        return labelled
    train = labelled.filter(pl.col("part") == "train")
    kept = counting.filter_counts(train, **smallest)
    dropped = train.join(kept, on=["user_id", "item_id"], how="anti")
    rule = "user with fewer than {min_user} pairs, or item with fewer than {min_item}".format(**smallest)
    writer.write_rejects("filtered", dropped.lazy().with_columns(rule=pl.lit(rule)))
    ledger.enter("filter train", rows_in=train.height, rows_out=kept.height, rejected=dropped.height)
    return labelled.join(dropped, on=["user_id", "item_id"], how="anti", maintain_order="left")


def _check_history(labelled: pl.DataFrame, settings: BuildSettings) -> None:
    before_test = labelled.filter(pl.col("part") != "test")
    if before_test.is_empty():
        raise InputError(
            f"--split {settings.split}: expected interactions before the test cut, found none: all rows lie after it"
        )
    if not before_test["label"].sum():
        raise InputError(
            f"--min-rating {settings.min_rating:g}: expected some liked pairs before the test cut, found none in "
            f"{before_test.height:,}; lower it, or use --implicit"
        )


def _read_items(
    source: ParsedItems | None, interactions: pl.LazyFrame, writer: StoreWriter, ledger: Ledger, scratch: Path
) -> pl.DataFrame:
    items: pl.DataFrame
    if source is None:
        items = Items.create_empty()
    else:
        accepted = _accept(_parse(source.files, scratch, "items"), "items", writer, ledger)
        n_rows = accepted.select(pl.len()).collect().item()
        items = catalogue.deduplicate_items(accepted)
        ledger.enter("deduplicate items", rows_in=n_rows, rows_out=items.height, merged=n_rows - items.height)
    items = catalogue.complete_catalogue(items, interactions)
    writer.write("items", items, Items)
    return items


def _build_vectors(
    items: pl.DataFrame, labelled: pl.DataFrame, repeats: pl.DataFrame, settings: BuildSettings, writer: StoreWriter
) -> list[str]:
    """Write the item features and the user means of both cuts; return the vector blocks in their order."""
    means: dict[str, tuple[pl.DataFrame, Vectors]] = {}
    blocks: list[str] = []
    for before in CUTS:
        known = splitting.history(labelled.lazy(), repeats.lazy(), before=before).collect().lazy()
        features = item_features.build_item_features(
            items, known, item_features=settings.item_features, text=settings.text
        )
        blocks = vector_columns(features.schema)
        tensors = {block: as_matrix(features[block]) for block in blocks}
        writer.write(features_table(before), features, ItemFeatures)
        writer.write_tensors(features_table(before), tensors)
        item_vectors = np.hstack([tensors[block] for block in blocks])
        means[before] = user_means.aggregate_user_means(
            known, items["item_id"], item_vectors, before=before, memory_bytes=settings.memory_bytes
        )
    columns = [
        counts.with_columns(pl.Series("mean", vectors, dtype=pl.Array(pl.Float32, vectors.shape[1])))
        for counts, vectors in means.values()
    ]
    writer.write("user_means", pl.concat(columns), UserMeans)
    writer.write_tensors("user_means", {before: vectors for before, (_, vectors) in means.items()})
    return blocks


def _fingerprints(sources: tuple[ParsedInteractions, ParsedItems | None]) -> list[dict[str, Any]]:
    files = [file.path for source in sources if source for file in source.files]
    return [{"path": str(path), "bytes": path.stat().st_size, "sha256": sha256(path)} for path in files]


def _counts(labelled: pl.DataFrame, repeats: pl.DataFrame, items: pl.DataFrame) -> dict[str, Any]:
    """What the summary tells: users, items, pairs and positives by part, repeats by part."""
    parts = labelled.group_by("part").agg(
        pairs=pl.len(), positives=pl.col("label").sum(), users=pl.col("user_id").n_unique()
    )
    return {
        "users": labelled["user_id"].n_unique(),
        "items": items.height,
        "parts": {row["part"]: {key: row[key] for key in ("pairs", "positives", "users")} for row in parts.to_dicts()},
        "repeats": dict(repeats.group_by("part").len().sort("part").iter_rows()),
    }
