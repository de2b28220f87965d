"""Users and items that somebody names: found by their ids, or what else they may have meant."""

import polars as pl

from recsys_polars.errors import InputError
from recsys_polars.sources.files import printable
from recsys_polars.store import Store

_MOST = 5
"""Suggestions of a message."""


def titles_of(store: Store) -> pl.DataFrame:
    """Return item_id and title of the catalogue by item row; an item without a title has its id for one."""
    items = store.scan("items").select("item_id", title=pl.coalesce("title", "item_id"))
    return items.collect().sort("item_id")


def find_user(user_ids: pl.Series, user_id: str) -> int:
    """Return the place of a user among the sorted ids.

    Raises:
        InputError: there is no such user; it names those whose ids begin most alike.
    """
    place = int(user_ids.search_sorted(user_id))
    if place < len(user_ids) and user_ids[place] == user_id:
        return place
    raise InputError(
        f"user: expected one of {len(user_ids):,} user ids, found {printable(user_id)!r}"
        f"{_meant([printable(one, 40) for one in _alike(user_ids, user_id)])}"
    )


def _alike(user_ids: pl.Series, user_id: str) -> list[str]:
    """The first ids with as much of the beginning of `user_id` as any id has; none where that is nothing."""
    for length in range(len(user_id), 0, -1):
        begin = user_id[:length]
        place = int(user_ids.search_sorted(begin))
        found = [one for one in user_ids[place : place + _MOST] if one.startswith(begin)]
        if found:
            return found
    return []


def find_item(titles: pl.DataFrame, item_id: str) -> int:
    """Return the row of an item in `titles_of` a store.

    Raises:
        InputError: there is no such item; it names some whose titles contain the text, the shortest first.
    """
    place = int(titles["item_id"].search_sorted(item_id))
    if place < titles.height and titles["item_id"][place] == item_id:
        return place
    wanted = item_id.strip().lower()
    named = titles.filter(pl.col("title").str.to_lowercase().str.contains(wanted, literal=True) & (wanted != ""))
    shortest = named.sort(pl.col("title").str.len_chars(), "item_id").head(_MOST)
    found = [f"{printable(item, 40)}: {printable(title, 60)}" for item, title in shortest.iter_rows()]
    raise InputError(f"item: expected one of {titles.height:,} item ids, found {printable(item_id)!r}{_meant(found)}")


def _meant(found: list[str]) -> str:
    return "; did you mean:\n  " + "\n  ".join(found) if found else ""
