"""`store list`, `verify` and `prune`; and what they and every reader say of a byte that changed, or of a link."""

import json
import random
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import recsys_polars
from recsys_polars.models import NAMES
from recsys_polars.recipes.timing import TIMINGS
from recsys_polars.recipes.tuned import Trial, Tuned, tuned_path, write_tuned
from recsys_polars.store import open_store
from recsys_polars.two_stage import trees
from tests.forging import forge
from tests.two_stage.shops import FEW

OF_MLP = ("labelled.parquet", "repeats.parquet", "filtered.parquet", "item_features.parquet")
OF_MLP = (*OF_MLP, "item_features.safetensors", "user_means.parquet", "user_means.safetensors")
OF_AUTO = ("interactions.parquet", "items.parquet")
OF_TRAINING = ("item_features_valid.parquet", "item_features_valid.safetensors")
REJECTS = "rejects/interactions-000002.parquet"
OF_NOBODY = ("rejects-interactions.parquet",)
TABLES = (*OF_MLP, *OF_AUTO, *OF_TRAINING, *OF_NOBODY, "manifest.json")
MODELS = {
    "popularity": (),
    "catboost": ("trees.cbm", "inputs.json"),
    "mlp": ("weights.safetensors", "inputs.json"),
    "two-tower": ("weights.safetensors", "inputs.json"),
    "auto": ("orders.json",),
}


