"""What the README says of pandas, DuckDB and Spark: the lines run, and each reads what Polars reads."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import recsys_polars as rp

ROOT = Path(__file__).parents[1]
LINES = re.findall(r"^(?:pl|pd|duckdb|spark|store)\..*$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
TABLES = ("interactions", "items", "labelled", "repeats", "filtered", "item_features", "user_means")


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed")
    if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        pytest.skip("Spark wants a Java, and there is none")
    session = sql.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    is_ours = sql.SparkSession.getActiveSession() is None
    started = session.config("spark.sql.session.timeZone", "UTC").getOrCreate()
    yield started
    if is_ours:
        started.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data/store and preds.parquet."""
    folder = tmp_path_factory.mktemp("made")
    rows = [(f"u{n % 7}", f"i{n * 5 % 11}", float(n % 4 + 2), 1_700_000_000 + n) for n in range(120)]
    log = pl.DataFrame(rows, schema=["user_id", "item_id", "rating", "event_time"], orient="row")
    log.write_csv(folder / "log.csv")
    titles = pl.DataFrame({"item_id": [f"i{n}" for n in range(11)]}).with_columns(title="item_id", price=pl.lit(2.5))
    titles.write_csv(folder / "items.csv")
    store = rp.build_features(folder / "data/store", interactions=folder / "log.csv", items=folder / "items.csv")
    rp.train(store, "popularity")
    rp.rank(store, folder / "preds.parquet", users="all")
    return folder


def check_lines(program: str, folder: Path, as_frame: Callable[[Any], pl.DataFrame], **names: Any) -> None:
    """Run the two lines of a program in the README, the second for every table, and compare what they read."""
    of_predictions, of_table = (line for line in LINES if line.startswith(f"{program}."))
    file, store = folder / "preds.parquet", rp.open_store(folder / "data/store")
    found = as_frame(eval(of_predictions.replace(file.name, str(file)), names))
    assert_frame_equal(found, pl.read_parquet(file), check_dtypes=False)
    for table in TABLES:
        found = as_frame(eval(of_table.replace("labelled", table), {**names, "store": store}))
        expected = store.scan(table).collect()
        assert found.columns == expected.columns
        found = found.with_columns(pl.col(name).cast(dtype) for name, dtype in expected.schema.items())
        assert_frame_equal(found, expected)


def test_the_readme_has_two_lines_for_each_program() -> None:
    programs = [line.split(".")[0] for line in LINES]
    assert programs == ["pl", "pd", "duckdb", "spark", "store", "pd", "duckdb", "spark"]


def test_polars_opens_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    predictions = eval(LINES[0], {"pl": pl})
    assert predictions.columns == ["user_id", "rank", "item_id", "score"]
    assert eval(LINES[4], {"store": rp.open_store("data/store")}).height > 0


def test_pandas_opens_them(folder: Path) -> None:
    check_lines("pd", folder, pl.from_pandas, pd=pd)


def test_duckdb_opens_them(folder: Path) -> None:
    check_lines("duckdb", folder, lambda relation: relation.pl(), duckdb=duckdb)


def test_spark_opens_them(folder: Path, spark: Any) -> None:
    check_lines("spark", folder, lambda frame: pl.from_arrow(frame.toArrow()), spark=spark)
