"""`build_features`: raw files -> the feature store."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from recsys_polars.recipes import Progress, silent
from recsys_polars.recipes.encode import check_encoders, store_catalogue
from recsys_polars.recipes.events import into_buckets, read_events
from recsys_polars.recipes.features import store_knowledge
from recsys_polars.recipes.pairs import cut_buckets, store_pairs
from recsys_polars.recipes.raw import (
    Build,
    BuildSettings,
    Sources,
    count_items,
    fingerprints,
    open_sources,
    with_defaults,
)
from recsys_polars.recipes.spool import Spool
from recsys_polars.recipes.timing import Stopwatch
from recsys_polars.sources import ParsedFile
from recsys_polars.store import Store, build_store, open_store


def build_features(settings: BuildSettings, out: Path, *, progress: Progress = silent) -> Store:
    """Build a new generation of the store at `out`.

    Memory: `settings.memory_bytes` for the rows at work, and the ids and the catalogue with its vectors. More rows take
    more disk beside the store while it is being built, and more time.

    Raises:
        InputError: files, columns or options that can't be used, or data that leaves nothing to learn from.
        ArtefactError: `out` is no store, or another build is at work there.
    """
    watch = Stopwatch(progress)
    settings = with_defaults(settings)
    sources = open_sources(settings)
    check_encoders(settings, sources[1])
    with building(settings, out, progress=watch) as build:
        item_files = sources[1].files if sources[1] else []
        store_tables(sources[0].files, item_files, build)
        note_sources(sources, build)
        build.writer.stage.facts |= {"inputs": fingerprints([*sources[0].files, *item_files])}
    store = open_store(out)
    watch.keep(out, store.identity)
    return store


def note_sources(sources: Sources, build: Build) -> None:
    """Have the manifest say what the store is built from, and how; all but the fingerprints of the files."""
    interactions, items = sources
    build.writer.stage.facts |= {
        "parameters": {**asdict(build.settings), "format": interactions.format, "implicit": interactions.implicit},
        "asked": {"format": build.settings.format, "implicit": build.settings.implicit},
        "left_out_columns": items.left_out if items else [],
        "left_out_of_interactions": interactions.left_out,
    }


@contextmanager
def building(
    settings: BuildSettings, out: Path, *, onto: Store | None = None, progress: Progress = silent
) -> Iterator[Build]:
    """Hold a new generation of the store at `out`, published when the block ends, and a folder that goes with it."""
    with build_store(out) as writer, TemporaryDirectory(dir=writer.stage.folder) as scratch:
        yield Build(settings, writer, Path(scratch), onto, progress=progress)


def store_tables(interactions: Sequence[ParsedFile], items: Sequence[ParsedFile], build: Build) -> None:
    """Write every table, of these files and of the store appended to, and what the manifest says of them."""
    spool = Spool(build.scratch)
    events = read_events(interactions, build)
    build.progress("read items", 0, 0)
    catalogue = store_catalogue(items, events.item_ids(), build)
    build.progress("sort by user", 0, 0)
    buckets = into_buckets(events, catalogue["item_id"], build)
    cut_buckets(buckets, spool, build)
    counts = store_pairs(buckets, spool, build)
    build.progress("build features", 0, 0)
    blocks = store_knowledge(catalogue, buckets.user_ids, len(buckets.frames), spool, build)
    build.progress("publish", 0, 0)
    build.writer.stage.facts |= {
        "blocks": blocks,
        "counts": counts | count_items(catalogue, build),
        "steps": build.ledger.steps,
    }
