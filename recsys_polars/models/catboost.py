"""CatBoost: boosted oblivious trees on item features and, by default, on the user's mean vector and count."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from catboost import CatBoostClassifier, CatBoostError, FeaturesData, Pool

from recsys_polars.errors import InputError
from recsys_polars.examples import Examples, observed_examples, sampled_examples
from recsys_polars.knowledge import (
    Knowledge,
    Rows,
    categorical_inputs,
    numeric_inputs,
    user_vectors,
    vector_columns_of,
)
from recsys_polars.models.catboost_trees import Side, SplitTrees, export_json, leaf_bits, split_trees
from recsys_polars.models.devices import torch_device
from recsys_polars.models.protocol import Device, FitSettings, Model
from recsys_polars.ranking.protocol import IntArray
from recsys_polars.ranking.trees import TreeScorer
from recsys_polars.tables import Vectors

NOTEBOOK = {
    "iterations": 1000,
    "learning_rate": 0.1,
    "depth": 8,
    "l2_leaf_reg": 5,
    "bootstrap_type": "Bayesian",
    "eval_metric": "AUC",
}
DEFAULT = {"iterations": 300, "learning_rate": 0.1, "depth": 6, "l2_leaf_reg": 5, "bootstrap_type": "Bayesian"}
CHOICES = (25, 50, 100, 150, 200, 300)
"""Numbers of trees to validate: the first trees of one training."""
N_NEGATIVES = 4
ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class TreeInputs:
    """What the trees see: vector blocks of the item beside its meta features, and whether more than the notebook's.

    That is the user's mean and count, and how popular the item was.
    """

    blocks: tuple[str, ...]
    with_counts: bool


class CatBoost:
    """score(u, i) = the raw value of the trees.

    Features, in this order: the user's count and mean vector (not under `notebook`), the item's vector blocks, meta
    features, item features and price, its popularity at the time (not under `notebook`), its categories.
    """

    kind: ClassVar[str] = "catboost"
    validates: ClassVar[bool] = True

    def __init__(self, trees: CatBoostClassifier, inputs: TreeInputs, *, facts: dict[str, Any]) -> None:
        self.trees, self.inputs, self.facts = trees, inputs, facts
        self.rounds = int(trees.tree_count_)

    @classmethod
    def fit(
        cls,
        known: Knowledge,
        settings: FitSettings,
        *,
        validate: Callable[[Model], float] | None = None,
        rounds: int | None = None,
    ) -> Self:
        """See `Model.fit`.

        Raises:
            InputError: liked pairs only, or disliked ones only: there is nothing to tell apart.
        """
        notebook = settings.recipe == "notebook"
        inputs = _inputs(known, notebook=notebook)
        features = PairFeatures(known, inputs)
        examples, fraction = _examples(known, settings, features.row_bytes)
        pool = features.training_pool(examples)
        parameters = {**(NOTEBOOK if notebook else DEFAULT)}
        if rounds is not None:
            parameters["iterations"] = rounds
        trees = _trained(
            pool,
            **parameters,
            random_seed=settings.seed,
            task_type="GPU" if torch_device(settings.device).type == "cuda" else "CPU",
            # Pairs of categories would be fine on one side; a category of each would be no side's.
            **({} if notebook else {"max_ctr_complexity": 1}),
        )
        facts = {"rows": len(examples), "fraction_of_rows": fraction}
        if validate is None:
            return cls(trees, inputs, facts=facts)
        return cls._best(trees, inputs, facts, validate)

    @classmethod
    def _best(
        cls, trees: CatBoostClassifier, inputs: TreeInputs, facts: dict[str, Any], validate: Callable[[Model], float]
    ) -> Self:
        """The first trees of the ensemble that validate best; the fewer among equals."""
        candidates = []
        for n_trees in [choice for choice in CHOICES if choice <= trees.tree_count_] or [trees.tree_count_]:
            first = trees.copy()
            first.shrink(n_trees)
            candidates.append(cls(first, inputs, facts=facts))
        scores = [validate(candidate) for candidate in candidates]
        best = candidates[int(np.argmax(scores))]
        curve = [{"trees": one.rounds, "validation": score} for one, score in zip(candidates, scores, strict=True)]
        best.facts = {**facts, "curve": curve}
        return best

    def scorer(self, known: Knowledge, users: Rows, *, device: Device = "auto") -> TreeScorer:
        """See `Model.scorer`.

        Raises:
            ArtefactError: trees that don't split into a user's and an item's part; it names the feature.
        """
        features = PairFeatures(known, self.inputs)
        parts = split_trees(export_json(self.trees), features.sides)
        return TreeScorer(
            None if parts.user_invariant else _UserBits(self.trees, features, parts, users),
            _item_bits(self.trees, features, parts, known.n_items),
            parts.leaf_values,
            n_users=len(users),
            scale=parts.scale,
            bias=parts.bias,
            name=self.kind,
            device=torch_device(device),
        )

    def save(self, folder: Path) -> None:
        """See `Model.save`."""
        self.trees.save_model(str(folder / "trees.cbm"))
        (folder / "inputs.json").write_text(json.dumps(asdict(self.inputs)), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See `Model.load`."""
        raw = json.loads((folder / "inputs.json").read_text(encoding="utf-8"))
        trees = CatBoostClassifier().load_model(str(folder / "trees.cbm"))
        return cls(trees, TreeInputs(tuple(raw["blocks"]), raw["with_counts"]), facts={})


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
        self.row_bytes = 4 * len(self.number_names) + 8 * len(category_names)

    def numbers(self, users: Rows, items: Rows, *, without: Rows | None = None, times: Rows | None = None) -> Vectors:
        """Return the numbers of the pairs (users[j], items[j]), shape (n, n_numbers).

        Args:
            users: user rows, shape (n,).
            items: item rows, shape (n,).
            without: for each pair a positive of the user that is to be unknown, or NOBODY.
            times: of each pair, before which the item's popularity is known; None: all that is known.
        """
        numbers = np.empty((len(items), len(self.number_names)), dtype=np.float32)
        n_user = self.sides.count("user")
        popularity = self.known.popularity(items, times) if self.inputs.with_counts else None
        for start in range(0, len(items), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            numbers[rows, n_user : n_user + self.item_numbers.shape[1]] = self.item_numbers[items[rows]]
            if popularity is not None:
                left_out = None if without is None else without[rows]
                numbers[rows, :n_user] = self._user_numbers(users[rows], left_out)
                numbers[rows, -1:] = popularity[rows]
        return numbers

    def pool(self, users: Rows, items: Rows) -> Pool:
        """Return pairs to score as CatBoost takes them."""
        return self._pool(self.numbers(users, items), items)

    def training_pool(self, examples: Examples) -> Pool:
        """Return examples as CatBoost takes them: one float32 matrix, categories as shared bytes."""
        rows = examples.item_rows
        numbers = self.numbers(examples.user_rows, rows, without=examples.without, times=examples.times)
        return self._pool(numbers, rows, labels=examples.labels)

    def _pool(self, numbers: Vectors, items: Rows, labels: Rows | None = None) -> Pool:
        data = FeaturesData(
            num_feature_data=numbers,
            cat_feature_data=self.item_categories[items],
            num_feature_names=self.number_names,
            cat_feature_names=self.category_names,
        )
        return Pool(data, label=labels)

    def _user_numbers(self, users: Rows, without: Rows | None) -> Vectors:
        means, counts = user_vectors(self.known, users, without=without)
        return np.hstack([counts[:, None].astype(np.float32), means[:, self.user_columns]])


class _UserBits:
    """The user bits of the users that are asked for; user j is users[j]."""

    def __init__(self, trees: CatBoostClassifier, features: PairFeatures, parts: SplitTrees, users: Rows) -> None:
        self.trees, self.features, self.parts, self.users = trees, features, parts, users

    def __call__(self, places: IntArray) -> IntArray:
        # Any item will do: only the bits of user splits are kept.
        pool = self.features.pool(self.users[places], np.zeros(len(places), dtype=np.int64))
        return leaf_bits(self.trees, pool, self.parts.user_mask).astype(np.int64)


def _trained(pool: Pool, **parameters: Any) -> CatBoostClassifier:
    trees = CatBoostClassifier(**parameters, allow_writing_files=False, verbose=False)
    try:
        trees.fit(pool)
    except CatBoostError as error:
        raise InputError(f"catboost: expected rows to learn from, found that {error}") from error
    if not trees.tree_count_:
        raise InputError(f"catboost: expected features that tell the {pool.num_row():,} rows apart, found none")
    return trees


def _item_bits(trees: CatBoostClassifier, features: PairFeatures, parts: SplitTrees, n_items: int) -> Rows:
    anybody = np.zeros(ROWS_AT_ONCE, dtype=np.int64)
    blocks = [np.arange(start, min(start + ROWS_AT_ONCE, n_items)) for start in range(0, n_items, ROWS_AT_ONCE)]
    bits = [leaf_bits(trees, features.pool(anybody[: len(rows)], rows), parts.item_mask) for rows in blocks]
    return np.concatenate(bits)


def _inputs(known: Knowledge, *, notebook: bool) -> TreeInputs:
    if notebook:
        return TreeInputs(tuple(block for block in known.blocks if block == "tfidf"), with_counts=False)
    return TreeInputs(tuple(block for block in known.blocks if block != "numeric"), with_counts=True)


def _examples(known: Knowledge, settings: FitSettings, row_bytes: int) -> tuple[Examples, float]:
    """The rows to train on, sampled to fit the memory, and the fraction of all that they are."""
    if settings.recipe == "notebook":
        examples = observed_examples(known)
    else:
        examples = sampled_examples(known, n_negatives=N_NEGATIVES, seed=settings.seed)
    # CatBoost keeps its own quantised copy beside the matrix.
    n_rows = min(len(examples), settings.memory_bytes // 2 // row_bytes)
    fraction = n_rows / len(examples) if len(examples) else 1.0
    if fraction < 1:
        examples = examples.take(np.sort(np.random.default_rng(settings.seed).permutation(len(examples))[:n_rows]))
    n_liked = int(examples.labels.sum())
    if n_liked in {0, len(examples)}:
        rows = "before the cut" if fraction == 1 else f"in the {fraction:.2%} of the rows that fit --memory"
        raise InputError(
            f"catboost: expected liked and disliked pairs to learn from {rows}, found {n_liked:,} liked and "
            f"{len(examples) - n_liked:,} disliked"
        )
    return examples, fraction
