import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recsys_polars.artefacts import generations
from recsys_polars.disk import sha256
from recsys_polars.errors import ArtefactError, TableError
from recsys_polars.store import StoreWriter, build_store, open_store
from recsys_polars.tables import Interactions, Items, Labelled, UserMeans, as_matrix, check
from tests.forging import forge

MEAN = pl.Array(pl.Float32, 2)


def items_of(*ids: str | None) -> pl.DataFrame:
    """`Items` with nothing but their ids."""
    ids = pl.DataFrame({"item_id": ids}, schema={"item_id": pl.String})
    return pl.concat([Items.create_empty(), ids], how="diagonal")


def means_of(*means: list[float]) -> pl.DataFrame:
    """`UserMeans` of users u0, u1, ..."""
    n = len(means)
    users = [f"u{place}" for place in range(n)]
    frame = UserMeans.create_empty().clear(n).with_columns(user_id=pl.Series(users, dtype=pl.String))
    return frame.with_columns(
        before=pl.lit("test"), n_positives=pl.lit(1, pl.UInt32), mean=pl.Series(means, dtype=MEAN)
    )


@contextmanager
def build_with_blocks(path: Path) -> Iterator[StoreWriter]:
    """A build whose manifest names the vector blocks, as every store's must."""
    with build_store(path) as writer:
        writer.stage.facts["blocks"] = ["numeric"]
        yield writer


def build(path: Path, *ids: str, rejects: int = 0) -> None:
    with build_with_blocks(path) as writer:
        writer.write("items", items_of(*ids), Items)
        writer.write_rejects("items", pl.LazyFrame({"item_id": ["bad"] * rejects, "rule": ["broken"] * rejects}))


def fail_half_way(path: Path) -> None:
    with build_with_blocks(path) as writer:
        writer.write("items", items_of("half"), Items)
        writer.write_rejects("items", pl.LazyFrame({"item_id": ["bad"], "rule": ["broken"]}))
        raise ZeroDivisionError


def files_of(path: Path) -> dict[str, bytes]:
    """Every file but the lock, byte by byte."""
    files = (file for file in path.rglob("*") if file.is_file() and file.name != ".lock")
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def ids_in(path: Path) -> list[str]:
    return open_store(path).scan("items").collect()["item_id"].to_list()


def rejects_in(path: Path) -> list[str]:
    return sorted(file.name for file in (path / "rejects").glob("*"))


def test_a_table_is_read_as_it_was_written(tmp_path) -> None:
    means = means_of([0.1, 1.0], [2.0, -3.0])
    with build_with_blocks(tmp_path) as writer:
        writer.write("user_means", means, UserMeans)
        assert_frame_equal(writer.scan("user_means").collect(), means)
    assert_frame_equal(open_store(tmp_path).scan("user_means").collect(), means)


def test_the_manifest_tells_rows_columns_and_checksum_of_a_table(tmp_path) -> None:
    with build_with_blocks(tmp_path) as writer:
        writer.write("user_means", means_of([0.5, 1.0]), UserMeans)
    store = open_store(tmp_path)
    entry = store.manifest["files"]["user_means.parquet"]
    assert entry["rows"] == 1
    assert entry["columns"]["n_positives"] == "UInt32"
    assert entry["sha256"] == sha256(tmp_path / store.generation / "user_means.parquet")


@pytest.mark.parametrize("means", [[[0.1, 1.0], [2.0, -3.0], [0.0, 1e-30]], []])
def test_tensors_equal_the_vectors_of_their_table(tmp_path, means) -> None:
    table = means_of(*means)
    with build_with_blocks(tmp_path) as writer:
        writer.write("user_means", table, UserMeans)
        writer.write_tensors("user_means", {"test": as_matrix(table["mean"])})
    store = open_store(tmp_path)
    tensor = store.tensors("user_means")["test"]
    assert (tensor.dtype, tensor.shape) == (np.float32, (len(means), 2))
    np.testing.assert_array_equal(tensor, as_matrix(store.scan("user_means").collect()["mean"]))
    assert store.manifest["files"]["user_means.safetensors"]["shapes"] == {"test": [len(means), 2]}


