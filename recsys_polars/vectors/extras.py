"""Libraries that come with an extra alone: whether they are there, and how to have them say nothing."""

import importlib
from importlib.util import find_spec
from typing import Any

from recsys_polars.errors import InputError


def require(option: str, extra: str, *modules: str) -> None:
    """Find out whether an extra is installed, without loading it.

    Raises:
        InputError: it isn't; says what to install.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise InputError(
            f"{option}: expected {', '.join(modules)}, found no {missing[0]}; pip install 'recsys-polars[{extra}]'"
        )


def quiet_transformers() -> Any:
    """Return the library `transformers`, whose bars and advice would stand among the lines of a command."""
    transformers = importlib.import_module("transformers")
    transformers.utils.logging.set_verbosity(transformers.utils.logging.CRITICAL)
    transformers.utils.logging.disable_progress_bar()
    return transformers


def versions(*modules: str) -> list[str]:
    """Return the version of each library."""
    return [f"{module} {importlib.import_module(module).__version__}" for module in modules]
