"""The order of the steps, one recipe a file: files in, files out. Nothing else knows it."""

from typing import Protocol

import polars as pl

from recsys_polars.knowledge import SEEN_ONLY, Knowledge, known_before
from recsys_polars.splitting import history
from recsys_polars.store import Store


class Progress(Protocol):
    """Told of a long step, by whichever thread is at work."""

    def __call__(self, step: str, done: int, total: int, unit: str = "") -> None:
        """Take note.

        Args:
            step: its name; another one than before: the step before is done.
            done: how much of it is done.
            total: of how much; 0: nobody knows.
            unit: what is counted, in the plural, where a rate of it says something.
        """


def silent(step: str, done: int, total: int, unit: str = "") -> None:
    """Report no progress."""


def history_before(store: Store, cut: str) -> pl.LazyFrame:
    """Return the history pairs of a store before a cut: user_id, item_id, rating, event_time, label."""
    return history(store.scan("labelled"), store.scan("repeats"), before=cut)


def knowledge_before(store: Store, cut: str) -> Knowledge:
    """Return what a model may know before a cut.

    Example:
        >>> known = rp.knowledge_before(store, "valid")
        >>> known.n_users, known.n_items, len(known.labels)
        (3, 4, 6)
    """
    seen_only = store.scan("filtered").select(
        "user_id", "item_id", "event_time", label=pl.lit(SEEN_ONLY, dtype=pl.Int8)
    )
    learnt = history_before(store, cut).select("user_id", "item_id", "event_time", "label")
    return known_before(store, pl.concat([learnt, seen_only]), before=cut)
