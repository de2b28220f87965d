"""`build_features`: raw files -> the feature store."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from recsys_polars.recipes import Progress, silent
from recsys_polars.recipes.encode import check_encoders, store_catalogue
from recsys_polars.recipes.events import Buckets, into_buckets, read_events
from recsys_polars.recipes.features import store_knowledge
from recsys_polars.recipes.pairs import cut_buckets, store_pairs
from recsys_polars.recipes.raw import (
    Build,
    BuildSettings,
    fingerprints,
    open_sources,
    with_defaults,
)
from recsys_polars.recipes.spool import Spool
from recsys_polars.store import Store, build_store, open_store


def build_features(settings: BuildSettings, out: Path, *, progress: Progress = silent) -> Store:
    """Build a new generation of the store at `out`.

    Memory: `settings.memory_bytes` for the rows at work, and the ids and the catalogue with its vectors. More rows take
    more disk beside the store while it is being built, and more time.

    Raises:
        InputError: files, columns or options that can't be used, or data that leaves nothing to learn from.
        ArtefactError: `out` is no store, or another build is at work there.
    """
    settings = with_defaults(settings)
    sources = open_sources(settings)
    check_encoders(settings, sources[1])
    with building(settings, out, progress=progress) as build:
        progress("read interactions", 0, 5)
        events = read_events(sources[0].files, build)
        progress("read items", 1, 5)
        item_files = sources[1].files if sources[1] else []
        items = store_catalogue(item_files, events.item_ids(), build)
        facts = store_tables(into_buckets(events, items["item_id"], build), items, build, progress)
        progress("publish", 4, 5)
        build.writer.stage.facts |= {
            **facts,
            "parameters": {**asdict(settings), "format": sources[0].format, "implicit": sources[0].implicit},
            "asked": {"format": settings.format, "implicit": settings.implicit},
            "inputs": fingerprints([*sources[0].files, *item_files]),
            "left_out_columns": sources[1].left_out if sources[1] else [],
            "steps": build.ledger.steps,
        }
    return open_store(out)


@contextmanager
def building(
    settings: BuildSettings, out: Path, *, onto: Store | None = None, progress: Progress = silent
) -> Iterator[Build]:
    """Hold a new generation of the store at `out`, published when the block ends, and a folder that goes with it."""
    with build_store(out) as writer, TemporaryDirectory(dir=writer.stage.folder) as scratch:
        yield Build(settings, writer, Path(scratch), onto, progress=progress)


def store_tables(buckets: Buckets, items: pl.DataFrame, build: Build, progress: Progress = silent) -> dict[str, Any]:
    """Write every table but the catalogue; return the blocks and the counts of the manifest."""
    n_buckets, spool = len(buckets.frames), Spool(build.scratch)
    progress("cut and label", 2, 5)
    cut_buckets(buckets, spool, build)
    counts = store_pairs(buckets, spool, build)
    progress("build features", 3, 5)
    return {"blocks": store_knowledge(items, buckets.user_ids, n_buckets, spool, build), "counts": counts}
