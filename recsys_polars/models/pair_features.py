"""The features of (user, item) pairs that trees see, in the order of training."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from catboost import FeaturesData, Pool

from recsys_polars.examples import Examples, History, users_of_examples
from recsys_polars.knowledge import (
    Knowledge,
    Rows,
    categorical_inputs,
    numeric_inputs,
    user_vectors,
    vector_columns_of,
    width,
)
from recsys_polars.models.catboost_trees import Side
from recsys_polars.tables import Vectors

ROWS_AT_ONCE = 8192
Gather = Callable[[slice], tuple[Vectors, Rows]]


@dataclass(frozen=True)
class TreeInputs:
    """What the trees see: vector blocks of the item beside its meta features, and whether more than the notebook's.

    That is the user's mean and count, and how popular the item was.
    """

    blocks: tuple[str, ...]
    with_counts: bool


class PairFeatures:
    """The features of (user, item) pairs, in the order of training: the user's, the item's, the categories."""

    def __init__(self, known: Knowledge, inputs: TreeInputs) -> None:
        self.known, self.inputs = known, inputs
        self.item_numbers, number_names = numeric_inputs(known, inputs.blocks)
        categories, category_names = categorical_inputs(known)
        self.item_categories = np.array([[value.encode() for value in column] for column in categories], dtype=object).T
        self.user_columns = (
            vector_columns_of(known, inputs.blocks) if inputs.with_counts else np.empty(0, dtype=np.int64)
        )
        user_names = ["user_count", *(f"user_{name}" for name in number_names[: len(self.user_columns)])]
        user_names = user_names if inputs.with_counts else []
        item_names = [*number_names, "popularity"] if inputs.with_counts else number_names
        self.number_names, self.category_names = [*user_names, *item_names], category_names
        n_item = len(item_names) + len(category_names)
        user_side: list[Side] = ["user"] * len(user_names)
        item_side: list[Side] = ["item"] * n_item
        self.sides = user_side + item_side
        of_blocks = [block for block in inputs.blocks for _ in range(width(known.blocks[block]))]
        n_numbers = len(number_names) - len(of_blocks)
        of_user = ["user count", *(f"user {block}" for block in of_blocks)] if inputs.with_counts else []
        of_item = [*(f"item {block}" for block in of_blocks), *["item numbers"] * n_numbers]
        of_item += ["popularity"] * inputs.with_counts
        self.groups = [*of_user, *of_item, *(f"item {name}" for name in category_names)]
        """What each feature tells of, in the same order."""
        self.row_bytes = 4 * len(self.number_names) + 8 * len(category_names)

    def numbers(self, users: Rows, items: Rows, *, times: Rows | None = None, gather: Gather | None = None) -> Vectors:
        """Return the numbers of the pairs (users[j], items[j]), shape (n, n_numbers).

        Args:
            users: user rows, shape (n,).
            items: item rows, shape (n,).
            times: of each pair, before which the item's popularity is known; None: all that is known.
            gather: mean vectors and counts of the users of some pairs; None: of all that is known.
        """
        numbers = np.empty((len(items), len(self.number_names)), dtype=np.float32)
        n_user = self.sides.count("user")
        popularity = self.known.popularity(items, times) if self.inputs.with_counts else None
        gather = gather or (lambda rows: user_vectors(self.known, users[rows]))
        for start in range(0, len(items), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            numbers[rows, n_user : n_user + self.item_numbers.shape[1]] = self.item_numbers[items[rows]]
            if popularity is not None:
                means, counts = gather(rows)
                numbers[rows, :n_user] = np.hstack([counts[:, None].astype(np.float32), means[:, self.user_columns]])
                numbers[rows, -1:] = popularity[rows]
        return numbers

    def pool(self, users: Rows, items: Rows) -> Pool:
        """Return pairs to score as CatBoost takes them."""
        return self._pool(self.numbers(users, items), items)

    def training_pool(self, examples: Examples, *, history: History = "loo") -> Pool:
        """Return examples as CatBoost takes them: one float32 matrix, categories as shared bytes."""
        users = users_of_examples(self.known, history)
        numbers = self.numbers(
            examples.user_rows,
            examples.item_rows,
            times=examples.times,
            gather=lambda rows: users(examples.take(rows)),
        )
        return self._pool(numbers, examples.item_rows, labels=examples.labels)

    def _pool(self, numbers: Vectors, items: Rows, labels: Rows | None = None) -> Pool:
        data = FeaturesData(
            num_feature_data=numbers,
            cat_feature_data=self.item_categories[items],
            num_feature_names=self.number_names,
            cat_feature_names=self.category_names,
        )
        return Pool(data, label=labels)
