"""The same ground for every peer: what a store knows before a cut, whom to rank, which items, and how ties go."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from benchmarks import peers
from benchmarks.peers import BLOCK, Csr, Rows, Scores, Terms
from recsys_polars import metrics
from recsys_polars.knowledge import Knowledge
from recsys_polars.recipes import history_before, knowledge_before
from recsys_polars.recipes.rank import METADATA_KEY
from recsys_polars.sealing import write_sealed_parquet
from recsys_polars.store import Store

K = 10
Candidates = Literal["train", "catalogue"]
_WORD = re.compile(r"\w\w+")


@dataclass(frozen=True)
class Field:
    """What was known before a cut, and what came after it.

    Attributes:
        known: as the product's models have it; row numbers are its.
        likes, liked_at: see `peers`.
        terms: words of title and description, and brand and category as one term each, by item row.
        known_items: item rows with an interaction before the cut, ascending.
        candidates: the item rows to choose from, ascending.
        truth: user_id, item_id: the liked pairs of the part that begins at the cut, of users with a like before it.
        cold_users: how many users have liked pairs in that part, and no like before it.
    """

    known: Knowledge
    likes: Csr = field(repr=False)
    liked_at: Csr = field(repr=False)
    terms: Terms = field(repr=False)
    known_items: Rows
    candidates: Rows
    truth: pl.DataFrame
    cold_users: int

    @property
    def user_ids(self) -> pl.Series:
        """Whom to rank, sorted."""
        return self.truth["user_id"].unique().sort()


@dataclass(frozen=True)
class Peer:
    """A way to rank, and the parameters to choose from on the valid part."""

    name: str
    fit: Callable[..., Scores]
    grid: Sequence[Mapping[str, float]] = ({},)


def _grid(**values: Sequence[float]) -> list[dict[str, float]]:
    """Every combination."""
    grid: list[dict[str, float]] = [{}]
    for name, choices in values.items():
        grid = [{**so_far, name: choice} for so_far in grid for choice in choices]
    return grid


PEERS = (
    Peer("popular", lambda f: peers.popular(f.likes)),
    Peer("recently popular", lambda f: peers.recently_popular(f.liked_at)),
    Peer("decayed popularity", lambda f: peers.decayed_popular(f.liked_at)),
    Peer("item cosine", lambda f: peers.item_cosine(f.likes)),
    Peer(
        "EASE",
        lambda f, **chosen: peers.ease(f.likes, **chosen),
        _grid(regularisation=[1, 3, 10, 30, 100, 300, 1000, 3000, 10_000]),
    ),
    Peer(
        "ALS (implicit)",
        lambda f, **chosen: peers.als(f.likes, **chosen),
        _grid(factors=[8, 32, 128], regularisation=[0.1, 1, 10], alpha=[1, 5, 20]),
    ),
    Peer("TF-IDF profile", lambda f: peers.tfidf_profile(f.likes, f.terms, f.known_items)),
    Peer(
        "hybrid (LightFM)",
        lambda f, **chosen: peers.hybrid(f.likes, f.terms, f.known_items, **chosen),
        _grid(factors=[32], epochs=[10, 30, 90]),
    ),
)


def open_field(store: Store, cut: str, candidates: Candidates) -> Field:
    """Open what a store knew before a cut, `valid` or `test`, and the truth after it."""
    known = knowledge_before(store, cut)
    liked = history_before(store, cut).filter(pl.col("label") == 1).select("user_id", "item_id", "event_time").collect()
    rows = known.rows_of_users(liked["user_id"]), known.item_ids.search_sorted(liked["item_id"]).to_numpy()
    seconds = liked["event_time"].dt.epoch("us").to_numpy() / 1e6
    shape = (known.n_users, known.n_items)
    truth = store.scan("labelled").filter((pl.col("part") == cut) & (pl.col("label") == 1))
    pairs = truth.select("user_id", "item_id").collect()
    warm = pairs.filter(pl.Series(known.n_positives[known.rows_of_users(pairs["user_id"])] > 0))
    known_items = np.unique(known.item_rows)
    return Field(
        known=known,
        likes=sparse.csr_array((np.ones(liked.height), rows), shape=shape),
        liked_at=sparse.csr_array((seconds, rows), shape=shape),
        terms=item_terms(store.scan("items").collect().sort("item_id")),
        known_items=known_items,
        candidates=known_items if candidates == "train" else np.arange(known.n_items),
        truth=warm,
        cold_users=pairs["user_id"].n_unique() - warm["user_id"].n_unique(),
    )


def item_terms(items: pl.DataFrame) -> Terms:
    """Return the words of title and description in lower case, then `brand=...` and `category=...`, of each item."""
    texts = items.select(pl.concat_str("title", "description", separator=" ", ignore_nulls=True)).to_series()
    words = [_WORD.findall((text or "").lower()) for text in texts]
    named = [(name, items[name].to_list()) for name in ("brand", "category")]
    return [
        [*found, *(f"{name}={values[row]}" for name, values in named if values[row])] for row, found in enumerate(words)
    ]


def choose(peer: Peer, field: Field) -> tuple[Mapping[str, float], float | None]:
    """Return the parameters of the best MAP@10 on a field, the first among equals, and that figure.

    Raises:
        NotHereError: the peer can't be run here.
    """
    if len(peer.grid) == 1:
        return peer.grid[0], None
    scores = []
    for chosen in peer.grid:
        lists = ranked(peer.fit(field, **chosen), field)
        scores.append(metrics.per_user(lists, field.truth, k=K)["ap"].to_numpy().mean())
    best = int(np.argmax(scores))
    return peer.grid[best], float(scores[best])


def ranked(scores: Scores, field: Field) -> pl.DataFrame:
    """Rank the candidates for the field's users, without what they have seen: `Predictions`."""
    user_ids = field.user_ids
    users = field.known.rows_of_users(user_ids)
    lists = top_lists(scores, users, seen=field.known.seen(users), candidates=field.candidates)
    lengths = [len(items) for items, _ in lists]
    return pl.DataFrame(
        {
            "user_id": user_ids.gather(np.repeat(np.arange(len(users)), lengths)),
            "rank": np.concatenate([np.arange(1, length + 1, dtype=np.uint32) for length in lengths]),
            "item_id": field.known.item_ids.gather(np.concatenate([items for items, _ in lists])),
            "score": np.concatenate([of_items for _, of_items in lists]),
        }
    )


