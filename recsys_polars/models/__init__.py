"""The models, one file each, behind one Protocol. Naming a model imports neither catboost nor torch."""

from importlib import import_module
from typing import TYPE_CHECKING, cast

from recsys_polars.errors import InputError

if TYPE_CHECKING:
    from recsys_polars.models.protocol import Model

KINDS = {
    "popularity": "recsys_polars.models.popularity:Popularity",
    "catboost": "recsys_polars.models.catboost:CatBoost",
    "mlp": "recsys_polars.models.mlp:MatchingMlp",
    "two-tower": "recsys_polars.models.two_tower:TwoTower",
}
"""The import path of each kind."""
AUTO = "auto"
"""Trained and ranked by recipes of its own: its candidates depend on what a user has seen."""
NAMES = (*KINDS, AUTO)
"""What a user may name."""


def model_class(kind: str) -> "type[Model]":
    """Return the class of a kind, importing what it needs.

    Raises:
        InputError: an unknown kind.
    """
    if kind not in KINDS:
        raise InputError(f"model: expected one of {', '.join(NAMES)}, found {kind!r}")
    module, name = KINDS[kind].split(":")
    return cast("type[Model]", getattr(import_module(module), name))
