"""The models, one file each, behind one Protocol. Naming a model imports neither catboost nor torch."""

import re
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
"""The kinds that come with the package."""
_OWN = re.compile(r"[a-z_]\w*(\.[a-z_]\w*)*:[a-z_]\w*", re.ASCII | re.IGNORECASE)
_LONGEST = 200


def is_own(kind: str) -> bool:
    """Return whether a kind is one of the user's own: the import path of its class, MODULE:CLASS.

    It names a folder too: it is letters, digits, dots within and one colon, and so leads nowhere else.
    """
    return len(kind) <= _LONGEST and _OWN.fullmatch(kind) is not None


def is_kind(kind: str) -> bool:
    """Return whether a user may name a model so; whether there is one is another question."""
    return kind in NAMES or is_own(kind)


def check_kind(kind: str) -> str:
    """Return the kind of a model.

    Raises:
        InputError: nobody may name a model so.
    """
    if not is_kind(kind):
        raise InputError(f"model: expected one of {', '.join(NAMES)}, or MODULE:CLASS of your own, found {kind!r}")
    return kind


def kind_of(model: "str | type[Model]") -> str:
    """Return the kind of a model that is named, or of a class of the user's own.

    Raises:
        InputError: nobody may name a model so; a class inside a function can't be found again.
    """
    return check_kind(model if isinstance(model, str) else f"{model.__module__}:{model.__qualname__}")


def model_class(kind: str) -> "type[Model]":
    """Return the class of a kind, importing what it needs.

    That runs the module of a model of the user's own: pass what the user has named, never what a file says.

    Raises:
        InputError: an unknown kind, or a class that isn't there or is no model.
        ModelError: the module of a model of the user's own, when it was imported.
    """
    if check_kind(kind) in KINDS:
        module, name = KINDS[kind].split(":")
        return cast("type[Model]", getattr(import_module(module), name))
    if kind == AUTO:
        raise InputError(f"model: expected one of {', '.join(KINDS)}, or MODULE:CLASS of your own, found {kind}")
    from recsys_polars.models.own import own_class

    return own_class(kind)
