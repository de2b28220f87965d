"""`append_features`: a store that grew equals one built again from all files."""

import gzip
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import polars as pl
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from recsys_polars.recipes.append import append_features
from recsys_polars.recipes.build import build_features
from recsys_polars.recipes.raw import BuildSettings
from recsys_polars.sources import find_files
from recsys_polars.sources.formats import INTERACTIONS, ITEMS
from recsys_polars.store import Store
from tests.logs import ITEMS as ITEM_COLUMNS
from tests.logs import LOG, START, Row, checksums, write

TABLES = (
    "interactions",
    "items",
    "labelled",
    "repeats",
    "filtered",
    "item_features",
    "item_features_valid",
    "user_means",
)
BIG, SMALL = 1 << 30, 1_500
LIKED = [(user, f"i{n}", "5", str(START + 100 * n)) for user in ("u0", "u1") for n in range(6)]
ids = st.sampled_from(["a", "b", "i1", "i2", "two\nlines", " padded "])
events = st.tuples(
    st.sampled_from(["u", "v", "w", "", "two words"]),
    ids,
    st.sampled_from(["5", "4", "-0.0", "0", "five", ""]),
    st.sampled_from(["never", *(str(START + 100 * n) for n in range(9))]),
)
described = st.tuples(
    ids | st.just(""),
    st.sampled_from(["", "red hat", "blue hat 2"]),
    st.sampled_from(["", "acme"]),
    st.sampled_from(["", "5"]),
    st.sampled_from(["", "-0.0", "0", "2"]),
    *[st.sampled_from(["", "-0.0", "0", "0.3"])] * 2,
) | ids.map(lambda item_id: (item_id, *[""] * 6))


@dataclass(frozen=True)
class Batch:
    """What comes at once: rows of a log, rows of items, or both; None: no such file."""

    log: Sequence[Row] | None
    items: Sequence[Row] | None

    def write(self, folder: Path, number: int) -> list[str]:
        """Write the files, which no other batch's equal byte for byte; return their paths."""
        paths = []
        if self.log is not None:
            rows = [*self.log, (f"only {number}", "i1", "5", str(START + 250))]
            paths.append(write(folder / f"log{number}.csv", LOG, rows))
        if self.items is not None:
            anchor = (f"only {number}", "hat", "b", "1", "1", "0.5", "1")  # so that the columns look like numbers
            paths.append(write(folder / f"items{number}.csv", ITEM_COLUMNS, [anchor, *self.items]))
        return [str(path) for path in paths]


logs, items = st.lists(events, max_size=12), st.lists(described, max_size=6)
later = st.one_of(st.builds(Batch, logs, items), st.builds(Batch, logs, st.none()), st.builds(Batch, st.none(), items))
ways = st.sampled_from(
    [
        {"split": "global-time", "min_item_interactions": 2},
        {"split": "user-time", "implicit": True},
        {"split": "last-n", "item_features": ("shelf",)},
        {"split": "last-n", "test_n": 2, "valid_fraction": 0.0, "text": "none"},
    ]
)


def rejected(store: Store, table: str) -> pl.DataFrame:
    rows = store.rejects(table)
    return pl.DataFrame() if rows is None else rows.collect().sort(pl.all())


