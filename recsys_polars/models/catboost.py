"""CatBoost: boosted oblivious trees on item features and, by default, on the user's mean vector and count."""

import json
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from catboost import CatBoostClassifier, CatBoostError, Pool

from recsys_polars.attribution import Parts, tree_parts
from recsys_polars.errors import InputError
from recsys_polars.examples import Examples, observed_examples, sampled_examples
from recsys_polars.knowledge import Knowledge, Rows
from recsys_polars.models.catboost_trees import SplitTrees, export_json, leaf_bits, split_trees
from recsys_polars.models.devices import torch_device
from recsys_polars.models.options import settle
from recsys_polars.models.pair_features import ROWS_AT_ONCE, PairFeatures, TreeInputs
from recsys_polars.models.protocol import Device, FitSettings, Model, Told
from recsys_polars.ranking.protocol import IntArray
from recsys_polars.ranking.trees import TreeScorer
from recsys_polars.tables import TEXT_BLOCKS

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
        told: Told | None = None,
    ) -> Self:
        """See `Model.fit`.

        Raises:
            InputError: liked pairs only, or disliked ones only: there is nothing to tell apart.
        """
        settings = settle(cls.kind, settings)
        notebook = settings.recipe == "notebook"
        inputs = _inputs(known, notebook=notebook)
        features = PairFeatures(known, inputs)
        examples, fraction = _examples(known, settings, features.row_bytes)
        pool = features.training_pool(examples, history=settings.history or "loo")
        own = {name: value for name, value in settings.parameters.items() if name != "n_negatives"}
        parameters = {**(NOTEBOOK if notebook else DEFAULT), **own}
        if rounds is not None:
            parameters["iterations"] = rounds
        on_cpu = torch_device(settings.device).type == "cpu"
        trees = _trained(
            pool,
            told if on_cpu else None,  # CatBoost calls nobody back from a GPU
            **parameters,
            random_seed=settings.seed,
            task_type="CPU" if on_cpu else "GPU",
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

    def parts(self, known: Knowledge, user: int, items: Rows) -> Parts:
        """See `Model.parts`: CatBoost's own Shapley values, by `PairFeatures.groups`."""
        features = PairFeatures(known, self.inputs)
        return tree_parts([self.trees], features.pool(np.repeat(user, len(items)), items), features.groups)

    def save(self, folder: Path) -> None:
        """See `Model.save`; the same trees, the same bytes."""
        metadata = self.trees.get_metadata()
        for name in {"model_guid", "train_finish_time"} & set(metadata.keys()):
            del metadata[name]
        self.trees.save_model(str(folder / "trees.cbm"))
        (folder / "inputs.json").write_text(json.dumps(asdict(self.inputs)), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See `Model.load`."""
        raw = json.loads((folder / "inputs.json").read_text(encoding="utf-8"))
        trees = CatBoostClassifier().load_model(str(folder / "trees.cbm"))
        return cls(trees, TreeInputs(tuple(raw["blocks"]), raw["with_counts"]), facts={})


class _UserBits:
    """The user bits of the users that are asked for; user j is users[j]."""

    def __init__(self, trees: CatBoostClassifier, features: PairFeatures, parts: SplitTrees, users: Rows) -> None:
        self.trees, self.features, self.parts, self.users = trees, features, parts, users
        self._lock = threading.Lock()  # nothing says that CatBoost may be asked by two threads at once

    def __call__(self, places: IntArray) -> IntArray:
        # Any item will do: only the bits of user splits are kept.
        with self._lock:
            pool = self.features.pool(self.users[places], np.zeros(len(places), dtype=np.int64))
            return leaf_bits(self.trees, pool, self.parts.user_mask).astype(np.int64)


@dataclass(frozen=True)
class _Callback:
    """What CatBoost calls after each tree."""

    told: Told
    n_trees: int

    def after_iteration(self, info: Any) -> bool:
        """Tell of the tree, and go on."""
        self.told(info.iteration, self.n_trees, "trees")
        return True


def _trained(pool: Pool, told: Told | None, **parameters: Any) -> CatBoostClassifier:
    trees = CatBoostClassifier(**parameters, allow_writing_files=False, verbose=False)
    try:
        trees.fit(pool, callbacks=[_Callback(told, parameters["iterations"])] if told else None)
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
        return TreeInputs(tuple(block for block in known.blocks if block in TEXT_BLOCKS), with_counts=False)
    return TreeInputs(tuple(block for block in known.blocks if block != "numeric"), with_counts=True)


def _examples(known: Knowledge, settings: FitSettings, row_bytes: int) -> tuple[Examples, float]:
    """The rows to train on, sampled to fit the memory, and the fraction of all that they are."""
    if settings.recipe == "notebook":
        examples = observed_examples(known)
    else:
        examples = sampled_examples(
            known,
            n_negatives=settings.parameters.get("n_negatives", N_NEGATIVES),
            seed=settings.seed,
            negatives=settings.negatives or "uniform",
        )
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
