"""Sizes that keep a CPU's work in its caches; and what a GPU wants instead: few launches, and few waits for them."""

import torch


def block_users(device: torch.device) -> int:
    """Users in a block. On a GPU each block costs some 1,700 launches, most of them for its canonical scores."""
    return 256 if device.type == "cpu" else 4096


def exact_pairs(device: torch.device, width: int) -> int:
    """Pairs that are scored canonically at once, where each takes `width` float64 numbers.

    On a GPU, at most 128 MB of them: a step is a launch, however few pairs it is for.
    """
    return 2048 if device.type == "cpu" else max(2048, (1 << 24) // max(1, width))


def cache_bytes(device: torch.device) -> int:
    """Memory for canonical item rows. On a GPU, all of a large catalogue: a cache that overflows begins anew."""
    return 64 << 20 if device.type == "cpu" else 1 << 30


def score_bytes(device: torch.device) -> int:
    """Of a tile, per pair: the score, its group, and what of the groups may be opened at once.

    A CPU's tiles may be so small that every group is one score; a GPU's hold whole groups of groups.
    """
    return 32 if device.type == "cpu" else 8


def tile_scores(device: torch.device) -> int:
    """Pairs of a tile: what a CPU's cache likes; elsewhere memory alone decides."""
    return 1 << 21 if device.type == "cpu" else 1 << 29