def top_lists(
    scores: Scores, users: Rows, *, seen: tuple[Rows, Rows], candidates: Rows, k: int = K
) -> list[tuple[Rows, NDArray[np.float32]]]:
    """Return each user's k best item rows and their scores: score descending in float32, then item row ascending.

    Args:
        scores: of user rows.
        users: user rows.
        seen: offsets `(n + 1,)` and item rows: those of users[j], at offsets[j] to offsets[j + 1], are left out.
        candidates: the item rows to choose from, ascending.
        k: length of a list; shorter where fewer are left.
    """
    offsets, seen_items = seen
    lists = []
    for start in range(0, len(users), BLOCK):
        block = scores(users[start : start + BLOCK]).astype(np.float32)
        for place, row in enumerate(block, start):
            row[seen_items[offsets[place] : offsets[place + 1]]] = -np.inf
            best = candidates[_best_places(row[candidates], k)]
            lists.append((best, row[best]))
    return lists


def _best_places(scores: NDArray[np.float32], k: int) -> Rows:
    n = min(k, int((scores > -np.inf).sum()))
    if not n:
        return np.empty(0, dtype=np.int64)
    lowest = np.partition(scores, len(scores) - n)[len(scores) - n]
    places = np.flatnonzero(scores >= lowest)
    return places[np.argsort(-scores[places], kind="stable")][:n]


def write_lists(lists: pl.DataFrame, name: str, store: Store, out: Path) -> None:
    """Write predictions as `rank` does, so that `evaluate` judges them as it judges ours."""
    run: dict[str, Any] = {"model": name, "store": store.identity, "k": K}
    table = lists.to_arrow()
    write_sealed_parquet(out, [table], table.schema, {METADATA_KEY: json.dumps(run)})
