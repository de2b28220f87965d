"""A look at single users: what they liked, what each model gives them, what they took next."""

from collections.abc import Mapping

import polars as pl

from recsys_polars.recipes import history_before
from recsys_polars.reporting.contents import Card, Shelf
from recsys_polars.reporting.html import LONGEST_NAME
from recsys_polars.store import Store


def read_shelves(
    lists: Mapping[str, pl.DataFrame], store: Store, *, n_users: int = 5, n_titles: int = 5, seed: int = 42
) -> list[Shelf]:
    """Pick random users who have positives on both sides of the test cut, and show them.

    Args:
        lists: `Predictions` by name.
        store: that they were made for.
        n_users: how many.
        n_titles: titles of each list at most, but for what was taken: every hit in a shown list is there.
        seed: of the choice.
    """
    items = store.scan("items").select("item_id", "image_url", title=pl.coalesce("title", "item_id"))
    alike = pl.col("title").str.head(LONGEST_NAME - 1).is_duplicated()  # what is longer is cut there
    titles = items.with_columns(is_ambiguous=alike).collect()
    liked = history_before(store, "test").filter(pl.col("label") == 1).collect()
    taken = store.scan("labelled").filter((pl.col("part") == "test") & (pl.col("label") == 1)).collect()
    both = liked.join(taken, on="user_id", how="semi")["user_id"].unique().sort()
    users = both.sample(min(n_users, len(both)), seed=seed).sort()
    liked, taken = (_named(pairs, users, titles) for pairs in (liked, taken))
    given = {name: _ranked(of_all, users, titles) for name, of_all in lists.items()}
    return [
        _shelf(
            user,
            liked.filter(user_id=user),
            taken.filter(user_id=user),
            {name: of_users.filter(user_id=user).head(n_titles) for name, of_users in given.items()},
            n_titles,
        )
        for user in users
    ]


def _shelf(
    user: str, liked: pl.DataFrame, taken: pl.DataFrame, given: Mapping[str, pl.DataFrame], n_titles: int
) -> Shelf:
    is_hit = pl.col("item_id").is_in(taken["item_id"].implode())
    is_shown = pl.any_horizontal(False, *(pl.col("item_id").is_in(own["item_id"].implode()) for own in given.values()))
    shown = taken.sort(is_shown, descending=True, maintain_order=True)
    n_hits = shown.select(is_shown.sum()).item()
    return Shelf(
        user_id=user,
        liked=_cards(liked.head(n_titles)),
        taken=_cards(shown.head(max(n_titles, n_hits))),
        given={name: _cards(own.with_columns(is_hit=is_hit)) for name, own in given.items()},
        n_liked=liked.height,
        n_taken=taken.height,
    )


def _named(pairs: pl.DataFrame, users: pl.Series, titles: pl.DataFrame) -> pl.DataFrame:
    """The pairs of `users` with titles, the latest first."""
    latest_first = pairs.filter(pl.col("user_id").is_in(users.implode())).sort(
        "event_time", "item_id", descending=[True, False]
    )
    return latest_first.join(titles, on="item_id", maintain_order="left")


def _ranked(lists: pl.DataFrame, users: pl.Series, titles: pl.DataFrame) -> pl.DataFrame:
    of_users = lists.filter(pl.col("user_id").is_in(users.implode()))
    return of_users.sort("user_id", "rank").join(titles, on="item_id", maintain_order="left")


def _cards(rows: pl.DataFrame) -> list[Card]:
    item_id = pl.when("is_ambiguous").then("item_id")
    shown = rows.select("title", "image_url", "^is_hit$", item_id=item_id)
    return [Card(**row) for row in shown.iter_rows(named=True)]
