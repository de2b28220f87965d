"""`explain`: why a user gets the items that `rank` gives them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from recsys_polars.knowledge import Knowledge, Rows
from recsys_polars.neighbours import cosines
from recsys_polars.ranking.protocol import TopK
from recsys_polars.recipes import knowledge_before
from recsys_polars.recipes.naming import find_item, find_user, titles_of
from recsys_polars.recipes.sides import Job, RankSettings, Side, excludes_seen, queue_of
from recsys_polars.recipes.trained import find_model
from recsys_polars.store import open_store

NUMBERS = "numeric"
"""The block of an item's numbers: prices and lengths of texts, by which most things lie near most others."""


class Nearest(NamedTuple):
    """The liked item that lies nearest to another."""

    cosine: float
    title: str


@dataclass(frozen=True)
class Reason:
    """Why an item stands where it does.

    Attributes:
        item_id, title: which item; one without a title has its id for one.
        rank, score: on the user's list; None where it doesn't stand there.
        had: the user had it before the test cut.
        liked_by: users who liked it before the test cut.
        nearest: by vector block, what is most like it of what the user liked, the item itself left out.
        parts: of the score, by name; they add up to it.
        proposers: by signal, the place that the item has with it; of `auto` alone.
    """

    item_id: str
    title: str
    rank: int | None
    score: float | None
    had: bool
    liked_by: int
    nearest: Mapping[str, Nearest]
    parts: Mapping[str, float]
    proposers: Mapping[str, int]


@dataclass(frozen=True)
class Explanation:
    """The reasons for a user's list, or for one item.

    Attributes:
        model: the kind of the model.
        n_liked: items that the user liked before the test cut; 0: cold, served by popularity.
        n_items: of the catalogue.
        searched: length of the list; where one item is explained, of the user's whole order.
        reasons: by rank.
    """

    model: str
    n_liked: int
    n_items: int
    searched: int
    reasons: list[Reason]


def explain(path: Path, user_id: str, settings: RankSettings, *, item_id: str | None = None) -> Explanation:
    """Explain the list that `rank` with the same settings gives a user, or where one item stands for them.

    Args:
        path: the store.
        user_id: whom the list is for.
        settings: of the ranking, but for `users`.
        item_id: the item, wherever it stands; None: the list.

    Raises:
        InputError: an unknown user or item.
        ArtefactError: no store there, or no model trained on its current generation.
    """
    store = open_store(path)
    _, manifest = find_model(store, settings.kind)
    known = knowledge_before(store, "test")
    user, titles = find_user(known.user_ids, user_id), titles_of(store)
    item = None if item_id is None else find_item(titles, item_id)
    exclude_seen = excludes_seen(manifest, settings)
    queue = queue_of(Job(store, manifest["kind"], known, None, exclude_seen, settings), known.user_ids[[user]])
    side = queue.warm if queue.is_warm[0] else queue.cold
    top = next(side.ranked(np.zeros(1, dtype=np.int64))) if item is None else side.whole(0)
    shown = top.items.astype(np.int64) if item is None else np.array([item])
    return Explanation(
        model=manifest["kind"],
        n_liked=int(known.n_positives[user]),
        n_items=known.n_items,
        searched=len(top.items),
        reasons=_reasons(shown, top, side, known, user, titles["title"]),
    )


def _reasons(shown: Rows, top: TopK, side: Side, known: Knowledge, user: int, titles: pl.Series) -> list[Reason]:
    """The reasons for some items, on the list or not."""
    places = {int(row): place for place, row in enumerate(top.items)}
    listed = [int(row) for row in shown if int(row) in places]
    parts = side.parts(0, np.array(listed)) if listed else {}
    proposals = side.proposals(0) if side.proposals else {}
    had = set(known.seen(np.array([user]))[1].tolist())
    reasons = []
    for row in map(int, shown):
        place = places.get(row)
        reasons.append(
            Reason(
                item_id=known.item_ids[row],
                title=titles[row],
                rank=None if place is None else int(top.ranks[place]),
                score=None if place is None else float(top.scores[place]),
                had=row in had,
                liked_by=int(known.item_counts[row]),
                nearest=_nearest(known, user, row, titles),
                parts={} if place is None else {name: float(part[listed.index(row)]) for name, part in parts.items()},
                proposers={
                    name: int(np.flatnonzero(rows == row)[0]) + 1 for name, rows in proposals.items() if row in rows
                },
            )
        )
    return reasons


def _nearest(known: Knowledge, user: int, row: int, titles: pl.Series) -> dict[str, Nearest]:
    """What a user liked that is most like an item, by block; of equals the first; nothing where nothing has vectors."""
    own = slice(known.offsets[user], known.offsets[user + 1])
    liked = known.item_rows[own][known.labels[own] == 1]
    liked = liked[liked != row]
    nearest = {}
    for block in [name for name in known.blocks if name != NUMBERS] or known.blocks:
        columns = known.blocks[block]
        found = cosines(known.item_vectors[row, columns], known.item_vectors[liked, columns])
        if not np.isnan(found).all():
            best = int(np.nanargmax(found))
            nearest[block] = Nearest(float(found[best]), titles[int(liked[best])])
    return nearest
