"""The cases of raw files: what lies in a folder, and the commands that meet it."""

import random
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fuzz import columns, fields, mutations
from benchmarks.fuzz.valid import INTERACTIONS, ITEMS, log

Command = tuple[str, ...]
SUFFIXES = ("", "", ".gz", ".zst")
HOSTILE_IDS = (
    *(
        "../../etc/passwd",
        "/etc/passwd",
        "/tmp/recsys-polars-fuzz",
        "..",
        ".",
        "~",
        "CURRENT",
        "a/b/../../c",
        "C:\\x",
        "\\\\host\\x",
    ),
    *(
        "a\x00b",
        "\x1b[2J",
        "\x7f",
        "a\tb",
        "a\rb",
        "\u2028",
        "😀",
        "é",
        "e\u0301",
        "\ufeffbom",
        "\u202eabc",
        "\ud7ff",
        "\uffff",
    ),
    *(
        "x" * 5_000,
        "x" * (1 << 20),
        " ",
        "  lead",
        "trail ",
        "null",
        "NaN",
        "None",
        "-1",
        "1e5",
        "$[x]",
        "{}",
        "*",
        "%s",
        "'; --",
    ),
)


@dataclass(frozen=True)
class Case:
    """One hostile input: the commands to run in turn, and what was done."""

    commands: tuple[Command, ...]
    note: str


def build(interactions: object, out: object, *more: object) -> Command:
    """Return the command that builds a store of it."""
    return tuple(map(str, ("build-features", "--interactions", interactions, "--out", out, *more)))


def valid_log(folder: Path, rng: random.Random, name: str = "generic csv") -> Path:
    """Write a valid log."""
    file, text = INTERACTIONS[name]
    path = folder / f"valid-{file}"
    path.write_text(text(log(rng)))
    return path


def _put(folder: Path, file: str, data: bytes, rng: random.Random) -> Path:
    suffix = rng.choice(SUFFIXES)
    path = folder / f"{file}{suffix}"
    path.write_bytes(mutations.pack(data, suffix))
    return path


def _mutated(text: str, file: str, rng: random.Random) -> tuple[bytes, str]:
    if rng.random() < 0.5:
        changes = [rng.choice(mutations.BYTES) for _ in range(rng.choice((1, 1, 2)))]
        data = text.encode()
        for change in changes:
            data = change(data, rng)
        return data, ", ".join(change.__name__ for change in changes)
    if "json" in file:
        return fields.mutate_json(text, rng).encode("utf-8", "surrogatepass"), "lines of JSON"
    separator = next(sign for sign in ("::", "\t", ";", "|", ",") if sign in text)
    return fields.mutate_table(text, separator, rng).encode("utf-8", "surrogatepass"), "fields"


def _options(rng: random.Random) -> Command:
    choices: tuple[Command, ...] = (
        *((), (), (), ("--implicit",), ("--split", "user-time"), ("--split", "last-n"), ("--min-rating", "1")),
        *(("--format", "generic"), ("--format", "amazon-2023"), ("--column", "user_id=userId"), ("--text", "none")),
    )
    return rng.choice(choices)


def interactions_as_text(rng: random.Random, folder: Path) -> Case:
    """Give a damaged log of any format."""
    name = rng.choice(tuple(INTERACTIONS))
    file, text = INTERACTIONS[name]
    data, note = _mutated(text(log(rng)), file, rng)
    path = _put(folder, file, data, rng)
    return Case((build(path, folder / "store", *_options(rng)),), f"{name}: {note}")


def items_as_text(rng: random.Random, folder: Path) -> Case:
    """Give damaged items of any format beside a valid log."""
    name = rng.choice(tuple(ITEMS))
    file, text = ITEMS[name]
    data, note = _mutated(text(), file, rng)
    feature = ("--item-feature", "stock") if "stock" in text() and rng.random() < 0.5 else ()
    path = _put(folder, file, data, rng)
    return Case((build(valid_log(folder, rng), folder / "store", "--items", path, *feature),), f"{name}: {note}")


