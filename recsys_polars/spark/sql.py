"""The statements of `sql/` run by Spark, and frames on their way there and back: Arrow, never pandas."""

from datetime import datetime
from typing import TYPE_CHECKING

import polars as pl

from recsys_polars.relational import statement

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def to_spark(session: "SparkSession", frame: pl.DataFrame) -> "DataFrame":
    """Return a frame of Spark with the same rows. Spark has no unsigned numbers: they come as Int64."""
    unsigned = pl.selectors.unsigned_integer()
    return session.createDataFrame(frame.with_columns(unsigned.cast(pl.Int64)).to_arrow())


def to_polars(frame: "DataFrame") -> pl.DataFrame:
    """Return the rows of a frame of Spark, all of them in this machine's memory."""
    return pl.DataFrame(frame.toArrow())


def params(session: "SparkSession", **values: float | str | datetime | pl.Series) -> "DataFrame":
    """Return the one-row `params` table, as `relational.params` does."""
    columns = {name: value if isinstance(value, pl.Series) else [value] for name, value in values.items()}
    return to_spark(session, pl.DataFrame(columns))


def run_sql(session: "SparkSession", name: str, **frames: "DataFrame") -> "DataFrame":
    """Return the result of `sql/<name>.sql` over `frames`, by table name: the text that `relational.run_sql` runs."""
    for table, frame in frames.items():
        frame.createOrReplaceTempView(table)  # a plan is settled when it is made: the next may use the name again
    return session.sql(statement(name))
