"""Every statement of `sql/`: the same rows on Polars, on DuckDB and on Spark, and a header that says what it is for."""

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recsys_polars.errors import ArtefactError
from recsys_polars.relational import params, run_sql, statement, statement_names
from recsys_polars.spark import sql
from recsys_polars.tables import PARTS, EventTime

SEEDS = range(6)
IDS = ["a", "B", "é", "e\u0301", "中", "🙂", "it's", 'q"q', "a b", "a\nb", "10", "9"]
TEXTS = [None, "", "Set of 3", "x\n7", "٣ keys", "naïve 🙂", "100%", "a_b", "b\\c", "plain"]


@dataclass(frozen=True)
class Raw:
    """Interactions, items with repeated ids, and a seed for the parameters."""

    interactions: pl.DataFrame
    items: pl.DataFrame
    seed: int = 0

    def pick(self, *choices: float | str) -> float | str:
        return choices[self.seed % len(choices)]

    def parted(self) -> pl.DataFrame:
        """Parts in time, so that repeats of a pair fall into several."""
        place = pl.col("event_time").rank("dense") * len(PARTS) // (pl.col("event_time").n_unique() + 1)
        return self.interactions.with_columns(
            part=place.replace_strict(range(len(PARTS)), PARTS, return_dtype=pl.String)
        )

    def pairs(self) -> pl.DataFrame:
        """One row per pair and part, with `is_repeat` and `label`."""
        pairs = self.parted().unique(["user_id", "item_id", "part"], keep="first", maintain_order=True)
        liked = (pl.col("rating") >= 4).fill_null(value=True)
        first_time = pl.col("event_time").min().over("user_id", "item_id")
        return pairs.with_columns(label=liked.cast(pl.Int8), is_repeat=pl.col("event_time") > first_time)

    def labelled(self) -> pl.DataFrame:
        return self.pairs().filter(~pl.col("is_repeat")).drop("is_repeat")

    def repeats(self) -> pl.DataFrame:
        return self.pairs().filter("is_repeat").drop("is_repeat")

    def on_sides(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(is_after=pl.int_range(pl.len()) % 3 == self.seed % 3)

    def numbered_items(self) -> pl.DataFrame:
        odd = pl.int_range(pl.len()) % 2 == 1
        return self.items.with_columns(tie_break=pl.when(odd).then("category")).with_row_index("source_row")


Frames = dict[str, pl.DataFrame | pl.LazyFrame]
BUILDERS: dict[str, Callable[[Raw], Frames]] = {
    "catalogue": lambda raw: {"items": raw.items.unique("item_id"), "interactions": raw.interactions},
    "cut_at_time": lambda raw: {
        "interactions": raw.interactions,
        "params": params(cut_time=raw.interactions["event_time"].sort().tail(raw.pick(1, 5, 9)).head(1)),
    },
    "cut_last_n": lambda raw: {"interactions": raw.interactions, "params": params(n=raw.pick(1, 2, 3, 50))},
    "cut_user_time": lambda raw: {
        "interactions": raw.interactions,
        "params": params(keep=1 - raw.pick(0.1, 0.2, 0.5, 0.7, 0.9)),
    },
    "deduplicate_interactions": lambda raw: {
        "parted": raw.parted(),
        "part_order": pl.DataFrame({"part": PARTS, "place": range(len(PARTS))}),
    },
    "deduplicate_items": lambda raw: {"items": raw.numbered_items()},
    "filter_counts": lambda raw: {
        "pairs": raw.labelled().select("user_id", "item_id"),
        "params": params(min_user=raw.pick(1, 2, 5), min_item=raw.pick(3, 1, 2, 4)),
    },
    "global_cut": lambda raw: {
        "times": raw.interactions.group_by("event_time").agg(n_rows=pl.len().cast(pl.Int64)),
        "params": params(keep=1 - raw.pick(0.1, 0.2, 0.5, 0.7, 0.9)),
    },
    "history": lambda raw: {
        "labelled": raw.labelled(),
        "repeats": raw.repeats(),
        "params": params(before=raw.pick("valid", "test")),
    },
    "item_table": lambda raw: {
        "items": raw.items.unique("item_id"),
        "known_items": raw.interactions.select("item_id").unique().gather_every(2),
    },
    "label_interactions": lambda raw: {
        "pairs": raw.pairs().drop("label"),
        "params": params(min_rating=pl.Series([raw.pick(4, 3.3, 0.5)], dtype=pl.Float32)),
    },
    "name_parts": lambda raw: {
        "after_test": raw.on_sides(raw.interactions),
        "after_valid": raw.on_sides(raw.interactions.gather_every(2)),
    },
    "popularity": lambda raw: {"history": raw.labelled()},
}


def random_raw(seed: int) -> Raw:
    """Few ids, times and ratings, so that nearly everything ties; more brands and categories than a top holds.

    Seed 0 has no rows at all.
    """
    chance = random.Random(seed)
    n, n_items = 40 * seed, 30 * seed
    start = datetime(2020, 1, 1, tzinfo=UTC)
    interactions = pl.DataFrame(
        {
            "user_id": chance.choices(IDS, k=n),
            "item_id": chance.choices(IDS, k=n),
            "rating": pl.Series(chance.choices([None, 0.5, 3.3, 4, 5], k=n), dtype=pl.Float32),
            "event_time": [start + timedelta(days=day, microseconds=day) for day in chance.choices(range(9), k=n)],
        },
        schema_overrides={"user_id": pl.String, "item_id": pl.String, "event_time": EventTime},
    )
    names = [None, *IDS, *map(str, range(20))]
    items = pl.DataFrame(
        {
            "item_id": chance.choices([*IDS, *map(str, range(50))], k=n_items),
            "title": chance.choices(TEXTS, k=n_items),
            "description": chance.choices(TEXTS, k=n_items),
            "brand": chance.choices(names, k=n_items),
            "category": chance.choices(names, k=n_items),
            "image_url": chance.choices([None, "u"], k=n_items),
            "price": chance.choices([None, 0.0, 9.99, 1e9], k=n_items),
        },
        schema_overrides={"price": pl.Float64}
        | dict.fromkeys(("item_id", "title", "description", "brand", "category", "image_url"), pl.String),
    )
    return Raw(interactions, items, seed)


@pytest.fixture(scope="module")
def duck() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.sql("SET TimeZone = 'UTC'")
        yield connection


def on_duckdb(duck: duckdb.DuckDBPyConnection, name: str, frames: Frames) -> pl.DataFrame:
    for table, frame in frames.items():
        duck.register(table, frame.lazy().collect().to_arrow())
    try:
        return pl.DataFrame(duck.sql(statement(name)).to_arrow_table())
    finally:
        for table in frames:
            duck.unregister(table)


def comparable(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows in one order, and integers in one width, which engines choose each for themselves."""
    wide = frame.with_columns(pl.selectors.integer().cast(pl.Int64))
    return wide.sort(pl.all(), nulls_last=True)


def assert_same_on_both(duck: duckdb.DuckDBPyConnection, name: str, raw: Raw) -> None:
    frames = BUILDERS[name](raw)
    on_polars = run_sql(name, **{table: frame.lazy() for table, frame in frames.items()}).collect()
    assert_frame_equal(comparable(on_polars), comparable(on_duckdb(duck, name, frames)), check_exact=True)


def test_every_statement_has_a_builder_of_its_input() -> None:
    assert sorted(BUILDERS) == statement_names()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", statement_names())
def test_random_rows_give_the_same_on_polars_and_duckdb(duck, name, seed) -> None:
    assert_same_on_both(duck, name, random_raw(seed))


@pytest.mark.parametrize("name", statement_names())
def test_real_rows_give_the_same_on_polars_and_duckdb(duck, real_interactions, real_items, name) -> None:
    for seed in range(2):
        assert_same_on_both(duck, name, Raw(real_interactions, real_items, seed))


@pytest.mark.parametrize("name", statement_names())
def test_the_same_rows_come_from_spark(spark, name) -> None:
    for raw in (random_raw(0), random_raw(3), random_raw(5)):
        frames = BUILDERS[name](raw)
        on_polars = run_sql(name, **{table: frame.lazy() for table, frame in frames.items()}).collect()
        on_spark = sql.run_sql(
            spark, name, **{table: sql.to_spark(spark, frame.lazy().collect()) for table, frame in frames.items()}
        )
        assert_frame_equal(comparable(on_polars), comparable(sql.to_polars(on_spark)), check_exact=True)


@pytest.mark.parametrize("name", statement_names())
def test_a_header_says_grain_inputs_and_outputs(name) -> None:
    header = re.match(r"(?:--[^\n]*\n)*", statement(name)).group()
    assert re.match(r"-- [A-Z].*\brow|-- The pairs of ", header), "the first line is the grain"
    inputs = re.search(r"^-- in   (.*(?:\n--      .*)*)", header, flags=re.MULTILINE).group(1)
    assert set(re.findall(r"(\w+)\(", inputs)) == set(BUILDERS[name](random_raw(1)))
    assert re.search(r"^-- out  \S", header, flags=re.MULTILINE)


@pytest.mark.parametrize("name", statement_names())
def test_no_statement_is_a_template(name) -> None:
    assert not re.search(r"[{}?]|%s|\$\d", statement(name))


def test_an_unknown_statement_is_named_in_the_error() -> None:
    with pytest.raises(ArtefactError, match=r"^sql/no_such\.sql: not found in "):
        statement("no_such")
