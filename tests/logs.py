"""Small raw files of a shop, out of rows of text, that tests of builds share."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random

import polars as pl

from recsys_polars.store import Store
from tests.odd_ids import ODD_IDS

LOG = ("user_id", "item_id", "rating", "event_time")
ITEMS = ("item_id", "title", "brand", "price", "shelf", "clip_0", "clip_1")
START = 1_262_304_000
Row = tuple[str, ...]


def write(path: Path, header: Sequence[str], rows: Iterable[Row]) -> Path:
    """Write a CSV file, an empty field for nothing."""
    frame = pl.DataFrame(list(rows), schema=dict.fromkeys(header, pl.String), orient="row")
    frame.write_csv(path, quote_style="necessary")
    return path


def shop(seed: int, *, n_rows: int = 600) -> tuple[list[Row], list[Row]]:
    """Rows of a log and of items: odd ids, many repeats and ties, zeros of both signs, items described many times."""
    chance = Random(seed)
    users, items = (*ODD_IDS, *(f"u{n}" for n in range(40))), (*ODD_IDS, *(f"i{n}" for n in range(25)))
    log = [
        (
            chance.choice(users),
            items[min(chance.randrange(len(items)), chance.randrange(len(items)))],
            chance.choice(["-0.0", "0", "3.9", "4", "5", "5", "5"]),
            str(START + 86_400 * chance.randrange(90)),
        )
        for _ in range(n_rows)
    ]
    described = [
        (
            item,
            chance.choice(["", "red wool hat", "blue hat", "old red car"]),
            chance.choice(["", "acme", "zeta"]),
            chance.choice(["", "5", "7.25"]),
            chance.choice(["", "-0.0", "0.0", "3"]),
            *chance.choice([("", ""), ("-0.0", "1e-3"), ("0.0", "1e-3"), ("0.3", "0.7")]),
        )
        for item in (*items[::2], "only described")
        for _ in range(3)
    ]
    return log, described


def checksums(store: Store) -> dict[str, str]:
    """The sha256 of each table and each file of tensors; rejects name files and lines, and are left out."""
    files = store.manifest["files"].items()
    return {name: entry["sha256"] for name, entry in files if not name.startswith("rejects-")}
