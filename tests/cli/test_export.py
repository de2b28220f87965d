"""`export`: vectors whose dot product is the score, and an index of them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import Result

from recsys_polars.models import NAMES
from recsys_polars.recipes import knowledge_before
from recsys_polars.recipes.train import load_model
from recsys_polars.store import open_store


def newest(folder: Path) -> Path:
    return folder / (folder / "CURRENT").read_text().strip()


def export_of(world: Any, run: Callable[..., Result], out: Path, *words: object) -> tuple[Path, str]:
    result = run("export", "--model", "two-tower", "--store", world.store, "--out", out, *words)
    assert result.exit_code == 0, result.output
    assert (result.stdout, result.stderr.count("\n")) == ("", 1)
    return newest(out), result.stderr


def matrix(file: Path) -> np.ndarray:
    return pl.read_parquet(file)["vector"].to_numpy().astype(np.float64)


def test_products_of_the_vectors_are_the_canonical_scores(
    world: Any, run: Callable[..., Result], tmp_path: Path
) -> None:
    folder, told = export_of(world, run, tmp_path / "out", "--to", "parquet")
    store = open_store(world.store)
    known = knowledge_before(store, "test")
    users, items = (pl.read_parquet(folder / f"{name}.parquet") for name in ("users", "items"))
    assert users["user_id"].to_list() == known.user_ids.filter(pl.Series(known.n_positives > 0)).to_list()
    assert items["item_id"].to_list() == known.item_ids.to_list()
    assert (users.schema["vector"], items.schema["vector"]) == (pl.Array(pl.Float32, 64),) * 2
    rows, columns = np.divmod(np.arange(len(users) * len(items)), len(items))
    scorer = load_model(store, "two-tower")[0].scorer(known, known.rows_of_users(users["user_id"]), device="cpu")
    products = matrix(folder / "users.parquet") @ matrix(folder / "items.parquet").T
    np.testing.assert_allclose(products.ravel(), scorer.exact(rows, columns), rtol=0, atol=1e-5)
    assert "recall@10 1.0000 of the exact lists of 15 users" in told
    assert not (folder / "items.faiss").exists()


def test_the_manifest_says_what_the_vectors_are_of(world: Any, run: Callable[..., Result], tmp_path: Path) -> None:
    folder, _ = export_of(world, run, tmp_path / "out", "--to", "parquet", "-k", 3)
    facts = json.loads((folder / "manifest.json").read_text())
    assert facts["largest_difference"] < 1e-5
    assert {name: facts[name] for name in ("kind", "model", "store", "metric", "dimensions", "items", "users")} == {
        "kind": "export",
        "model": "two-tower",
        "store": open_store(world.store).identity,
        "metric": "inner product",
        "dimensions": 64,
        "items": 20,
        "users": 30,
    }
    assert facts["recall"] == {"k": 3, "users": 15, "of_exact_lists": 1.0}
    assert sorted(facts["files"]) == ["items.parquet", "users.parquet"]


def test_an_index_finds_rows_of_the_items_and_the_measured_share_of_the_lists_of_rank(
    world: Any, run: Callable[..., Result], tmp_path: Path
) -> None:
    faiss = pytest.importorskip("faiss")
    folder, told = export_of(world, run, tmp_path / "out", "--to", "faiss", "-k", 5)
    index = faiss.read_index(str(folder / "items.faiss"))
    facts = json.loads((folder / "manifest.json").read_text())
    entry = facts["files"]["items.faiss"]
    assert (index.ntotal, index.d, index.nlist, index.nprobe) == (20, 64, entry["lists"], entry["probes"])
    assert f"recall@5 {facts['recall']['of_exact_lists']:.4f}" in told
    out = tmp_path / "preds.parquet"
    words = ("--model", "two-tower", "--store", world.store, "--users", "all", "--include-seen", "-k", 5, "--out", out)
    assert run("rank", *words).exit_code == 0
    ranked = pl.read_parquet(out).group_by("user_id").agg("item_id")
    users, items = (pl.read_parquet(folder / f"{name}.parquet") for name in ("users", "items"))
    _, rows = index.search(np.ascontiguousarray(users["vector"].to_numpy()), 5)
    found = {user: set(items["item_id"].gather(one)) for user, one in zip(users["user_id"], rows, strict=True)}
    shares = [len(found[user] & set(exact)) / 5 for user, exact in ranked.iter_rows()]
    assert np.mean(shares) == 1  # one list: every item is looked at


@pytest.mark.parametrize("kind", [kind for kind in NAMES if kind != "two-tower"])
def test_models_whose_score_is_no_dot_product_are_refused(
    kind: str, world: Any, refuse: Callable[..., str], tmp_path: Path
) -> None:
    told = refuse("export", "--model", kind, "--store", world.store, "--to", "parquet", "--out", tmp_path / "out")
    assert f"expected a model whose score is a dot product (two-tower), found {kind}" in told
    assert not (tmp_path / "out").exists()


def test_another_export_is_a_new_generation_and_the_same_bytes(
    world: Any, run: Callable[..., Result], tmp_path: Path
) -> None:
    pytest.importorskip("faiss")
    first, _ = export_of(world, run, tmp_path / "out", "--to", "faiss")
    second, _ = export_of(world, run, tmp_path / "out", "--to", "faiss")
    assert (first.name, second.name) == ("000001", "000002")
    for file in second.iterdir():
        assert file.read_bytes() == (first / file.name).read_bytes(), file.name


@pytest.mark.parametrize("what", ["a file of the user's", "a store", "a model", "a file"])
def test_a_folder_of_something_else_is_refused_and_left_alone(
    what: str, world: Any, store: Path, refuse: Callable[..., str], tmp_path: Path
) -> None:
    folders = {"a store": store, "a model": store / "models" / "two-tower"}
    out = folders.get(what, tmp_path / "out")
    if what == "a file of the user's":
        out.mkdir()
        (out / "letter.txt").write_text("dear")
    elif what == "a file":
        out.write_text("dear")
    before = {path: path.read_bytes() for path in (out if out.is_dir() else tmp_path).rglob("*") if path.is_file()}
    told = refuse("export", "--store", world.store, "--to", "parquet", "--out", out)
    assert str(out) in told
    after = {path: path.read_bytes() for path in before}
    assert after == before


def test_an_export_that_fails_leaves_the_one_before(
    world: Any, run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = export_of(world, run, tmp_path / "out", "--to", "parquet")
    monkeypatch.setattr("recsys_polars.recipes.export._measured", lambda *args: {}["fails"])
    result = run("export", "--store", world.store, "--to", "parquet", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert newest(tmp_path / "out") == folder
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".lock", ".published", "000001", "CURRENT"]


def test_an_index_without_faiss_says_what_to_install(
    world: Any, refuse: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys_polars.vectors.extras.find_spec", lambda name: None)
    told = refuse("export", "--store", world.store, "--to", "faiss", "--out", tmp_path / "out")
    assert "--to faiss: expected faiss, found no faiss; pip install 'recsys-polars[export]'" in told


def test_a_changed_byte_of_the_model_is_refused(store: Path, refuse: Callable[..., str], tmp_path: Path) -> None:
    weights = newest(store / "models" / "two-tower") / "weights.safetensors"
    text = bytearray(weights.read_bytes())
    text[-1] ^= 1
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    weights.write_bytes(text)
    assert "damaged" in refuse("export", "--store", store, "--to", "parquet", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
