"""CLIP from a local folder in the format of `transformers` (extra `clip`): a tower for texts, one for images."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from recsys_polars.errors import InputError
from recsys_polars.vectors.encoding import Encoder, auto_device, encoder_fingerprint
from recsys_polars.vectors.extras import quiet_transformers, require, versions
from recsys_polars.vectors.images import ImageFile, open_image

Content = TypeVar("Content")
CLIP_TEXT, CLIP_IMG = "clip_text", "clip_img"
_LOCAL = {"local_files_only": True}
"""Classes are named, not found by the folder's own configuration: none of its code is run."""


def check_clip(folder: Path) -> None:
    """Find out whether the extra is installed and the folder may be a model, without loading either.

    Raises:
        InputError: one of them isn't there.
    """
    require("--clip", "clip", "transformers", "PIL")
    missing = [name for name in ("config.json", "preprocessor_config.json") if not (folder / name).is_file()]
    if missing:
        raise InputError(f"--clip {folder}: expected the folder of a CLIP model, found no {missing[0]} there")
    if not any(folder.glob("*.safetensors")):
        raise InputError(f"--clip {folder}: expected weights in safetensors, found none; no other kind is loaded")


@dataclass(frozen=True)
class Clip:
    """The towers of one model, as encoders of titles and of images."""

    texts: Encoder[str]
    images: Encoder[ImageFile]


def open_clip(folder: Path) -> Clip:
    """Load a CLIP model, on CUDA where there is one.

    Raises:
        InputError: it can't be loaded, or lacks a file or weights.
    """
    device = auto_device()
    try:
        model, tokenizer, processor = _load(folder)
        model = model.float().to(device).eval()
        prints = encoder_fingerprint(folder, device, versions("transformers", "tokenizers", "PIL"))
        return Clip(_texts(model, tokenizer, device, prints), _images(model, processor, device, prints))
    except Exception as error:  # whatever the library may raise on what is no model of its own
        said = str(error).strip().splitlines() or [""]
        raise InputError(
            f"--clip {folder}: expected a CLIP model in the format of transformers, found {type(error).__name__}: "
            f"{said[0][:300]}"
        ) from error


def _load(folder: Path) -> tuple[Any, Any, Any]:
    library = quiet_transformers()
    model, info = library.CLIPModel.from_pretrained(folder, use_safetensors=True, output_loading_info=True, **_LOCAL)
    if info["missing_keys"]:  # the library would make them up
        raise ValueError(f"no weights for {len(info['missing_keys'])} of the model's tensors")
    tokenizer = library.CLIPTokenizer.from_pretrained(folder, **_LOCAL)
    return model, tokenizer, library.CLIPImageProcessorPil.from_pretrained(folder, **_LOCAL)


def _texts(model: Any, tokenizer: Any, device: torch.device, prints: str) -> Encoder[str]:
    longest = model.config.text_config.max_position_embeddings

    def prepare(text: str) -> torch.Tensor:
        return torch.tensor(tokenizer(text, truncation=True, max_length=longest)["input_ids"])

    def forward(ids: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = model.get_text_features(input_ids=ids).pooler_output
        return vectors

    if prepare("a").equal(prepare("b")):  # without its files the library makes up an empty one
        raise ValueError("a tokenizer that can't tell a from b")
    return _encoder(CLIP_TEXT, prepare, forward, prepare("a"), device, prints)


def _images(model: Any, processor: Any, device: torch.device, prints: str) -> Encoder[ImageFile]:
    def pixels(image: Any) -> torch.Tensor:
        values: torch.Tensor = processor(images=image, return_tensors="pt")["pixel_values"][0]
        return values

    def forward(values: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = model.get_image_features(pixel_values=values).pooler_output
        return vectors

    def prepare(image: ImageFile) -> torch.Tensor:
        return pixels(open_image(image))

    blank = importlib.import_module("PIL.Image").new("RGB", (8, 8))
    return _encoder(CLIP_IMG, prepare, forward, pixels(blank), device, prints)


def _encoder(
    block: str,
    prepare: Callable[[Content], torch.Tensor],
    forward: Callable[[torch.Tensor], torch.Tensor],
    sample: torch.Tensor,
    device: torch.device,
    prints: str,
) -> Encoder[Content]:
    """An encoder that has encoded something: a tokenizer or a size of images that doesn't fit shows here."""
    with torch.inference_mode():
        width = forward(sample[None].to(device)).shape[1]
    return Encoder(block, width, prints, prepare, forward, device)
