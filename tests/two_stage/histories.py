"""Random histories with everything that real ones have: repeats, dislikes, equal times, items and users of no use."""

import random
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import polars as pl

from recsys_polars.ranking.protocol import SparseRows
from recsys_polars.tables import EventTime, Items
from recsys_polars.two_stage.candidates import Candidates
from recsys_polars.two_stage.past import Catalogue, Past, catalogue_of, past_of
from tests.oracles.signals import Told

BEGAN = datetime(2020, 1, 1, tzinfo=UTC)
WORDS = ["tea", "red", "cup", "jar", "mug", "oak", "ink", "a", "42"]
FEATURES = ("weight", "maker")


class Small(NamedTuple):
    """A history as the product takes it and as the oracle does."""

    user_ids: list[str]
    items: pl.DataFrame
    told: Told

    @property
    def catalogue(self) -> Catalogue:
        return catalogue_of(self.items, pl.Series(self.user_ids), item_features=self.told.item_features)

    @property
    def past(self) -> Past:
        return past_of(self.catalogue, history_of(self.told), events_of(self.told))

    @property
    def item_ids(self) -> list[str]:
        return self.items["item_id"].to_list()

    def seen(self, users: np.ndarray) -> SparseRows:
        """By place in `users`: the items of their pairs."""
        of_users = [
            sorted(self.item_ids.index(item) for who, item, _, _ in self.told.pairs if who == self.user_ids[user])
            for user in users
        ]
        return lists_of(of_users)


def lists_of(of_users: list[list[int]]) -> SparseRows:
    return SparseRows(np.cumsum([0, *map(len, of_users)]), np.array([i for one in of_users for i in one], dtype=int))


def history_of(told: Told) -> pl.DataFrame:
    columns = zip(*told.pairs, strict=True)
    users, items, times, labels = columns
    return pl.DataFrame(
        {"user_id": users, "item_id": items, "event_time": moments(times), "label": pl.Series(labels, dtype=pl.Int8)}
    )


def events_of(told: Told) -> pl.DataFrame:
    items, times = zip(*told.events, strict=True)
    return pl.DataFrame({"item_id": items, "event_time": moments(times)})


def moments(hours) -> pl.Series:
    return pl.Series([BEGAN + timedelta(hours=hour) for hour in hours], dtype=EventTime)


def small_history(seed: int, *, n_users: int = 14, n_items: int = 12, n_events: int = 70, n_times: int = 40) -> Small:
    """Users and items drawn at random. The first user has nothing, the second only dislikes; nobody had item 0."""
    chance = random.Random(seed)
    item_ids = [f"i{row:03}" for row in range(n_items)]
    user_ids = [f"u{row:03}" for row in range(n_users)]
    events = [
        (chance.choice(user_ids[1:]), chance.choice(item_ids[1:]), chance.randrange(n_times), chance.random() < 0.8)
        for _ in range(n_events)
    ]
    latest = {(user, item): (time, int(liked)) for user, item, time, liked in sorted(events)}
    pairs = [(user, item, time, 0 if user == user_ids[1] else label) for (user, item), (time, label) in latest.items()]
    rows = {item: {"item_id": item, **random_item(chance)} for item in item_ids}
    told = Told(rows, pairs, [(item, time) for _, item, time, _ in events], FEATURES)
    schema = {name: column.dtype for name, column in Items.columns().items()}
    schema |= {"clip": pl.Array(pl.Float32, 3), "weight": pl.Float64, "maker": pl.String}
    return Small(user_ids, pl.DataFrame(list(rows.values()), schema=schema), told)


def small_items(n_items: int) -> pl.DataFrame:
    """Items of which nothing is known but the id."""
    schema = {name: column.dtype for name, column in Items.columns().items()}
    return pl.DataFrame([{"item_id": f"i{row:03}"} for row in range(n_items)], schema=schema)


def random_item(chance: random.Random) -> dict:
    def text(n_words: int) -> str | None:
        return " ".join(chance.choices(WORDS, k=n_words)) if chance.random() < 0.8 else None

    def maybe(value):
        return value if chance.random() < 0.8 else None

    return {
        "title": text(2),
        "description": text(chance.randrange(5)),
        "brand": maybe(chance.choice(["acme", "bolt"])),
        "category": maybe(chance.choice(["x", "y", "z"])),
        "image_url": None,
        "price": maybe(chance.choice([1.5, 20.0, 0.0])),
        "clip": maybe([chance.gauss(0, 1) for _ in range(3)]),
        "weight": maybe(chance.choice([1.0, -2.5])),
        "maker": maybe(chance.choice(["m", "n"])),
    }


def everything(candidates: Candidates, n_users: int, n_items: int) -> dict[str, np.ndarray]:
    """Every feature of every pair, shape (n_users, n_items), seen or not."""
    users, allowed = np.arange(n_users), np.ones(n_items, dtype=bool)
    blocks = list(candidates.blocks(users, seen=None, allowed=allowed, n_least=n_items))
    features = np.concatenate([block.features for block in blocks]).reshape(n_users, n_items, -1)
    return {name: features[:, :, column] for column, name in enumerate(candidates.names)}
