"""Users and items that somebody names: found by their ids, or what else they may have meant."""

import string

import polars as pl

from recsys_polars.errors import InputError
from recsys_polars.sources.files import printable
from recsys_polars.store import Store

_MOST = 5
"""Suggestions of a message."""
_SHORTEST, _LONGEST = 4, 64
"""Signs of a word that ids are near to: of fewer one is too many, and what is longer is no id."""
_LONGEST_TITLE = 500
"""Signs of a text that is looked for in titles."""
_SIGNS = string.ascii_letters + string.digits + "-_"
"""That somebody may have left out."""


def titles_of(store: Store) -> pl.DataFrame:
    """Return item_id and title of the catalogue by item row; an item without a title has its id for one."""
    items = store.scan("items").select("item_id", title=pl.coalesce("title", "item_id"))
    return items.collect().sort("item_id")


def find_user(user_ids: pl.Series, user_id: str) -> int:
    """Return the place of a user among the sorted ids.

    Raises:
        InputError: there is no such user; it names those whose ids are near.
    """
    place = _place(user_ids, user_id)
    if place is not None:
        return place
    raise InputError(
        f"user: expected one of {len(user_ids):,} user ids, found {printable(user_id)!r}"
        f"{_meant([printable(one, 40) for one in _near(user_ids, _as_utf8(user_id))])}"
    )


def find_item(titles: pl.DataFrame, item_id: str) -> int:
    """Return the row of an item in `titles_of` a store.

    Raises:
        InputError: there is no such item; it names those whose ids are near, or else some with a word in their titles
            that begins like the text, the shortest first.
    """
    place = _place(titles["item_id"], item_id)
    if place is not None:
        return place
    word = _as_utf8(item_id)
    near = titles.filter(pl.col("item_id").is_in(_near(titles["item_id"], word)))
    rows = (near if near.height else _titled(titles, word.strip().lower())).iter_rows()
    found = [f"{printable(item, 40)}: {printable(title, 60)}" for item, title in rows]
    raise InputError(f"item: expected one of {titles.height:,} item ids, found {printable(item_id)!r}{_meant(found)}")


def _place(ids: pl.Series, word: str) -> int | None:
    if word != _as_utf8(word):
        return None
    place = int(ids.search_sorted(word))
    return place if place < len(ids) and ids[place] == word else None


def _as_utf8(word: str) -> str:
    """A word without the bytes of a command line that are no UTF-8."""
    return word.encode(errors="ignore").decode()


def _near(ids: pl.Series, word: str) -> list[str]:
    """The ids that begin with a word or are one sign off; none where they are many: no one more likely than another."""
    if not 0 < len(word) <= _LONGEST:
        return []
    near = ids.filter(ids.str.starts_with(word) | ids.is_in(_one_sign_off(word)))
    return near.to_list() if len(near) <= _MOST else []


def _one_sign_off(word: str) -> list[str]:
    """A word with a sign left out, added or changed, or two swapped; without blanks around it, and in either case."""
    halves = [(word[:place], word[place:]) for place in range(len(word) + 1 if len(word) >= _SHORTEST else 0)]
    changed = [f"{head}{sign}{tail[n:]}" for head, tail in halves for n in (0, 1) for sign in ("", *_SIGNS)]
    swapped = [f"{head}{tail[1]}{tail[0]}{tail[2:]}" for head, tail in halves if len(tail) > 1]
    return [*changed, *swapped, word.strip(), word.upper(), word.lower()]


def _titled(titles: pl.DataFrame, text: str) -> pl.DataFrame:
    """The items with the shortest titles in which a word begins like a text."""
    if not 0 < len(text) <= _LONGEST_TITLE:
        return titles.clear()
    begins = pl.col("title").str.to_lowercase().str.contains(rf"(?:^|\W){pl.escape_regex(text)}")
    named = titles.filter((pl.col("title") != pl.col("item_id")) & begins)
    return named.sort(pl.col("title").str.len_chars(), "item_id").head(_MOST)


def _meant(found: list[str]) -> str:
    return "; did you mean:\n  " + "\n  ".join(found) if found else ""
