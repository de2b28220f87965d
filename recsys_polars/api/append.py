"""`rp.append_features`."""

import os
from collections.abc import Sequence
from pathlib import Path

from recsys_polars.api import StrPath
from recsys_polars.recipes import Progress, silent
from recsys_polars.recipes import append as recipe


def append_features(
    store: StrPath,
    files: StrPath | Sequence[StrPath],
    *,
    memory_bytes: int = 2 << 30,
    strict: bool = False,
    progress: Progress = silent,
) -> recipe.Appended:
    """Add new interactions or items to a feature store: `recsys-polars build-features --append`.

    Its tables then equal those of a build from all the files, with the settings that it was built with.

    Args:
        store: the feature store.
        files: a file, a glob or a folder, or several; interactions and items are told apart by their columns.
        memory_bytes: for the rows at work; ids and the catalogue come on top.
        strict: fail where a row breaks a rule, instead of setting it aside.
        progress: told of each step.

    Returns:
        The `store` with them; path, rows_in, rows_out and rejected of the `files` that were read; and those
        `passed_over`, without a row, or whose very bytes were in the store already.

    Raises:
        InputError: files that can't be used, not in a single row, or that differ from those of the store.
        ArtefactError: no store there, or another build is at work.

    Example:
        >>> row = {"user_id": "d", "item_id": "x", "rating": 5, "event_time": 1_700_000_009}
        >>> pl.DataFrame([row]).write_csv("tonight.csv")
        >>> appended = rp.append_features("store", "tonight.csv")
        >>> appended.files, appended.store.manifest["counts"]["users"]
        ([{'path': 'tonight.csv', 'rows_in': 1, 'rows_out': 1, 'rejected': 0}], 4)
    """
    given = [files] if isinstance(files, str | os.PathLike) else files
    return recipe.append_features(
        Path(store), [os.fspath(file) for file in given], memory_bytes=memory_bytes, strict=strict, progress=progress
    )
