"""Popularity and k-core by plain loops over rows."""

import math

import pandas as pd


def popularity(positives: pd.DataFrame) -> list[tuple[str, int]]:
    """(item_id, number of positives), most first, ties by item_id ascending; an item without positives is not in it."""
    counts: dict[str, int] = {}
    for item_id in positives["item_id"]:
        counts[item_id] = counts.get(item_id, 0) + 1
    return sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))


def recently_popular(positives: pd.DataFrame, fraction: float = 0.1) -> list[tuple[str, int]]:
    """`popularity` over the latest tenth of the positives.

    That is those at or after the "lower" (1 - fraction) quantile of their event_time, as for the cuts; all rows that
    tie with it are in.
    """
    if positives.empty:
        return []
    times = sorted(positives["event_time"])
    cut = times[math.floor((len(times) - 1) * (1 - fraction))]
    return popularity(positives[positives["event_time"] >= cut])


def k_core(interactions: pd.DataFrame, *, min_user: int, min_item: int) -> pd.DataFrame:
    """The rows left when each user has at least min_user items and each item at least min_item users.

    Rows of users and items with fewer go, again and again until none does. A repeated pair counts once; the rows that
    stay keep their order and index.
    """
    rows = list(zip(interactions.index, interactions["user_id"], interactions["item_id"], strict=True))
    while True:
        items_of_user: dict[str, set[str]] = {}
        users_of_item: dict[str, set[str]] = {}
        for _, user_id, item_id in rows:
            items_of_user.setdefault(user_id, set()).add(item_id)
            users_of_item.setdefault(item_id, set()).add(user_id)
        kept = [
            (index, user_id, item_id)
            for index, user_id, item_id in rows
            if len(items_of_user[user_id]) >= min_user and len(users_of_item[item_id]) >= min_item
        ]
        if len(kept) == len(rows):
            return interactions.loc[[index for index, _, _ in kept]]
        rows = kept