def test_tensors_that_are_views_or_float64_are_written_as_they_look(tmp_path) -> None:
    matrix = np.arange(12, dtype=np.float64).reshape(3, 4)
    with build_with_blocks(tmp_path) as writer:
        writer.write_tensors("items", {"turned": matrix.T, "every second": matrix[:, ::2]})
    tensors = open_store(tmp_path).tensors("items")
    np.testing.assert_array_equal(tensors["turned"], matrix.T)
    np.testing.assert_array_equal(tensors["every second"], matrix[:, ::2])


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux lists its maps")
def test_tensors_are_mapped_and_not_copied(tmp_path) -> None:
    with build_with_blocks(tmp_path) as writer:
        writer.write_tensors("items", {"tfidf": np.ones((1_000, 100))})
    tensor = open_store(tmp_path).tensors("items")["tfidf"]
    address = tensor.__array_interface__["data"][0]
    maps = [line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith("items.safetensors")]
    ranges = [[int(end, 16) for end in line.split()[0].split("-")] for line in maps]
    assert any(start <= address < stop for start, stop in ranges)


def test_damaged_tensors_are_named(tmp_path) -> None:
    with build_with_blocks(tmp_path) as writer:
        writer.write_tensors("items", {"tfidf": np.ones((10, 2))})
    file = tmp_path / "000001" / "items.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(
        ArtefactError, match=r"items\.safetensors: damaged, its bytes are not what the manifest says; make it again$"
    ):
        open_store(tmp_path).tensors("items")


def test_a_table_that_the_store_lacks_is_named(tmp_path) -> None:
    build(tmp_path, "a")
    store = open_store(tmp_path)
    with pytest.raises(ArtefactError, match=r"000001/labelled\.parquet: expected a file, found none; make it again$"):
        store.scan("labelled")
    with pytest.raises(ArtefactError, match=r"000001/items\.safetensors: expected a file, found none"):
        store.tensors("items")


def test_a_table_whose_file_was_deleted_is_named(tmp_path) -> None:
    build(tmp_path, "a")
    (tmp_path / "000001" / "items.parquet").unlink()
    with pytest.raises(ArtefactError, match=r"000001/items\.parquet: expected a file, found none"):
        open_store(tmp_path).scan("items")


def test_a_generation_that_is_open_stays_until_it_is_not(tmp_path) -> None:
    build(tmp_path, "a")
    store = open_store(tmp_path)
    for item_id in "bcd":
        build(tmp_path, item_id)
    assert generations(tmp_path) == ["000001", "000003", "000004"]
    assert store.scan("items").collect()["item_id"].to_list() == ["a"]
    del store
    build(tmp_path, "e")
    assert generations(tmp_path) == ["000004", "000005"]


def test_a_damaged_table_is_named_before_it_is_read(tmp_path) -> None:
    build(tmp_path, "a")
    file = tmp_path / "000001" / "items.parquet"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(ArtefactError, match=r"000001/items\.parquet: damaged"):
        open_store(tmp_path).scan("items")


def test_a_store_without_the_names_of_its_blocks_is_refused(tmp_path) -> None:
    with build_store(tmp_path):
        pass
    with pytest.raises(ArtefactError, match="expected the names of vector blocks in the manifest, found None"):
        open_store(tmp_path)


def test_the_identity_of_a_store_changes_with_its_tables_alone(tmp_path) -> None:
    for name, ids in (("one", "a"), ("same", "a"), ("other", "b")):
        build(tmp_path / name, *ids)
    one, same, other = (open_store(tmp_path / name).identity for name in ("one", "same", "other"))
    assert one == same != other


def test_no_store_at_all_says_how_to_build_one(tmp_path) -> None:
    with pytest.raises(ArtefactError) as error:
        open_store(tmp_path / "my store")
    build = f"recsys-polars build-features --out '{tmp_path}/my store'"
    assert str(error.value) == f"{tmp_path}/my store: expected a feature store, found none; build one with {build}"


