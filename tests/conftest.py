"""What several test modules share: the real data sets, and a `Knowledge` made of a few rows."""

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recsys_polars.knowledge import NOBODY, Knowledge
from recsys_polars.sources import read_interactions, read_items
from recsys_polars.spark.session import SparkSettings, spark_session
from recsys_polars.tables import Interactions, Items, Vectors
from recsys_polars.user_means import aggregate_user_means

MakeKnowledge = Callable[..., Knowledge]


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = os.environ.get("RECSYS_POLARS_DATA")
    if not folder:
        pytest.skip("RECSYS_POLARS_DATA names no folder with the development data")
    return Path(folder)


@pytest.fixture(scope="session", params=["movielens-small", "amazon-2023-mixed", "amazon-2018-gift-cards"])
def real_set(request: pytest.FixtureRequest) -> Path:
    """The folder of each real set: the embedded one always, the others where RECSYS_POLARS_DATA names them."""
    if request.param == "movielens-small":
        return Path(__file__).parents[1] / "data" / "movielens-small"
    return request.getfixturevalue("real_data") / request.param


@pytest.fixture(scope="session")
def real_interactions(real_set: Path) -> pl.DataFrame:
    rows = read_interactions(str(real_set)).files[0].rows
    return rows.filter(pl.col("rule").is_null()).select(Interactions.column_names()).collect()


@pytest.fixture(scope="session")
def real_items(real_set: Path) -> pl.DataFrame:
    rows = read_items(str(real_set)).files[0].rows
    return rows.filter(pl.col("rule").is_null()).select(Items.column_names()).collect()


@pytest.fixture(scope="session")
def make_knowledge() -> MakeKnowledge:
    """Make what is known of (user row, item row, label) rows, whose time may follow; 0 if it doesn't."""

    def make(rows: Sequence[tuple[int, ...]], vectors: Vectors, *, n_users: int) -> Knowledge:
        rows = sorted((*row, 0)[:4] for row in rows)
        user_ids, item_ids = (
            pl.Series(name, [f"{name[0]}{row:06}" for row in range(n)], dtype=pl.String)
            for name, n in (("user_id", n_users), ("item_id", len(vectors)))
        )
        users, items, labels, times = np.array(rows, dtype=np.int64).reshape(-1, 4).T
        history = pl.LazyFrame({"user_id": user_ids.gather(users), "item_id": item_ids.gather(items), "label": labels})
        counts, means = aggregate_user_means(history, item_ids, vectors, before="test")
        mean_rows, n_positives = np.full(n_users, NOBODY), np.zeros(n_users, dtype=np.int64)
        of_users = user_ids.search_sorted(counts["user_id"]).to_numpy()
        mean_rows[of_users], n_positives[of_users] = np.arange(counts.height), counts["n_positives"].to_numpy()
        return Knowledge(
            user_ids=user_ids,
            item_ids=item_ids,
            item_table=pl.DataFrame({"item_id": item_ids}),
            item_vectors=vectors,
            blocks={"numeric": slice(0, vectors.shape[1])},
            user_rows=users,
            item_rows=items,
            labels=labels,
            times=times,
            offsets=np.searchsorted(users, np.arange(n_users + 1)),
            means=means,
            mean_rows=mean_rows,
            n_positives=n_positives,
        )

    return make


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Spark of two cores, which commands find and use. Its `viewfs:///shelf` is the folder `spark.shelf`."""
    if importlib.util.find_spec("pyspark") is None:
        pytest.skip("PySpark is not installed: the extra spark")
    if not shutil.which("java"):
        pytest.skip("there is no Java")
    shelf = tmp_path_factory.mktemp("shelf")
    mount = {"spark.hadoop.fs.viewfs.mounttable.default.link./shelf": shelf.as_uri()}
    with spark_session(SparkSettings("local[2,4]", mount), memory_bytes=1 << 30) as session:
        session.shelf = shelf
        yield session
