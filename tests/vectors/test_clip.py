import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch

from recsys_polars.errors import InputError
from recsys_polars.vectors.clip import Clip, check_clip, open_clip
from recsys_polars.vectors.encoding import unit_vectors
from recsys_polars.vectors.images import ImageFile
from tests.vectors.small_clip import WIDTH, write_clip
from tests.vectors.test_images import picture

TITLES = ["a", "red lamp 7", "a b c d e f g h i j k l m n o p q r s t u v w x y z", "🙂", "!!"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def clip(folder: Path) -> Clip:
    return open_clip(folder)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def images(folder: Path, n: int = 5) -> list[ImageFile]:
    found = []
    for place in range(n):
        content = picture(size=(20 + 7 * place, 33), seed=place)
        (folder / f"{place}.png").write_bytes(content)
        found.append(ImageFile(str(place), folder / f"{place}.png", sha256(content).hexdigest(), ""))
    return found


def test_both_towers_give_what_the_library_gives(folder: Path, clip: Clip, tmp_path: Path) -> None:
    transformers, pillow = pytest.importorskip("transformers"), pytest.importorskip("PIL.Image")
    model = transformers.CLIPModel.from_pretrained(folder)
    tokenizer, files = transformers.CLIPTokenizer.from_pretrained(folder), images(tmp_path)
    of_text = tokenizer(TITLES, padding=True, truncation=True, max_length=16, return_tensors="pt")
    of_image = transformers.CLIPImageProcessorPil.from_pretrained(folder)(
        images=[pillow.open(file.path) for file in files], return_tensors="pt"
    )
    with torch.inference_mode():
        texts = model.get_text_features(**of_text).pooler_output.numpy()
        pictures = model.get_image_features(**of_image).pooler_output.numpy()
    assert (clip.texts.width, clip.images.width) == (WIDTH, WIDTH)
    for encoder, given, expected in ((clip.texts, TITLES, texts), (clip.images, files, pictures)):
        found = unit_vectors(encoder, map(encoder.prepare, given))
        np.testing.assert_allclose(found, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)


def test_other_weights_are_another_encoder(clip: Clip, copy: Path, tmp_path: Path) -> None:
    assert open_clip(copy).texts.fingerprint == clip.texts.fingerprint
    other = open_clip(write_clip(tmp_path / "other", seed=1))
    assert other.texts.fingerprint != clip.texts.fingerprint


def without(*names: str):
    return lambda folder: [(folder / name).unlink() for name in names]


def pickled(folder: Path) -> None:
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def lacking_a_tensor(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["text_projection.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def check_and_open(folder: Path) -> Clip:
    check_clip(folder)
    return open_clip(folder)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (without("config.json"), "found no config.json there"),
        (without("model.safetensors"), "expected weights in safetensors, found none"),
        (pickled, "expected weights in safetensors, found none; no other kind is loaded"),
        (lacking_a_tensor, "no weights for 1 of the model's tensors"),
        (without("preprocessor_config.json"), "found no preprocessor_config.json there"),
        (without("tokenizer.json", "vocab.json", "merges.txt"), "a tokenizer that can't tell a from b"),
        (lambda folder: (folder / "config.json").write_text("{"), "is not a valid JSON file"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 99), "SafetensorError"),
        (lambda folder: write_clip(folder, image_size=48), "Input image size (48*48) doesn't match model (32*32)"),
    ],
)
def test_a_folder_that_is_no_whole_model_is_refused_by_name(copy: Path, damage, says: str) -> None:
    damage(copy)
    with pytest.raises(InputError) as refused:
        check_and_open(copy)
    assert str(refused.value).startswith(f"--clip {copy}: expected ")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_code_and_pickles_that_lie_in_the_folder_are_not_touched(clip: Clip, copy: Path, tmp_path: Path) -> None:
    (copy / "pytorch_model.bin").write_bytes(b"no pickle at all")
    (copy / "modeling.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')")
    config = (copy / "config.json").read_text()
    (copy / "config.json").write_text(config.replace("{", '{"auto_map": {"AutoModel": "modeling.Model"},', 1))
    found = open_clip(copy).texts
    np.testing.assert_array_equal(
        unit_vectors(found, map(found.prepare, TITLES)), unit_vectors(clip.texts, map(clip.texts.prepare, TITLES))
    )
    assert not (tmp_path / "run").exists()
