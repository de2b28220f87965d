"""The commands as functions: an option of the command line is a keyword here, and a field of a recipe's settings."""

import os
from collections.abc import Sequence
from typing import TypeAlias

StrPath: TypeAlias = str | os.PathLike[str]
"""A path; an open `Store` is one too."""


def word_file_or_ids(given: StrPath | Sequence[str]) -> str | Sequence[str]:
    """Return what a recipe takes for a choice of users or items."""
    return os.fspath(given) if isinstance(given, str | os.PathLike) else [str(one) for one in given]
