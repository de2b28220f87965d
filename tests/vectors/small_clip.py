"""A CLIP model of two layers with random weights, as a folder in the format of `transformers`."""

import json
import string
from pathlib import Path

import pytest
import torch

START, END = "<|startoftext|>", "<|endoftext|>"
WIDTH = 12


def write_clip(folder: Path, *, seed: int = 0, image_size: int = 32) -> Path:
    """Write the model, its tokenizer and how it wants its images."""
    transformers = pytest.importorskip("transformers", reason="the extra clip is not installed")
    signs = [*string.ascii_lowercase, *string.digits]
    vocabulary = {word: place for place, word in enumerate([*signs, *(f"{sign}</w>" for sign in signs), START, END])}
    layers = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"vocab_size": len(vocabulary), "max_position_embeddings": 16}
    ends = {"bos_token_id": vocabulary[START], "eos_token_id": vocabulary[END], "pad_token_id": vocabulary[END]}
    config = transformers.CLIPConfig(
        text_config={**layers, **text, **ends},
        vision_config={**layers, "image_size": 32, "patch_size": 8},
        projection_dim=WIDTH,
    )
    torch.manual_seed(seed)
    transformers.CLIPModel(config).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    size = {"size": {"shortest_edge": image_size}, "crop_size": {"height": image_size, "width": image_size}}
    transformers.CLIPImageProcessorPil(**size).save_pretrained(folder)
    transformers.CLIPTokenizer.from_pretrained(folder).save_pretrained(folder)
    return folder
