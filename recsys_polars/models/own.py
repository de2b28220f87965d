"""Models of the user's own: found by their import path, checked, and named in whatever goes wrong in them."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any, ClassVar, get_origin

from recsys_polars.errors import InputError, ModelError, RecsysError
from recsys_polars.knowledge import Knowledge, Rows
from recsys_polars.models import is_own
from recsys_polars.models.protocol import Device, Model
from recsys_polars.ranking.protocol import Scorer

HOW = "docs/own-model.md says how"
_SHOWN = 500
"""Characters of an error of a model's that a message shows."""


def own_class(kind: str) -> type[Model]:
    """Return the class that MODULE:CLASS names. Its module runs; nothing of the class does.

    Raises:
        InputError: there is no such module or class, or the class lacks what every model has.
        ModelError: the module, when it was imported.
    """
    path, _, name = kind.partition(":")
    module = _imported(path, kind)
    cls = getattr(module, name, None)
    if not isinstance(cls, type):
        where = getattr(module, "__file__", None) or "no file"
        classes = (value for value in vars(module).values() if isinstance(value, type))
        others = [cls.__name__ for cls in classes if cls.__module__ == path]
        raise InputError(f"model {kind}: expected a class {name} in {path} ({where}), found {_listed(others)}")
    lacking = [member for member in _members(Model, of_class=True) if not hasattr(cls, member)]
    if lacking:
        raise InputError(
            f"model {kind}: expected a class with all that a model has ({HOW}), found no {_listed(lacking)}"
        )
    return cls


def _imported(path: str, kind: str) -> ModuleType:
    try:
        with named(kind):
            return import_module(path)
    except ModelError as error:
        cause = error.__cause__
        # A module that is there and imports another one that isn't is a fault of its own.
        if isinstance(cause, ModuleNotFoundError) and f"{path}.".startswith(f"{cause.name}."):
            raise InputError(
                f"model {kind}: expected a module {path} in the current folder, on PYTHONPATH or installed, found none"
            ) from cause
        raise


@contextmanager
def named(kind: str) -> Iterator[None]:
    """Have what goes wrong inside the block say which model was at work, if it is one of the user's own.

    Raises:
        ModelError: for whatever isn't raised on purpose, as a `RecsysError` is.
    """
    try:
        yield
    except RecsysError:
        raise
    except Exception as error:
        if not is_own(kind):
            raise
        raise ModelError(f"model {kind}: {type(error).__name__}: {str(error)[:_SHOWN]}") from error


def scorer_of(model: Model, known: Knowledge, users: Rows, *, device: Device) -> Scorer:
    """Return a model's scorer.

    Raises:
        ModelError: it lacks what every scorer has, or is for other users or items.
    """
    scorer = model.scorer(known, users, device=device)
    name = f"scorer of {type(model).__module__}:{type(model).__qualname__}"
    lacking = [member for member in _members(Scorer) if not hasattr(scorer, member)]
    if lacking:
        raise ModelError(f"{name}: expected all that a scorer has ({HOW}), found no {_listed(lacking)}")
    shape, wanted = (scorer.n_users, scorer.n_items), (len(users), known.n_items)
    if shape != wanted:
        raise ModelError(
            f"{name}: expected {wanted[0]:,} users and {wanted[1]:,} items, found {shape[0]} and {shape[1]}"
        )
    return scorer


def _members(protocol: type, *, of_class: bool = False) -> list[str]:
    """What a Protocol asks of its classes, or of their instances."""
    origins: dict[str, Any] = {name: get_origin(kind) for name, kind in inspect.get_annotations(protocol).items()}
    variables = [name for name, origin in origins.items() if not of_class or origin is ClassVar]
    return [*variables, *(name for name in vars(protocol) if not name.startswith("_"))]


def _listed(names: list[str]) -> str:
    return ", ".join([*names[:20], *(["..."] if len(names) > 20 else [])]) or "none"
