"""`rp.build_features`."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from recsys_polars.api import StrPath
from recsys_polars.recipes import Progress, silent
from recsys_polars.recipes import build as recipe
from recsys_polars.recipes.raw import BuildSettings
from recsys_polars.splitting import Split
from recsys_polars.store import Store


def build_features(
    out: StrPath = "data/store",
    *,
    interactions: StrPath | None = None,
    items: StrPath | None = None,
    format: str = "auto",  # noqa: A002 - the name of the option
    columns: Mapping[str, str] = MappingProxyType({}),
    time_format: str | None = None,
    item_features: Sequence[str] = (),
    min_rating: float = 4.0,
    implicit: bool = False,
    split: Split | None = None,
    test_fraction: float = 0.1,
    test_n: int = 1,
    valid_fraction: float = 0.1,
    min_user_interactions: int = 1,
    min_item_interactions: int = 1,
    text: str = "tfidf",
    text_dim: int | None = None,
    clip: StrPath | None = None,
    images: StrPath | None = None,
    memory_bytes: int = 2 << 30,
    strict: bool = False,
    progress: Progress = silent,
) -> Store:
    """Turn raw files into a feature store, and open it: `recsys-polars build-features`.

    Args:
        out: the store's folder.
        interactions: a file, a glob or a folder; None: the embedded set of a checkout.
        items: metadata; None: the ids in the interactions are the items.
        format: `amazon-2014`, `amazon-2018`, `amazon-2023`, `movielens`, `generic`, or found out.
        columns: names of columns, ours -> theirs.
        time_format: of times that are text, such as `%d/%m/%Y %H:%M`; None: numbers, ISO 8601, `31.12.2024 18:30`.
        item_features: columns of the items to use besides the usual ones.
        min_rating: the lowest rating that means liked.
        implicit: every interaction is liked; ratings are ignored.
        split: see `assign_parts`, as for the three that follow; None: global-time, user-time for the embedded set.
        test_fraction: share of the rows in the test part.
        test_n: for last-n, pairs of each user.
        valid_fraction: share of the rows before the test cut in the valid part.
        min_user_interactions: fewest pairs of a user in train (k-core).
        min_item_interactions: fewest pairs of an item there.
        text: vectors of title and description: `tfidf`, `minilm` (extra `text`) or `none`.
        text_dim: width of encoded vectors, at most; None: 100.
        clip: folder of a CLIP model (extra `clip`).
        images: folder of images for `clip`, each called as its item_id.
        memory_bytes: for the rows at work; ids and the catalogue come on top.
        strict: fail where a row breaks a rule, instead of setting it aside.
        progress: told of each step.

    Raises:
        InputError: files, columns or options that can't be used, or data that leaves nothing to learn from.
        ArtefactError: `out` is no store, or another build is at work there.

    Example:
        >>> import numpy as np, polars as pl, recsys_polars as rp
        >>> log = {"user_id": list("aabbabccab"), "item_id": list("xyxzzyxwww"), "rating": [5, 2, 4, 5, 3] * 2}
        >>> pl.DataFrame(log).with_columns(event_time=1_700_000_000 + pl.int_range(10)).write_csv("log.csv")
        >>> store = rp.build_features("store", interactions="log.csv")
        >>> store.scan("labelled").group_by("part").len().sort("part").collect().rows()
        [('test', 2), ('train', 6), ('valid', 2)]
    """
    settings = BuildSettings(
        interactions=_text(interactions),
        items=_text(items),
        format=format,
        columns=dict(columns),
        time_format=time_format,
        item_features=tuple(item_features),
        min_rating=min_rating,
        implicit=implicit,
        split=split,
        test_fraction=test_fraction,
        test_n=test_n,
        valid_fraction=valid_fraction,
        min_user_interactions=min_user_interactions,
        min_item_interactions=min_item_interactions,
        text=text,
        text_dim=text_dim,
        clip=_text(clip),
        images=_text(images),
        memory_bytes=memory_bytes,
        strict=strict,
    )
    return recipe.build_features(settings, Path(out), progress=progress)


def _text(path: StrPath | None) -> str | None:
    return None if path is None else os.fspath(path)
