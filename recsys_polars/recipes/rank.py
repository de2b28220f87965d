"""`rank`: a trained model -> the exact top k of every user, in one Parquet file."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from recsys_polars.disk import fingerprint
from recsys_polars.errors import InputError
from recsys_polars.knowledge import NOBODY, Knowledge, Rows
from recsys_polars.recipes import Progress, knowledge_before, silent
from recsys_polars.recipes.ids import given_ids
from recsys_polars.recipes.parts import parts_of
from recsys_polars.recipes.sides import Job, Queue, RankSettings, excludes_seen, queue_of
from recsys_polars.recipes.timing import Stopwatch
from recsys_polars.recipes.trained import find_model
from recsys_polars.store import Store, open_store

METADATA_KEY = b"recsys_polars"
USERS_AT_ONCE = 8192
"""Users of a part, and of a row group of the predictions."""
_OTHER_FORMATS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".xlsx", ".txt", ".gz", ".html")
SCHEMA = pa.schema([("user_id", pa.string()), ("rank", pa.uint32()), ("item_id", pa.string()), ("score", pa.float32())])


def rank(path: Path, out: Path, settings: RankSettings, *, progress: Progress = silent) -> dict[str, Any]:
    """Rank with a model of the store at `path` and write `Predictions` to `out`, which appears when it is complete.

    A killed run goes on where it stopped when it is asked for again; the file is the same, byte for byte. Cold users,
    those without a positive before the test cut, get the popular items.

    Returns:
        The figures of the run, as they stand in the file's metadata, and the seconds that it took.

    Raises:
        InputError: no users, no candidates, ids that can't be read, or a k below 1.
        ArtefactError: no store, or no model trained on its current generation.
    """
    watch = Stopwatch(progress)
    refuse_other_formats(out)
    watch("prepare", 0, 0)
    store = open_store(path)
    _, manifest = find_model(store, settings.kind)
    exclude_seen = excludes_seen(manifest, settings)
    known = knowledge_before(store, "test")
    user_ids = _user_ids(store, known, settings.users)
    candidates, n_unknown = _candidates(known, settings.candidates)
    queue = queue_of(Job(store, manifest["kind"], known, candidates, exclude_seen, settings), user_ids)
    figures = run_figures(
        store,
        manifest,
        settings,
        users=len(user_ids),
        cold_users=int((~queue.is_warm).sum()),
        unknown_users=int((known.rows_of_users(user_ids) == NOBODY).sum()),
        unknown_candidates=n_unknown,
        items=known.n_items if candidates is None else len(candidates),
        facts=queue.warm.facts,
    )
    asked = {"users": user_ids.to_list(), "candidates": None if candidates is None else candidates.tolist()}
    n_parts, n_taken_over = -(-len(user_ids) // USERS_AT_ONCE), 0
    with parts_of(out, {**figures, "asked": fingerprint(asked), "users_at_once": USERS_AT_ONCE}) as parts:
        for number in range(n_parts):
            if parts.has(number):
                n_taken_over += 1
            else:
                parts.write(number, ranked_part(number, queue, known.item_ids, watch))
        complete = parts.folder / "complete"
        seal = parts.join(complete, n_parts, SCHEMA, {METADATA_KEY: json.dumps(figures)})
        complete.replace(out)
    rank_seconds = watch.stop()
    if not n_taken_over:  # else this wasn't all the work that it took
        watch.keep(store, seal)
    return {**figures, "rank_seconds": rank_seconds}


def refuse_other_formats(out: Path | str) -> None:
    """Refuse a name that promises something else than Parquet.

    Raises:
        InputError: it does.
    """
    name = str(out)
    if name.lower().endswith(_OTHER_FORMATS):
        raise InputError(
            f"--out {name}: expected the name of a Parquet file, such as preds.parquet, found another's; "
            "pl.read_parquet('preds.parquet').write_csv('preds.csv') makes a table of it"
        )


def run_figures(
    store: Store, manifest: Mapping[str, Any], settings: RankSettings, *, facts: Mapping[str, Any], **counts: int
) -> dict[str, Any]:
    """Return what a file of predictions says of its making, whatever the engine.

    Args:
        store: ranked from.
        manifest: of the model.
        settings: of the ranking.
        facts: what the model adds.
        counts: users, cold_users, unknown_users, unknown_candidates, and items to choose from.
    """
    return {
        "model": manifest["kind"],
        "model_files": fingerprint(manifest["files"]),
        "recipe": manifest["settings"]["recipe"],
        "store": store.identity,
        "k": settings.k,
        **counts,
        "exclude_seen": excludes_seen(manifest, settings),
        **facts,
    }


def _user_ids(store: Store, known: Knowledge, users: str | Sequence[str]) -> pl.Series:
    """The ids to rank, sorted and unique."""
    if users == "all":
        return known.user_ids
    if users == "test":
        found = store.scan("labelled").filter(pl.col("part") == "test").select("user_id").unique().collect()["user_id"]
        if found.is_empty():
            raise InputError("--users test: expected users in the test part, found none; use --users all")
        return found.sort()
    return given_ids(users, "user_id", option="--users")


def _candidates(known: Knowledge, candidates: str | Sequence[str]) -> tuple[Rows | None, int]:
    """The item rows to choose from, ascending (None: all), and how many ids the catalogue doesn't know."""
    if candidates == "catalogue":
        return None, 0
    if candidates == "train":
        return np.unique(known.item_rows), 0
    return rows_of_candidates(known.item_ids, candidates, candidates)


def rows_of_candidates(
    item_ids: pl.Series, given: Path | str | Sequence[str], asked: str | Sequence[str]
) -> tuple[Rows, int]:
    """Return the rows of item ids, or of a file's, ascending, and how many of them the catalogue doesn't know.

    Raises:
        InputError: a file that can't be read, or one without an id of the catalogue.
    """
    ids = given_ids(given, "item_id", option="--candidates")
    rows = item_ids.to_frame().with_row_index("row").filter(pl.col("item_id").is_in(ids.implode()))["row"]
    if rows.is_empty():
        raise InputError(
            f"--candidates {str(asked)[:300]}: expected ids of the catalogue, found none among {len(ids):,}"
        )
    return rows.to_numpy().astype(np.int64), len(ids) - len(rows)


def ranked_part(number: int, queue: Queue, item_ids: pl.Series, progress: Progress) -> pa.Table:
    """Rank `USERS_AT_ONCE` users of a queue; return their predictions in the order of `Predictions`."""
    n_users, done = len(queue.user_ids), number * USERS_AT_ONCE
    part = np.arange(done, min(done + USERS_AT_ONCE, n_users))
    lists = []
    progress("rank", done, n_users, "users")
    for side, members in ((queue.warm, part[queue.is_warm[part]]), (queue.cold, part[~queue.is_warm[part]])):
        for top in side.ranked(queue.places[members]):
            # The members of a side in this part have consecutive places.
            user = members[top.users - queue.places[members[0]]]
            lists.append(pl.DataFrame({"user": user, "item": top.items, "rank": top.ranks, "score": top.scores}))
            done += top.stop - top.start
            progress("rank", done, n_users, "users")
    ranked = pl.concat(lists).sort("user", "rank")
    named = ranked.select(
        user_id=queue.user_ids.gather(ranked["user"]),
        rank="rank",
        item_id=item_ids.gather(ranked["item"]),
        score="score",
    )
    return named.to_arrow().cast(SCHEMA)
