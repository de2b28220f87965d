"""Real raw files go the whole way, and every row that came in is accounted for."""

import gzip
import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from recsys_polars.cli.main import main

PART = {"Gift_Cards_5.json.gz": "interactions", "meta_Gift_Cards.json.gz": "items"}


def run(*words: object) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def gift_cards(real_data) -> Path:
    return real_data / "amazon-2018-gift-cards"


@pytest.mark.parametrize("format_", ["amazon-2018", "auto"])
@pytest.mark.parametrize("split", ["global-time", "last-n"])
def test_raw_amazon_files_build_train_and_rank(gift_cards, tmp_path, format_, split) -> None:
    store, out = tmp_path / "store", tmp_path / "preds.parquet"
    files = {kind: gift_cards / name for name, kind in PART.items()}
    words = ("--interactions", files["interactions"], "--items", files["items"], "--format", format_, "--split", split)
    run("build-features", *words, "--out", store)
    lines = {kind: gzip.decompress(file.read_bytes()).count(b"\n") for kind, file in files.items()}
    check_rows(store, lines)
    run("train", "--model", "two-tower", "--store", store)
    run("rank", "--out", out, "--store", store)
    run("evaluate", out, "--store", store)
    assert pl.read_parquet(out).group_by("user_id").len()["len"].unique().to_list() == [10]


def test_generic_parquet_builds_trains_and_ranks(real_data, tmp_path) -> None:
    store, folder = tmp_path / "store", real_data / "amazon-2023-mixed"
    words = ("--interactions", folder / "interactions.parquet", "--items", folder / "items.parquet")
    run("build-features", *words, "--format", "generic", "--out", store)
    lines = {
        kind: pl.scan_parquet(folder / f"{kind}.parquet").select(pl.len()).collect().item() for kind in PART.values()
    }
    check_rows(store, lines)
    run("train", "--model", "popularity", "--store", store)
    run("rank", "--out", tmp_path / "preds.parquet", "--store", store, "--candidates", "train")


def check_rows(store: Path, lines: dict[str, int]) -> None:
    """The steps of the manifest add up, from the raw lines to the tables."""
    manifest = json.loads((store / "000001" / "manifest.json").read_text())
    steps = {step["name"]: step for step in manifest["steps"]}
    assert all(step["rows_in"] == step["rows_out"] + step["merged"] + step["rejected"] for step in steps.values())
    for kind, n_lines in lines.items():
        assert steps[f"read {kind}"]["rows_in"] == n_lines
    parts = [steps[f"pairs of {part}"] for part in ("train", "valid", "test")]
    assert sum(step["rows_in"] for step in parts) == steps["read interactions"]["rows_out"]
    assert sum(step["rows_out"] for step in parts) == manifest["files"]["labelled.parquet"]["rows"]
    assert steps["deduplicate items"]["rows_in"] == steps["read items"]["rows_out"]
