"""A deterministic data set of the notebook's shape."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from recsys_polars.knowledge import Knowledge

D_CLIP, D_NUMERIC = 200, 6
N_BRANDS, N_CATEGORIES = 2000, 12


@dataclass(frozen=True)
class Shape:
    """How large: the notebook's own size by default."""

    n_users: int = 552_000
    n_items: int = 67_706
    n_rows: int = 1_640_000
    n_ranked: int = 85_083

    def scaled(self, factor: float) -> "Shape":
        """Return the shape with every number multiplied by `factor`."""
        sizes = (self.n_users, self.n_items, self.n_rows, self.n_ranked)
        return Shape(*(max(64, int(size * factor)) for size in sizes))


class Synthetic:
    """The data set: pairs, item vectors of CLIP's and the notebook's numeric width, brands, categories, prices."""

    def __init__(self, shape: Shape, seed: int = 0) -> None:
        self.shape = shape
        chance = np.random.default_rng(seed)
        n, m = shape.n_users, shape.n_items
        # Popularity as 1 / rank, as review sites have it; every user has at least one row.
        weights = 1 / np.arange(1, m + 1)
        users = np.concatenate([np.arange(n), chance.integers(n, size=max(0, shape.n_rows - n))])
        items = chance.permutation(m)[chance.choice(m, size=len(users), p=weights / weights.sum())]
        first = np.unique(users * m + items, return_index=True)[1]
        self.users, self.items = users[first], items[first]
        self.labels = (chance.random(len(first)) < 0.85).astype(np.int64)
        self.times = chance.permutation(len(first))
        clip = chance.standard_normal((m, D_CLIP), dtype=np.float32)
        clip /= np.linalg.norm(clip, axis=1, keepdims=True)
        self.vectors = np.hstack([clip, chance.standard_normal((m, D_NUMERIC), dtype=np.float32)])
        self.brands = np.array([f"brand {b}" for b in chance.integers(N_BRANDS, size=m)])
        self.categories = np.array([f"category {c}" for c in chance.integers(N_CATEGORIES, size=m)])
        self.prices = np.where(chance.random(m) < 0.3, chance.lognormal(3, 1, m), np.nan)

    @cached_property
    def user_ids(self) -> pl.Series:
        """Ids that sort as their row numbers."""
        return pl.Series("user_id", [f"U{row:07d}" for row in range(self.shape.n_users)])

    @cached_property
    def item_ids(self) -> pl.Series:
        """Ids that sort as their row numbers."""
        return pl.Series("item_id", [f"I{row:07d}" for row in range(self.shape.n_items)])

    def history(self) -> pl.DataFrame:
        """The pairs as a table: user_id, item_id, label."""
        return pl.DataFrame(
            {
                "user_id": self.user_ids.gather(self.users),
                "item_id": self.item_ids.gather(self.items),
                "label": pl.Series(self.labels, dtype=pl.Int8),
            }
        )

    @cached_property
    def knowledge(self) -> Knowledge:
        """The same as models take it."""
        n, m = self.shape.n_users, self.shape.n_items
        liked = self.labels == 1
        counts = np.bincount(self.users[liked], minlength=n)
        sums = np.zeros((n, self.vectors.shape[1]), dtype=np.float32)
        np.add.at(sums, self.users[liked], self.vectors[self.items[liked]])
        title_len = np.arange(m) % 80
        table = pl.DataFrame(
            {
                "item_id": self.item_ids,
                "title_len": title_len,
                "title_has_digit": title_len % 2,
                "description_text_len": np.arange(m) % 500,
                "is_top20_brand": (np.arange(m) % 9 == 0).astype(int),
                "has_price": (~np.isnan(self.prices)).astype(int),
                "is_top9_category_main": (np.arange(m) % 5 != 0).astype(int),
                "brand": self.brands,
                "category": self.categories,
                "price": self.prices,
            }
        )
        return Knowledge(
            user_ids=self.user_ids,
            item_ids=self.item_ids,
            item_table=table,
            item_vectors=self.vectors,
            blocks={"clip_text": slice(0, 100), "clip_img": slice(100, 200), "numeric": slice(200, 206)},
            user_rows=self.users,
            item_rows=self.items,
            labels=self.labels,
            times=self.times,
            offsets=np.searchsorted(self.users, np.arange(n + 1)),
            means=sums / np.maximum(counts, 1)[:, None].astype(np.float32),
            mean_rows=np.where(counts > 0, np.arange(n), -1),
            n_positives=counts,
        )