def assert_same(grown: Store, rebuilt: Store) -> None:
    """Every table and tensor is the same, and so is what was read, rejected and merged."""
    for table in TABLES:
        assert_frame_equal(grown.scan(table).collect(), rebuilt.scan(table).collect(), check_exact=True)
    for table in TABLES[-3:]:
        tensors, expected = grown.tensors(table), rebuilt.tensors(table)
        assert {n: t.tobytes() for n, t in tensors.items()} == {n: t.tobytes() for n, t in expected.items()}
    for table in ("interactions", "items"):
        assert_frame_equal(rejected(grown, table), rejected(rebuilt, table))
        found, expected = (store.manifest.get("rejects", {}).get(table, {}) for store in (grown, rebuilt))
        assert found.get("rules") == expected.get("rules")
    for said in ("counts", "blocks"):
        assert grown.manifest[said] == rebuilt.manifest[said]
    for step in grown.manifest["steps"]:
        assert step["rows_in"] == step["rows_out"] + step["merged"] + step["rejected"]
    # Metadata that says nothing but the id of an item is not kept, once the item has interactions.
    steps = [
        [step for step in store.manifest["steps"] if step["name"] != "deduplicate items"] for store in (grown, rebuilt)
    ]
    assert steps[0] == steps[1]
    inputs = [sorted(entry["path"] for entry in store.manifest["inputs"]) for store in (grown, rebuilt)]
    assert inputs[0] == inputs[1]


@settings(deadline=None, max_examples=8, derandomize=True, phases=(Phase.explicit, Phase.generate))
@given(st.builds(Batch, logs, items | st.none()), st.lists(later, min_size=1, max_size=3), ways, st.booleans())
def test_a_store_that_grew_equals_one_built_from_all_files(first, batches, way, grows_in_buckets) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if first.items is None:
            way = {name: value for name, value in way.items() if name != "item_features"}
        first = Batch([*LIKED, *first.log], first.items)
        first.write(folder, 0)
        memory = (SMALL, BIG) if grows_in_buckets else (BIG, SMALL)
        start = {"interactions": str(folder / "log*.csv"), "memory_bytes": memory[0], **way}
        if first.items is not None:
            start["items"] = str(folder / "items*.csv")
        grown = build_features(BuildSettings(**start), folder / "grown")
        for number, batch in enumerate(batches, start=1):
            paths = batch.write(folder, number)
            grown = append_features(folder / "grown", paths, memory_bytes=memory[0]).store
            assert grown.manifest["appended"][-1] == {"to": f"{number:06d}", "paths": paths}
        asked = start | {"memory_bytes": memory[1]}
        if list(folder.glob("items*.csv")):
            asked["items"] = str(folder / "items*.csv")
        assert_same(grown, build_features(BuildSettings(**asked), folder / "rebuilt"))


def halves(path: Path, folder: Path) -> list[str]:
    """Write the rows of a file into two, in another order; return their paths."""
    if path.suffix == ".parquet":
        rows = pl.read_parquet(path).sample(fraction=1, shuffle=True, seed=0)
        parts = [folder / f"{number} {path.name}" for number in range(2)]
        for number, part in enumerate(parts):
            rows.gather_every(2, number).write_parquet(part)
    else:
        is_gzip = path.suffix == ".gz"
        lines = (gzip.decompress(path.read_bytes()) if is_gzip else path.read_bytes()).splitlines(keepends=True)
        header = [lines.pop(0)] if ".csv" in path.suffixes else []
        Random(0).shuffle(lines)
        parts = [folder / f"{number} {path.name.removesuffix('.gz')}" for number in range(2)]
        for number, part in enumerate(parts):
            part.write_bytes(b"".join([*header, *lines[number::2]]))
    return [str(part) for part in parts]


def test_a_real_store_that_grew_in_buckets_has_the_bytes_of_one_built_at_once(real_set, tmp_path) -> None:
    (log,) = find_files(str(real_set), prefer=INTERACTIONS.file_names, avoid=ITEMS.file_names)
    (items,) = find_files(str(real_set), prefer=ITEMS.file_names)
    whole = build_features(BuildSettings(interactions=str(log), items=str(items)), tmp_path / "whole")
    (first, later), (first_items, later_items) = (halves(path, tmp_path) for path in (log, items))
    settings = BuildSettings(interactions=first, items=first_items, memory_bytes=2_000_000)
    build_features(settings, tmp_path / "grown")
    append_features(tmp_path / "grown", [later], memory_bytes=3_000_000)
    grown = append_features(tmp_path / "grown", [later_items]).store
    assert checksums(grown) == checksums(whole)