def archives(rng: random.Random, folder: Path) -> Case:
    """Give a damaged or an odd gzip or zstd file."""
    name, suffix = rng.choice(tuple(INTERACTIONS)), rng.choice((".gz", ".zst"))
    file, text = INTERACTIONS[name]
    path = folder / f"{file}{rng.choice((suffix, suffix, ''))}"
    path.write_bytes(mutations.damage_archive(text(log(rng)).encode(), suffix, rng))
    return Case((build(path, folder / "store"),), f"{name} {suffix}")


def interactions_of_odd_types(rng: random.Random, folder: Path) -> Case:
    """Give a Parquet log whose columns have other types."""
    data, note = (columns.odd_interactions if rng.random() < 0.8 else columns.odd_shape)(log(rng), rng)
    (folder / "log.parquet").write_bytes(data)
    return Case((build(folder / "log.parquet", folder / "store", *_options(rng)),), note)


def items_of_odd_types(rng: random.Random, folder: Path) -> Case:
    """Give Parquet items whose columns have other types."""
    data, note = columns.odd_items(rng)
    (folder / "items.parquet").write_bytes(data)
    feature = ("--item-feature", "stock") if "stock" in note else ()
    return Case((build(valid_log(folder, rng), folder / "store", "--items", folder / "items.parquet", *feature),), note)


def damaged_parquet(rng: random.Random, folder: Path) -> Case:
    """Give a Parquet file with damaged bytes: anywhere, in its pages, or in its footer."""
    as_items = rng.random() < 0.3
    data, note = columns.odd_items(rng) if as_items else columns.odd_interactions(log(rng), rng)
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    part, where = rng.choice(
        ((slice(4, footer), "pages"), (slice(footer, len(data)), "footer"), (slice(0, len(data)), "file"))
    )
    change = rng.choice(
        (mutations.flip_bytes, mutations.flip_bytes, mutations.truncate, mutations.drop_part, mutations.insert)
    )
    path = folder / rng.choice(("x.parquet", "x.parquet", "x.csv"))
    path.write_bytes(data[: part.start] + change(data[part], rng) + data[part.stop :])
    more = ("--items", path) if as_items else ()
    first = valid_log(folder, rng) if as_items else path
    return Case((build(first, folder / "store", *more),), f"{note}; {change.__name__} in the {where}")


def swapped(rng: random.Random, folder: Path) -> Case:
    """Give items where interactions are expected, and the other way round."""
    (_, log_text), (item_file, item_text) = (
        INTERACTIONS[rng.choice(tuple(INTERACTIONS))],
        rng.choice(tuple(ITEMS.values())),
    )
    items = _put(folder, item_file, item_text().encode(), rng)
    wrong = _put(folder, "log", log_text(log(rng)).encode(), rng)
    both = (
        build(items, folder / "store", *_options(rng)),
        build(valid_log(folder, rng), folder / "store", "--items", wrong),
    )
    return Case((rng.choice(both), build(items, folder / "store2", "--items", wrong)), f"{items.name} and {wrong.name}")


def hostile_ids(rng: random.Random, folder: Path) -> Case:
    """Give ids that look like something else, and go the whole way with them."""
    import polars as pl

    users, items = rng.choices(HOSTILE_IDS, k=6), rng.choices(HOSTILE_IDS, k=6)
    rows = [(users[user % 6], items[item % 6], float(rating), time) for user, item, rating, time in log(rng)]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "rating", "event_time"], orient="row")
    out, path, lists = (
        folder / "store",
        folder / rng.choice(("x.parquet", "x.csv", "x.jsonl")),
        folder / "preds.parquet",
    )
    {".parquet": frame.write_parquet, ".csv": frame.write_csv, ".jsonl": frame.write_ndjson}[path.suffix](path)
    store = ("--store", str(out))
    way: tuple[Command, ...] = (
        build(path, out, "--split", "user-time"),
        ("train", "--model", "popularity", *store),
        ("rank", *store, "--users", "all", "--out", str(lists)),
        ("evaluate", str(lists), *store),
    )
    return Case(way, f"{path.name} of {len(set(users))} users")
