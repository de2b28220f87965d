"""Which device a model works on."""

import torch

from recsys_polars.errors import InputError
from recsys_polars.models.protocol import Device


def torch_device(device: Device) -> torch.device:
    """Return the device to work on.

    Raises:
        InputError: `cuda` where there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: expected a CUDA device, found none; use --device cpu")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