@pytest.fixture(scope="module")
def whole(world: Any, run: Callable[..., Result], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store that has two generations, rejects, every kind of model and a search; and a ranking."""
    folder = tmp_path_factory.mktemp("whole")
    log, store = folder / "log.csv", folder / "store"
    log.write_text(world.log.read_text() + "u000,,5,1262304000\n")
    shutil.copytree(world.store, store)
    commands: list[tuple[object, ...]] = [
        ("build-features", "--interactions", log, "--items", world.items, "--out", store),
        *(("train", "--model", kind, "--store", store) for kind in NAMES),
        ("rank", "--model", "popularity", "--store", store, "--out", folder / "preds.parquet"),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trees, "PARAMETERS", FEW)
        for command in commands:
            assert run(*command).exit_code == 0
    best = Trial({"learning_rate": 0.01}, 0.5, 2)
    write_tuned(tuned_path(open_store(store), "mlp"), Tuned("000001-x", 42, 7, (best,), best))
    return folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """The store of `whole`, of one's own, with the ranking beside it."""
    return Path(shutil.copytree(whole, tmp_path / "copy")) / "store"


def files_of(path: Path) -> dict[str, bytes]:
    found = (file for file in path.rglob("*") if file.is_file() and file.name != ".lock")
    return {str(file.relative_to(path)): file.read_bytes() for file in found}


def newest(folder: Path) -> Path:
    return folder / (folder / "CURRENT").read_text().strip()


# Whole stores


def test_a_store_as_it_was_built_is_whole(accept: Callable[..., str], whole: Path) -> None:
    assert accept("store", "verify", "--store", whole / "store") == ""


def test_the_list_has_generations_their_rows_and_the_models_of_each(accept: Callable[..., str], whole: Path) -> None:
    first, second, *_ = [
        re.split(r" {2,}", line) for line in accept("store", "list", "--store", whole / "store").split("\n")
    ][2:]
    bytes_of = sum(file.stat().st_size for file in (whole / "store" / "000002").iterdir())
    assert (first[0], second[0]) == ("000001", "000002 (current)")
    assert second[2:] == ["240", "240", "20", "60", f"{bytes_of:,}", ", ".join(sorted(NAMES))]
    assert first[-1] == "-"


def test_models_of_an_older_generation_are_listed_as_stale(
    run: Callable[..., Result], accept: Callable[..., str], world: Any, copy: Path
) -> None:
    accept("build-features", "--interactions", world.log, "--out", copy)
    accept("train", "--model", "popularity", "--store", copy)
    result = run("store", "list", "--store", copy)
    states = dict(re.findall(r"^(\S+) .* (ready|stale: train it again)$", result.stdout, re.MULTILINE))
    assert states == {kind: "ready" if kind == "popularity" else "stale: train it again" for kind in NAMES}
    assert "5 models, 4 of them stale" in result.stderr


def test_prune_leaves_what_is_read_and_says_what_went(
    run: Callable[..., Result], accept: Callable[..., str], copy: Path
) -> None:
    (copy / ".staging-000009").mkdir()
    (copy / ".staging-000009" / "half").write_bytes(b"1234")
    (copy / "models" / ".CURRENT.tmp").write_bytes(b"5")
    (copy / "recsys-polars-scratch-x").mkdir()
    told = run("store", "verify", "--store", copy)
    assert (told.exit_code, told.stdout.count("left by a run that was killed")) == (0, 3)
    before = sum(map(len, files_of(copy).values()))
    result = run("store", "prune", "--keep", 1, "--store", copy)
    after = files_of(copy)
    assert result.exit_code == 0
    for gone in (".staging-000009", "000001", "models/mlp/000001"):
        assert f"{copy / gone}: " in result.stdout
    assert f"{before - sum(map(len, after.values())):,} bytes" in result.stderr
    assert {name.split("/")[0] for name in after} == {"CURRENT", ".published", "000002", "models", "rejects", TIMINGS}
    assert accept("store", "verify", "--store", copy) == ""
    assert "0 things removed, 0 bytes" in run("store", "prune", "--store", copy).stderr


@pytest.mark.parametrize("damage", ["CURRENT", "000002/manifest.json", "models/mlp/CURRENT"])
def test_nothing_is_pruned_where_nobody_can_tell_what_is_current(
    refuse: Callable[..., str], copy: Path, damage: str
) -> None:
    (copy / damage).write_bytes(b"?")
    before = files_of(copy)
    assert damage in refuse("store", "prune", "--keep", 1, "--store", copy)
    assert files_of(copy) == before


@pytest.mark.parametrize("word", ["list", "verify", "prune"])
def test_what_is_no_store_is_named(refuse: Callable[..., str], tmp_path: Path, word: str) -> None:
    assert f"{tmp_path}: expected a feature store, found none" in refuse("store", word, "--store", tmp_path)


@pytest.mark.parametrize("foreign", ["notes.txt", "000002/x", "models/x", "models/mlp/x", "rejects/x.parquet"])
def test_files_that_nobody_wrote_there_are_named(refuse: Callable[..., str], copy: Path, foreign: str) -> None:
    (copy / foreign).write_bytes(b"")
    assert f"{copy / foreign}: expected nothing here" in refuse("store", "verify", "--store", copy)


@pytest.mark.parametrize(
    ("file", "fact", "value"),
    [
        ("labelled.parquet", "rows", 1),
        ("labelled.parquet", "columns", {"user_id": "String"}),
        ("user_means.safetensors", "shapes", {"test": [1, 2]}),
    ],
)
def test_a_manifest_that_was_wrong_from_the_start_is_found(
    refuse: Callable[..., str], copy: Path, file: str, fact: str, value: object
) -> None:
    def change(manifest: dict[str, Any]) -> dict[str, Any]:
        manifest["files"][file][fact] = value
        return manifest

    forge(copy, change)
    message = refuse("store", "verify", "--store", copy)
    assert f"{copy / '000002' / file}: expected the {fact} of its manifest" in message


# Bytes that changed


def damaged(file: Path, offset: int, chance: random.Random) -> bytes:
    content = bytearray(file.read_bytes())
    content[offset] ^= chance.randrange(1, 256)
    return bytes(content)


def each_byte(file: Path, n: int = 6) -> Any:
    """The file with one byte changed, for a few bytes, the first and the last among them; then as it was."""
    content, chance = file.read_bytes(), random.Random(file.name)
    size = len(content)
    for offset in sorted({0, size - 1, *(chance.randrange(size) for _ in range(n))}):
        file.write_bytes(damaged(file, offset, chance))
        yield offset
        file.write_bytes(content)


def test_no_file_of_a_store_is_forgotten_below(whole: Path) -> None:
    store = whole / "store"
    assert {file.name for file in newest(store).iterdir()} == set(TABLES)
    for kind, names in MODELS.items():
        assert {file.name for file in newest(store / "models" / kind).iterdir()} >= {*names, "manifest.json"}


@pytest.mark.parametrize("name", TABLES)
def test_a_changed_byte_of_a_table_is_found_by_verify_and_by_who_reads_it(
    refuse: Callable[..., str], copy: Path, tmp_path: Path, name: str
) -> None:
    file, out = newest(copy) / name, tmp_path / "p.parquet"
    kind = "auto" if name in OF_AUTO else "mlp"
    command = ("train", "--model", "two-tower") if name in OF_TRAINING else ("rank", "--model", kind, "--out", out)
    for offset in each_byte(file):
        assert f"{file}: " in refuse("store", "verify", "--store", copy), offset
        if name not in OF_NOBODY:
            assert str(file) in refuse(*command, "--store", copy), offset
    assert not out.exists()


def test_verify_names_every_damaged_file_however_many_there_are(run: Callable[..., Result], copy: Path) -> None:
    damaged = [file for file in newest(copy).iterdir() if file.name != "manifest.json"]
    for file in damaged:
        file.write_bytes(b"rot")
    said = run("store", "verify", "--store", copy).stderr
    assert len(damaged) > 10
    assert [file for file in damaged if f"{file}: damaged" not in said] == []


@pytest.mark.parametrize("kind", NAMES)
def test_a_changed_byte_of_a_model_is_found_by_verify_and_by_rank(
    refuse: Callable[..., str], copy: Path, tmp_path: Path, kind: str
) -> None:
    folder, out = copy / "models" / kind, tmp_path / "p.parquet"
    for file in [folder / "CURRENT", *newest(folder).iterdir()]:
        for offset in each_byte(file):
            assert str(file) in refuse("store", "verify", "--store", copy), (file, offset)
            assert str(file) in refuse("rank", "--model", kind, "--store", copy, "--out", out), (file, offset)
    assert not out.exists()


def test_a_changed_byte_of_a_pointer_or_a_search_is_found_by_verify_and_by_who_reads_it(
    refuse: Callable[..., str], copy: Path, tmp_path: Path
) -> None:
    readers = {
        copy / "CURRENT": ("rank", "--out", tmp_path / "p.parquet"),
        copy / "models" / "CURRENT": ("rank", "--out", tmp_path / "p.parquet"),
        copy / "models" / "mlp.tuned.json": ("train", "--model", "mlp"),
    }
    for file, command in readers.items():
        for offset in each_byte(file, 20):
            assert str(file) in refuse("store", "verify", "--store", copy), (file, offset)
            assert str(file) in refuse(*command, "--store", copy), (file, offset)


@pytest.mark.parametrize(
    "name", ["000001/items.parquet", "000001/manifest.json", "rejects/interactions-000002.parquet"]
)
def test_a_changed_byte_of_what_nobody_reads_is_found_by_verify(
    refuse: Callable[..., str], copy: Path, name: str
) -> None:
    for offset in each_byte(copy / name):
        assert f"{copy / name}: " in refuse("store", "verify", "--store", copy), offset


def test_a_changed_byte_of_a_ranking_is_found_by_evaluate(refuse: Callable[..., str], copy: Path) -> None:
    file = copy.parent / "preds.parquet"
    for offset in each_byte(file, 300):
        assert str(file) in refuse("evaluate", file, "--store", copy), offset


# Links that lead out


@pytest.mark.parametrize(
    "name",
    [
        *("CURRENT", "000002", "000002/manifest.json", "000002/labelled.parquet", "models", "models/CURRENT"),
        *("models/mlp", "models/mlp/CURRENT", "models/mlp/000002", "models/mlp/000002/weights.safetensors"),
    ],
)
def test_a_link_in_a_store_is_not_followed(refuse: Callable[..., str], copy: Path, tmp_path: Path, name: str) -> None:
    place = copy / name
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    model = [] if name == "models/CURRENT" else ["--model", "mlp"]
    assert "found a symbolic link" in refuse("rank", *model, "--store", copy, "--out", tmp_path / "p.parquet")
    assert "found a symbolic link" in refuse("store", "verify", "--store", copy)


@pytest.mark.parametrize(
    "name",
    [
        *(".lock", ".CURRENT.tmp", ".staging-000003", "rejects", "rejects/.copy.tmp", "000001", "000003", "CURRENT"),
        TIMINGS,
        *("models", "models/popularity", "models/.CURRENT.tmp", "models/popularity/.lock", "recsys-polars-scratch-x"),
    ],
)
def test_nothing_is_written_or_removed_through_a_link(
    run: Callable[..., Result], world: Any, copy: Path, tmp_path: Path, name: str
) -> None:
    elsewhere, place = tmp_path / "elsewhere", copy / name
    if place.is_dir():
        place.rename(elsewhere)
    elif Path(name).suffix == ".tmp" or Path(name).name in {".lock", "CURRENT", TIMINGS}:
        elsewhere.write_bytes(b"mine")
        place.unlink(missing_ok=True)
    else:
        elsewhere.mkdir()
    if elsewhere.is_dir():
        for mine in ("mine.parquet", "manifest.json", ".lock"):
            (elsewhere / mine).write_bytes(b"mine")
    place.symlink_to(elsewhere)
    before = files_of(tmp_path) if elsewhere.is_file() else files_of(elsewhere)
    for _ in range(3):
        for words in (
            ("store", "prune", "--keep", 1, "--store", copy),
            ("train", "--model", "popularity", "--folds", 1, "--store", copy),
            ("build-features", "--interactions", world.log, "--out", copy),
        ):
            assert run(*words).exit_code in {0, 2}
    found = files_of(tmp_path) if elsewhere.is_file() else files_of(elsewhere)
    if elsewhere.is_file():
        assert elsewhere.read_bytes() == b"mine"
    else:
        assert found == before


# No pickle


def is_what_it_says(file: Path) -> bool:
    """Whether a file's bytes are of the format of its name: one that holds data and can't hold code."""
    content = file.read_bytes()
    if file.suffix == ".safetensors":
        (length,) = struct.unpack("<Q", content[:8])
        return isinstance(json.loads(content[8 : 8 + length]), dict)
    if file.suffix in {".json", ".jsonl"}:
        texts = content.splitlines() if file.suffix == ".jsonl" else [content]
        return all(isinstance(json.loads(text), dict) for text in texts if text)
    magic = {".parquet": b"PAR1", ".cbm": b"CBM1"}
    if file.suffix in magic:
        return content.startswith(magic[file.suffix])
    return file.name in {"CURRENT", ".published", ".lock"} and len(content) < 80


def test_every_file_of_a_store_and_of_all_its_models_is_of_a_format_without_code(whole: Path) -> None:
    files = [file for file in whole.rglob("*") if file.is_file() and file.suffix != ".csv"]
    assert len(files) > 40
    assert [file for file in files if not is_what_it_says(file)] == []


def test_nothing_in_the_package_reads_or_writes_pickles() -> None:
    words = [r"pickle|import (?:joblib|dill|marshal|shelve)\b", r"torch\.(?:load|save)\b", r"(?:np|numpy)\.load\b"]
    unsafe = re.compile("|".join([*words, r"(?<![.\w])(?:eval|exec)\("]))
    package = Path(recsys_polars.__file__).parent
    found = {
        str(file.relative_to(package)): unsafe.findall(file.read_text(encoding="utf-8"))
        for file in package.rglob("*.py")
    }
    assert len(found) > 100
    assert {name: words for name, words in found.items() if words} == {}
