"""`rp.rank`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recsys_polars.api import StrPath, word_file_or_ids
from recsys_polars.models import kind_of
from recsys_polars.models.protocol import Device, Model
from recsys_polars.recipes import Progress, silent
from recsys_polars.recipes import rank as recipe
from recsys_polars.recipes.sides import RankSettings


def rank(
    store: StrPath,
    out: StrPath,
    *,
    model: str | type[Model] | None = None,
    k: int = 10,
    users: StrPath | Sequence[str] = "test",
    candidates: StrPath | Sequence[str] = "catalogue",
    exclude_seen: bool | None = None,
    candidates_from: str | None = None,
    approx: bool = False,
    device: Device = "auto",
    memory_bytes: int = 2 << 30,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Write the top k of the catalogue for each user to a Parquet file: `recsys-polars rank`.

    Args:
        store: the feature store.
        out: the file, of user_id, rank (from 1), item_id and score, sorted by user_id and rank.
        model: as in `train`; None: the one trained last, unless it is your own, which has to be named.
        k: length of a list; shorter where a user has fewer items left.
        users: `test`, `all`, a file of ids, or ids.
        candidates: `catalogue`, `train` (items with an interaction before the test cut), a file of ids, or ids.
        exclude_seen: leave out what a user had before the test cut; None: as the model's recipe has it.
        candidates_from: `MODEL:N`: the model orders the N best items by another model, not all.
        approx: MLPs only: let a dot product choose what is scored; refused where it misses 0.1 % of the exact lists.
        device: `auto` takes a GPU where there is one.
        memory_bytes: for the blocks of scores.
        progress: told of what takes long.

    Returns:
        The figures of the run: model, users, cold_users, items, rank_seconds and others.

    Raises:
        InputError: no users, no candidates, ids that can't be read, or a k below 1.
        ArtefactError: no store, or no model trained on its current generation.
        ModelError: a model of your own that failed.

    Example:
        >>> figures = rp.rank("store", "preds.parquet", k=2, users=["a", "c"])
        >>> pl.read_parquet("preds.parquet").select("user_id", "rank", "item_id").rows()
        [('a', 1, 'w'), ('c', 1, 'y'), ('c', 2, 'z')]
    """
    settings = RankSettings(
        kind=None if model is None else kind_of(model),
        k=k,
        users=word_file_or_ids(users),
        candidates=word_file_or_ids(candidates),
        exclude_seen=exclude_seen,
        candidates_from=candidates_from,
        approx=approx,
        device=device,
        memory_bytes=memory_bytes,
    )
    return recipe.rank(Path(store), Path(out), settings, progress=progress)
