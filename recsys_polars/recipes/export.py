"""`export`: the vectors whose dot product is the score, for those who serve lists from an index of their own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import polars as pl

from recsys_polars.artefacts import current_generation, staged
from recsys_polars.disk import fingerprint
from recsys_polars.errors import ArtefactError, InputError
from recsys_polars.knowledge import Rows
from recsys_polars.ranking import DotScorer, rank_blocks
from recsys_polars.ranking.protocol import IntArray
from recsys_polars.recipes import Progress, knowledge_before, silent
from recsys_polars.recipes.train import load_model
from recsys_polars.store import StoreWriter, open_store
from recsys_polars.tables import ItemVectors, UserVectors, Vectors
from recsys_polars.vector_index import build_index, choose_probes, flat_rows, index_rows, recall, save_index
from recsys_polars.vectors.extras import require, versions

DOT_PRODUCTS = ("two-tower",)
"""The kinds whose score is a dot product."""
MEASURED_USERS = 512
SEED = 42
_USERS_AT_ONCE = 8192


def export(
    path: Path, out: Path, kind: str, to: Literal["faiss", "parquet"], *, k: int = 10, progress: Progress = silent
) -> tuple[Path, Mapping[str, Any]]:
    """Write the vectors of a model of the store at `path` into a new generation of the folder `out`.

    `items.parquet` and `users.parquet` have an id and a `vector` a row, in the order of the ids; users are those with a
    positive before the test cut. `items.faiss` finds items by their row. `manifest.json` says what they are of, and how
    much of the exact lists they find: of what is in the catalogue, what a user had included.

    Args:
        path: the store.
        out: the folder.
        kind: of the model.
        to: `faiss` adds an index of the items.
        k: length of the lists that are compared.
        progress: told of each step.

    Returns:
        The folder of the generation, and its manifest.

    Raises:
        InputError: a model whose score is no dot product, no users with a history, or faiss isn't installed.
        ArtefactError: no store or no such model there, or `out` holds something else.
    """
    _refuse(kind, to, out)
    store = open_store(path)
    model, manifest = load_model(store, kind)
    known = knowledge_before(store, "test")
    users = np.flatnonzero(known.n_positives > 0)
    if not len(users):
        raise InputError(f"{path}: expected users with a liked item before the test cut, found none")
    scorer = cast("DotScorer", model.scorer(known, users, device="cpu"))
    facts = {"kind": "export", "model": kind, "model_files": fingerprint(manifest["files"]), "store": store.identity}
    with staged(out) as stage:
        vectors = _vectors(scorer, progress)
        writer = StoreWriter(stage)
        writer.write("items", _table(known.item_ids, vectors.items), ItemVectors)
        writer.write("users", _table(known.user_ids[users], vectors.users), UserVectors)
        progress("measure what is found", 0, 1)
        index = build_index(vectors.items) if to == "faiss" else None
        stage.facts |= {**facts, **_shape(vectors), **_measured(scorer, vectors, index, k)}
        if index is not None:
            save_index(index, stage.folder / "items.faiss")
            stage.add_file("items.faiss", lists=index.nlist, probes=index.nprobe, made_by=versions("faiss")[0])
    generation, written = current_generation(out)
    return out / generation, written


class _Vectors(NamedTuple):
    """Of all items, and of all users, by row."""

    items: Vectors
    users: Vectors


def _refuse(kind: str, to: str, out: Path) -> None:
    """Raise for a model without vectors, a library that isn't there, and a folder of something else."""
    if kind not in DOT_PRODUCTS:
        raise InputError(
            f"--model: expected a model whose score is a dot product ({', '.join(DOT_PRODUCTS)}), found {kind}, which "
            "no index of vectors can rank; use rank"
        )
    if to == "faiss":
        require("--to faiss", "export", "faiss")
    if (out / "CURRENT").exists() and current_generation(out)[1].get("kind") != "export":
        raise ArtefactError(f"--out {out}: expected a new folder or an export, found a store or a model")


def _vectors(scorer: DotScorer, progress: Progress) -> _Vectors:
    blocks = []
    for start in range(0, scorer.n_users, _USERS_AT_ONCE):
        progress("compute vectors", start, scorer.n_users)
        blocks.append(scorer.user_vectors(np.arange(start, min(start + _USERS_AT_ONCE, scorer.n_users))))
    return _Vectors(scorer.item_vectors(np.arange(scorer.n_items)), np.concatenate(blocks))


def _table(ids: pl.Series, vectors: Vectors) -> pl.DataFrame:
    return ids.to_frame().with_columns(vector=pl.Series(vectors, dtype=pl.Array(pl.Float32, vectors.shape[1])))


def _shape(vectors: _Vectors) -> dict[str, Any]:
    return {
        "metric": "inner product",
        "dimensions": vectors.items.shape[1],
        "items": len(vectors.items),
        "users": len(vectors.users),
    }


def _measured(scorer: DotScorer, vectors: _Vectors, index: Any, k: int) -> dict[str, Any]:
    """How much of the exact lists of some users is found; an index is tuned by those of others."""
    asked = np.random.default_rng(SEED).permutation(len(vectors.users))[: 2 * MEASURED_USERS]
    users, others = asked[::2], asked[1::2] if len(asked) > 1 else asked
    lists, difference = _exact_lists(scorer, users, vectors, k)
    if index is None:
        found = flat_rows(vectors.items, vectors.users[users], k=k)
    else:
        choose_probes(index, vectors.users[others], _exact_lists(scorer, others, vectors, k)[0])
        found = index_rows(index, vectors.users[users], k=min(k, len(vectors.items)))
    return {
        "recall": {"k": k, "users": len(users), "of_exact_lists": recall(found, lists)},
        "largest_difference": difference,
    }


def _exact_lists(scorer: DotScorer, users: Rows, vectors: _Vectors, k: int) -> tuple[list[IntArray], float]:
    """The list of each user, and how far a score on one is from the product of the float32 vectors, at most."""
    blocks = list(rank_blocks(scorer, users, k=k))
    rows, items = (np.concatenate([getattr(top, name) for top in blocks]) for name in ("users", "items"))
    scores = np.concatenate([top.scores for top in blocks])
    products = np.einsum("md,md->m", vectors.users[rows], vectors.items[items])
    return np.split(items, np.flatnonzero(np.diff(rows)) + 1), float(np.abs(products - scores).max())
