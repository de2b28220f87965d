"""Inputs made to harm: ids, names and files that are something else never lead out of the store, nor to a terminal."""

import json
import os
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recsys_polars.sealing import seal

START = 1_262_304_000
PATHS = (
    "../../escaped",
    "/tmp/escaped",
    "..",
    ".",
    "CURRENT",
    "a/b/../../c",
    "a\x00b",
    "~/escaped",
    "x" * 300,
    "C:\\x",
)


def say(path: Path, **facts: object) -> None:
    """Have a manifest say something else, and seal it as if it were ours."""
    manifest = {**json.loads(path.read_text()), **facts}
    del manifest["sha256"]
    path.write_text(seal(manifest))


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def log_of(ids: tuple[str, ...], path: Path) -> Path:
    rows = [(user, item, 5.0, START + 1000 * n) for n, (user, item) in enumerate(product(ids, ids))]
    pl.DataFrame(rows, schema=["user_id", "item_id", "rating", "event_time"], orient="row").write_parquet(path)
    return path


def test_ids_that_are_paths_make_the_same_files_as_any_others(
    accept: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for ids, name in ((PATHS, "hostile"), (tuple(f"id{n}" for n in range(len(PATHS))), "harmless")):
        inner = tmp_path / name / "in" / "side"
        inner.mkdir(parents=True)
        monkeypatch.chdir(inner)
        log = log_of(ids, inner / "log.parquet")
        accept("build-features", "--interactions", log, "--out", "store", "--split", "user-time")
        accept("train", "--model", "popularity", "--store", "store")
        accept("rank", "--store", "store", "--users", "all", "--include-seen", "--out", "preds.parquet")
        accept("evaluate", "preds.parquet", "--store", "store")
        assert set(pl.read_parquet("preds.parquet")["user_id"]) == set(ids)
        made.append(names(tmp_path / name))
    assert made[0] == made[1]
    assert {name for name in made[0] if "/" not in name} == {"in"}
    assert not Path("/tmp/escaped").exists()


def test_a_file_of_ids_that_are_paths_is_a_list_of_unknown_users(
    accept: Callable[..., str], world: Any, tmp_path: Path
) -> None:
    ids = tmp_path / "ids.parquet"
    pl.DataFrame({"user_id": ["u001", *PATHS]}).write_parquet(ids)
    accept("rank", "--model", "popularity", "--store", world.store, "--users", ids, "--out", tmp_path / "p.parquet")
    assert names(tmp_path) == {"ids.parquet", "p.parquet"}
    assert pl.read_parquet(tmp_path / "p.parquet")["user_id"].n_unique() == 1 + len(PATHS)


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "", ".", "a\x00b"])
def test_a_manifest_that_names_files_outside_of_the_store_is_refused(
    refuse: Callable[..., str], store: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "secret").write_text("do not read")
    path = store / "000001" / "manifest.json"
    files = json.loads(path.read_text())["files"]
    files[name] = files.pop("labelled.parquet")
    say(path, files=files)
    message = refuse("rank", "--store", store, "--out", tmp_path / "p.parquet")
    assert "do not read" not in message


@pytest.mark.parametrize("name", ["000001/manifest.json", "000001/labelled.parquet", "CURRENT", "models/CURRENT"])
def test_a_pipe_in_a_store_is_not_waited_for(
    refuse: Callable[..., str], store: Path, tmp_path: Path, name: str
) -> None:
    (store / name).unlink()
    os.mkfifo(store / name)
    assert str(store) in refuse("rank", "--store", store, "--out", tmp_path / "p.parquet")


