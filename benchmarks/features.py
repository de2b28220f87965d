"""User means and training pairs: the notebook's loops against ours."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl

from benchmarks import notebook
from benchmarks.synthetic import Synthetic
from benchmarks.timing import Result, in_pairs
from recsys_polars.examples import observed_examples
from recsys_polars.knowledge import user_vectors
from recsys_polars.user_means import aggregate_user_means

SAMPLED_USERS = 20_000
SAMPLED_ROWS = 60_000


def user_means(data: Synthetic) -> Iterator[Result]:
    """From a Parquet history to a Parquet table of means; the loop has its frames in memory and writes nothing."""
    with tempfile.TemporaryDirectory() as folder:
        history, means_file = Path(folder) / "history.parquet", Path(folder) / "means.parquet"
        data.history().write_parquet(history)
        n_users = int((data.knowledge.n_positives > 0).sum())

        def ours() -> np.ndarray:
            counts, means = aggregate_user_means(
                pl.scan_parquet(history), data.item_ids, data.vectors, before="test", memory_bytes=1 << 28
            )
            counts.with_columns(pl.Series("mean", means, dtype=pl.Array(pl.Float32, means.shape[1]))).write_parquet(
                means_file, row_group_size=50_000, compression="lz4"
            )
            return means

        train, item_vectors = _frames(data)
        first = train[train["user_id"].isin(data.user_ids.head(SAMPLED_USERS).to_list())]
        n_sampled = first[first["label"] == 1]["user_id"].nunique()
        theirs, mine = in_pairs(
            lambda: notebook.user_vectors(first, item_vectors), ours, theirs_units=n_sampled, ours_units=n_users
        )
        loop = np.stack(list(notebook.user_vectors(first, item_vectors).values()))
        furthest = np.abs(loop - ours()[: len(loop)]).max()
    yield Result("user means", "the notebook's groupby loop", "user", theirs, mine, 90, f"within {furthest:.1e}")


def pairs(data: Synthetic) -> Iterator[Result]:
    """One epoch of batches of gathered vectors; the loop builds the matrix once, and copies it once more to torch."""
    train, item_vectors = _frames(data)
    first = train.head(SAMPLED_ROWS)
    vectors = notebook.user_vectors(first, item_vectors)
    known = data.knowledge
    examples = observed_examples(known)

    def ours() -> None:
        order = np.random.default_rng(0).permutation(len(examples))
        for start in range(0, len(order), 2048):
            batch = examples.take(order[start : start + 2048])
            means, _ = user_vectors(known, batch.user_rows, without=batch.without)
            np.hstack([means, known.item_vectors[batch.item_rows]])

    theirs, mine = in_pairs(
        lambda: notebook.pairs(first, vectors, item_vectors), ours, theirs_units=len(first), ours_units=len(examples)
    )
    yield Result("training pairs", "the notebook's itertuples loop", "row", theirs, mine, 1)


def _frames(data: Synthetic) -> tuple[pd.DataFrame, pd.DataFrame]:
    history = data.history()
    train = pd.DataFrame({name: history[name].to_list() for name in history.columns})
    columns = [f"v_{place}" for place in range(data.vectors.shape[1])]
    return train, pd.DataFrame(data.vectors, index=data.item_ids.to_list(), columns=columns)
