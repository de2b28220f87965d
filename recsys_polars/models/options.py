"""What `train` can be asked of each kind of model. Imports neither catboost nor torch."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from recsys_polars.errors import InputError
from recsys_polars.models import is_own

if TYPE_CHECKING:
    from recsys_polars.examples import History, Negatives
    from recsys_polars.models.protocol import FitSettings, Loss

HISTORIES: "tuple[History, ...]" = ("loo", "as-of")
NEGATIVES: "tuple[Negatives, ...]" = ("uniform", "popular", "in-batch")
LOSSES: "tuple[Loss, ...]" = ("bce", "bpr", "softmax")

OPTIONS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "popularity": {},
    "catboost": {"history": HISTORIES, "negatives": NEGATIVES[:2]},
    "mlp": {"history": HISTORIES, "negatives": NEGATIVES[:2], "loss": LOSSES},
    "two-tower": {"history": HISTORIES, "negatives": NEGATIVES, "loss": LOSSES},
}
"""The options that have an effect on a kind, and their values, the default first."""
NAMES = ("history", "negatives", "loss")


def settle(kind: str, settings: "FitSettings") -> "FitSettings":
    """Fill in the options that were left open.

    Raises:
        InputError: an option without effect, a value that the kind doesn't know, or two that don't go together.
    """
    if settings.recipe == "notebook" and is_own(kind):
        raise InputError(f"--recipe notebook: expected a model that the notebook has, found {kind}")
    asked = {name: value for name in NAMES if (value := getattr(settings, name)) is not None}
    offered = {} if settings.recipe == "notebook" else OPTIONS.get(kind, {})
    for name, value in asked.items():
        if name not in offered:
            who = "--recipe notebook, whose choices are its own" if settings.recipe == "notebook" else kind
            raise InputError(f"--{name}: expected no such option with {who}, found {value}")
        if value not in offered[name]:
            raise InputError(f"--{name}: expected {' or '.join(offered[name])} for {kind}, found {value}")
    if asked.get("negatives") == "in-batch" and asked.setdefault("loss", "softmax") != "softmax":
        raise InputError(f"--loss: expected softmax with in-batch negatives, found {asked['loss']}")
    return replace(settings, **{name: values[0] for name, values in offered.items()} | asked)