def test_predictions_that_are_a_pipe_are_not_waited_for(refuse: Callable[..., str], world: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.parquet")
    assert "found something else" in refuse("evaluate", tmp_path / "p.parquet", "--store", world.store)


@pytest.mark.parametrize("name", [".lock", ".CURRENT.tmp", "models/popularity/.lock", "models/.CURRENT.tmp"])
def test_a_link_in_a_store_does_not_lead_what_is_written_out_of_it(
    run: Callable[..., Any], world: Any, store: Path, tmp_path: Path, name: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("do not write")
    (store / name).unlink(missing_ok=True)
    (store / name).symlink_to(secret)
    for words in (
        ("build-features", "--interactions", world.log, "--out"),
        ("train", "--model", "popularity", "--store"),
    ):
        assert run(*words, store).exit_code in {0, 2}
    assert secret.read_text() == "do not write"


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("parameters", "/etc/passwd", "expected the parameters of the build"),
        ("parameters", None, "expected the parameters of the build"),
        ("parameters", {"valid_fraction": "x", "split": []}, "found split [], valid_fraction 'x'"),
        ("blocks", ["numeric", "x"], "expected the vectors numeric, x"),
        ("blocks", ["numeric"], "expected the vectors numeric, found"),
    ],
)
def test_a_manifest_whose_facts_have_other_types_is_refused_by_the_audit(
    refuse: Callable[..., str], store: Path, key: str, value: object, says: str
) -> None:
    path = store / "000001" / "manifest.json"
    say(path, **{key: value})
    assert says in refuse("audit-leaks", store)


def test_the_training_time_of_a_changed_model_is_left_out_where_it_is_no_number(
    accept: Callable[..., str], world: Any, store: Path
) -> None:
    path = store / "models" / "popularity" / "000001" / "manifest.json"
    say(path, seconds="x")
    assert "popularity" in accept("evaluate", world.predictions, "--store", store)


@pytest.mark.parametrize("sign", ["\x1b[31m", "\x07", "\x9b2J", "\u202e"])
def test_no_message_passes_on_signs_that_a_terminal_obeys(
    refuse: Callable[..., str], run: Callable[..., Any], world: Any, tmp_path: Path, sign: str
) -> None:
    (tmp_path / "log.csv").write_text(f"user{sign},user{sign},item_id\n")
    (tmp_path / "items.csv").write_text(f"item_id,x{sign}\ni001,1\n")
    assert sign not in refuse("build-features", "--interactions", tmp_path / "log.csv", "--out", tmp_path / "s")
    done = run(
        "build-features", "--interactions", world.log, "--items", tmp_path / "items.csv", "--out", tmp_path / "store"
    )
    assert done.exit_code == 0
    assert "columns left out: x?" in done.stderr


def test_a_summary_names_thirty_of_the_columns_left_out_and_counts_the_others(
    run: Callable[..., Any], world: Any, tmp_path: Path
) -> None:
    columns = ",".join(f"x{n}" for n in range(1_030))
    (tmp_path / "items.csv").write_text(f"item_id,{columns}\ni001{',a' * 1_030}\n")
    words = ("build-features", "--interactions", world.log, "--items", tmp_path / "items.csv", "--out", tmp_path / "s")
    assert "x29 and 1,000 more (take one in by --column category=x0 or --item-feature x0); " in run(*words).stderr


@pytest.mark.parametrize("option", ["--users", "--candidates"])
@pytest.mark.parametrize("column", [[2**31 - 1], [[1]], [b"\xff"], [0.5]])
def test_a_list_of_what_can_be_no_id_is_refused(
    refuse: Callable[..., str], world: Any, tmp_path: Path, option: str, column: list[object]
) -> None:
    name = "user_id" if option == "--users" else "item_id"
    ids = pl.Series(name, column)
    ids = ids.cast(pl.Int32).cast(pl.Date) if ids.dtype == pl.Int64 else ids
    ids.to_frame().write_parquet(tmp_path / "ids.parquet")
    message = refuse("rank", "--store", world.store, option, tmp_path / "ids.parquet", "--out", tmp_path / "p.parquet")
    assert "expected text or whole numbers as ids, found" in message


def test_a_list_of_ids_in_a_damaged_archive_is_refused(refuse: Callable[..., str], world: Any, tmp_path: Path) -> None:
    (tmp_path / "ids.csv").write_bytes(b"\x1f\x8b\x08\x00 no gzip")
    message = refuse("rank", "--store", world.store, "--users", tmp_path / "ids.csv", "--out", tmp_path / "p.parquet")
    assert "found damaged bytes" in message or "breaks off" in message


def test_a_message_about_an_endless_name_is_short_and_says_what_was_expected(refuse: Callable[..., str]) -> None:
    said = refuse("build-features", "--interactions", "x" * 5_000)  # refuse looks at the length
    assert said.startswith("Error: xxx")
    assert said.endswith("File name too long\n")