def test_an_error_in_the_block_leaves_the_old_store_byte_by_byte(tmp_path) -> None:
    build(tmp_path, "a", rejects=1)
    before = files_of(tmp_path)
    with pytest.raises(ZeroDivisionError):
        fail_half_way(tmp_path)
    assert files_of(tmp_path) == before


def test_a_table_that_breaks_its_contract_is_not_written(tmp_path) -> None:
    build(tmp_path, "a")
    with pytest.raises(TableError, match=r"^items: rows break"):
        build(tmp_path, "b", "b")
    assert ids_in(tmp_path) == ["a"]


KILLED = """
import sys, time
from pathlib import Path
import polars as pl
from recsys_polars.store import build_store
with build_store(Path(sys.argv[1])) as writer:
    writer.write_rejects("items", pl.LazyFrame({"item_id": ["bad"], "rule": ["broken"]}))
    print("in the middle", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def build_in_the_middle(tmp_path):
    """Another process half through a build, with rejects, of a store that has one generation."""
    build(tmp_path, "old")
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "in the middle\n"
        yield process
        process.kill()


def kill(process: subprocess.Popen) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_a_kill_in_the_middle_leaves_the_old_store_and_the_next_build_works(tmp_path, build_in_the_middle) -> None:
    kill(build_in_the_middle)
    assert ids_in(tmp_path) == ["old"]
    build(tmp_path, "new")
    assert ids_in(tmp_path) == ["new"]


def test_rejects_of_a_killed_build_are_not_those_of_the_next(tmp_path, build_in_the_middle) -> None:
    kill(build_in_the_middle)
    build(tmp_path, "new")
    assert rejects_in(tmp_path) == []


def test_a_refused_folder_keeps_every_file(tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "rejects").mkdir()
    (tmp_path / "rejects" / "mine.parquet").write_bytes(b"mine")
    with pytest.raises(ArtefactError, match="expected a new or an empty folder"):
        build(tmp_path, "a")
    assert files_of(tmp_path) == {"notes.txt": b"mine", "rejects/mine.parquet": b"mine"}


def test_a_file_in_a_folder_named_rejects_that_no_build_wrote_is_kept(tmp_path) -> None:
    (tmp_path / "rejects").mkdir()
    (tmp_path / "rejects" / "mine.parquet").write_bytes(b"mine")
    with suppress(ArtefactError):
        build(tmp_path, "a")
    assert (tmp_path / "rejects" / "mine.parquet").is_file()


def test_rejects_say_what_was_broken_and_stand_in_the_manifest(tmp_path) -> None:
    build(tmp_path, "a", rejects=2)
    file = tmp_path / "rejects" / "items-000001.parquet"
    assert pl.read_parquet(file).rows() == [("bad", "broken")] * 2
    manifest = open_store(tmp_path).manifest
    assert manifest["rejects"] == {
        "items": {"file": "rejects-items.parquet", "rows": 2, "rules": {"broken": 2}, "first": [{"rule": "broken"}]}
    }
    assert manifest["files"]["rejects-items.parquet"]["sha256"] == sha256(file)


@pytest.mark.parametrize("order", [1, -1])
def test_the_first_row_of_a_rule_is_the_lowest_by_file_line_and_what_was_found(tmp_path, order) -> None:
    rows = [
        ("b.csv", 1, "late", "b"),
        ("a.csv", 10, "late", "ten"),
        ("a.csv", 9, "late", "nine"),
        ("a.csv", 9, "late", "a nine of another day"),
        ("c.csv", 2, "blank", None),
    ]
    rejects = pl.LazyFrame(rows[::order], schema=["file", "line", "rule", "found"], orient="row")
    with build_with_blocks(tmp_path) as writer:
        writer.write_rejects("items", rejects)
    assert open_store(tmp_path).manifest["rejects"]["items"]["first"] == [
        {"rule": "late", "file": "a.csv", "line": 9, "found": "a nine of another day"},
        {"rule": "blank", "file": "c.csv", "line": 2, "found": None},
    ]


def test_without_rejects_there_is_no_file_of_them(tmp_path) -> None:
    build(tmp_path, "a")
    assert not (tmp_path / "rejects").exists()
    assert "rejects" not in open_store(tmp_path).manifest


def test_rejects_go_with_their_generation(tmp_path) -> None:
    for item_id in "abcd":
        build(tmp_path, item_id, rejects=1)
    assert generations(tmp_path) == ["000003", "000004"]
    assert rejects_in(tmp_path) == ["items-000003.parquet", "items-000004.parquet"]


def test_models_outlive_a_new_generation(tmp_path) -> None:
    build(tmp_path, "a")
    models = open_store(tmp_path).models_folder
    models.mkdir()
    (models / "model.json").write_text("{}", encoding="utf-8")
    build(tmp_path, "b")
    assert (open_store(tmp_path).models_folder / "model.json").is_file()


def test_a_store_of_another_version_is_refused(tmp_path) -> None:
    build(tmp_path, "a")
    forge(tmp_path, lambda manifest: manifest | {"format_version": 99})
    with pytest.raises(ArtefactError, match="expected format version 1, found 99; make it again"):
        open_store(tmp_path)


def test_a_check_passes_a_frame_on_as_it_is() -> None:
    items = items_of("b", "a").with_columns(clip_text=pl.lit([1.0, 2.0], dtype=MEAN))
    assert check(Items, items, name="items") is items


def test_a_check_names_every_missing_column() -> None:
    with pytest.raises(TableError, match=r"^my items: expected the columns \['item_id', .*\], found no brand, price$"):
        check(Items, items_of("a").drop("brand", "price"), name="my items")


def test_a_check_names_every_wrong_type_and_what_was_expected() -> None:
    items = items_of("a").with_columns(title=pl.lit(1, pl.Int64), price=pl.lit("9"))
    wrong = "^items: title: expected String, found Int64; price: expected Float64, found String$"
    with pytest.raises(TableError, match=wrong):
        check(Items, items, name="items")


@pytest.mark.parametrize(
    ("ids", "broken"),
    [
        (["a", "a", "b"], r"primary_key: 2 rows"),
        (["a", None, None], r"item_id\|nullability: 2 rows"),
        (["a", ""], r"item_id\|min_length: 1 rows"),
    ],
)
def test_a_check_names_the_rule_and_counts_the_rows(ids, broken) -> None:
    with pytest.raises(TableError, match=f"^items: rows break the contract of Items: .*{broken}"):
        check(Items, items_of(*ids), name="items")


def labelled_of(**changed: object) -> pl.DataFrame:
    row = {"user_id": "u", "item_id": "a", "rating": 5.0, "event_time": datetime(2020, 1, 1, tzinfo=UTC)}
    return pl.DataFrame([row | {"label": 1, "part": "train"} | changed], schema=Labelled.create_empty().schema)


@pytest.mark.parametrize(("column", "value"), [("label", 2), ("part", "later"), ("label", None), ("user_id", None)])
def test_a_check_names_all_values_outside_the_contract(column, value) -> None:
    check(Labelled, labelled_of(), name="labelled")
    with pytest.raises(TableError, match=rf"^labelled: rows break the contract of Labelled: {column}\|\w+: 1 rows"):
        check(Labelled, labelled_of(**{column: value}), name="labelled")


def test_a_pair_in_two_parts_breaks_the_contract() -> None:
    with pytest.raises(TableError, match="primary_key: 2 rows"):
        check(Labelled, pl.concat([labelled_of(), labelled_of(part="test")]), name="labelled")


def test_a_repeated_pair_is_legal_among_interactions() -> None:
    rows = labelled_of().select(Interactions.column_names())
    assert check(Interactions, pl.concat([rows, rows]), name="interactions").height == 2
