"""The order of the steps, one recipe a file: files in, files out. Nothing else knows it."""

from collections.abc import Callable
from pathlib import Path

import polars as pl

from recsys_polars.knowledge import Knowledge, known_before
from recsys_polars.splitting import history
from recsys_polars.store import Store

Progress = Callable[[str, int, int], None]
"""Told of a long step, what is done of it, and the whole."""

DEFAULT_STORE = Path("data/store")


def silent(step: str, done: int, total: int) -> None:
    """Report no progress."""


def history_before(store: Store, cut: str) -> pl.LazyFrame:
    """Return the history pairs of a store before a cut: user_id, item_id, rating, event_time, label."""
    return history(store.scan("labelled"), store.scan("repeats"), before=cut)


def knowledge_before(store: Store, cut: str) -> Knowledge:
    """Return what a model may know before a cut."""
    return known_before(store, history_before(store, cut), before=cut)
