"""A look at single users: what they liked, what each model gives them, what they took next."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from recsys_polars.recipes import history_before
from recsys_polars.store import open_store


@dataclass(frozen=True)
class Shelf:
    """One user, in titles.

    Attributes:
        user_id: who.
        liked: their latest positives before the test cut, the latest first.
        taken: their positives in the test part.
        given: the list of each predictions file, best first, by name; (title, whether it is among `taken`).
    """

    user_id: str
    liked: list[str]
    taken: list[str]
    given: dict[str, list[tuple[str, bool]]]


def read_shelves(
    files: Mapping[str, Path], path: Path, *, n_users: int = 5, n_titles: int = 5, seed: int = 42
) -> list[Shelf]:
    """Pick random users who have positives on both sides of the test cut, and show them.

    Args:
        files: predictions by name.
        path: the store.
        n_users: how many.
        n_titles: titles of each list at most.
        seed: of the choice.
    """
    store = open_store(path)
    titles = store.scan("items").select("item_id", title=pl.coalesce("title", "item_id")).collect()
    liked = history_before(store, "test").filter(pl.col("label") == 1).collect()
    taken = store.scan("labelled").filter((pl.col("part") == "test") & (pl.col("label") == 1)).collect()
    both = liked.join(taken, on="user_id", how="semi")["user_id"].unique().sort()
    users = both.sample(min(n_users, len(both)), seed=seed).sort()
    liked, taken = (_named(pairs, users, titles) for pairs in (liked, taken))
    given = {name: _ranked(file, users, titles) for name, file in files.items()}
    return [
        Shelf(
            user_id=user,
            liked=liked.filter(pl.col("user_id") == user)["title"].head(n_titles).to_list(),
            taken=taken.filter(pl.col("user_id") == user)["title"].head(n_titles).to_list(),
            given={name: _with_hits(lists, taken, user, n_titles) for name, lists in given.items()},
        )
        for user in users
    ]


def _named(pairs: pl.DataFrame, users: pl.Series, titles: pl.DataFrame) -> pl.DataFrame:
    """The pairs of `users` with titles, the latest first."""
    latest_first = pairs.filter(pl.col("user_id").is_in(users.implode())).sort(
        "event_time", "item_id", descending=[True, False]
    )
    return latest_first.join(titles, on="item_id", maintain_order="left")


def _ranked(file: Path, users: pl.Series, titles: pl.DataFrame) -> pl.DataFrame:
    lists = pl.scan_parquet(file, glob=False).filter(pl.col("user_id").is_in(users.implode())).collect()
    return lists.sort("user_id", "rank").join(titles, on="item_id", maintain_order="left")


def _with_hits(lists: pl.DataFrame, taken: pl.DataFrame, user: str, n_titles: int) -> list[tuple[str, bool]]:
    own = lists.filter(pl.col("user_id") == user).head(n_titles)
    hits = own["item_id"].is_in(taken.filter(pl.col("user_id") == user)["item_id"].implode())
    return list(zip(own["title"], hits, strict=True))
