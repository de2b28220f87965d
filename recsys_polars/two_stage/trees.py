"""The second stage: trees that learn, from candidates before a cut and what was liked after it, how to order them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from catboost import CatBoostClassifier, Pool
from numpy.typing import NDArray

from recsys_polars.ranking.protocol import SparseRows
from recsys_polars.two_stage.candidates import Pairs
from recsys_polars.two_stage.past import Floats, Rows

PARAMETERS: dict[str, Any] = {"iterations": 300, "depth": 6, "learning_rate": 0.05, "l2_leaf_reg": 50}
N_SEEDS = 2
N_TREES: int = N_SEEDS * PARAMETERS["iterations"]
N_NEGATIVES = 50_000
"""Candidates not liked, of one fold, that are learnt from, if a user has USUAL_CANDIDATES; in proportion if more."""
USUAL_CANDIDATES = 300


@dataclass(frozen=True)
class Lesson:
    """Candidates and whether the user liked them next: features (n, n_features), labels (n,)."""

    features: Floats
    labels: NDArray[np.bool_]


def lesson(blocks: Iterable[Pairs], liked: SparseRows, *, seed: int) -> Lesson:
    """Make a lesson of candidates before a cut and of what their users liked after it.

    Args:
        blocks: candidates, all of them.
        liked: by place, the items liked after the cut.
        seed: of the choice among the candidates not liked: `N_NEGATIVES` of them, in proportion.
    """
    kept = min(1.0, N_NEGATIVES / max(1, (len(liked.indptr) - 1) * USUAL_CANDIDATES))
    features, labels, chance = [], [], np.random.default_rng(seed)
    for pairs in blocks:
        of_pairs = contains(liked, pairs.places, pairs.items)
        rows = np.flatnonzero(of_pairs | (chance.random(len(of_pairs)) < kept))
        features.append(pairs.features[rows])
        labels.append(of_pairs[rows])
    return Lesson(np.concatenate(features), np.concatenate(labels))


def contains(lists: SparseRows, places: Rows, items: Rows) -> NDArray[np.bool_]:
    """Return whether each item is in its place's list."""
    width = int(max(items.max(initial=0), np.max(lists.indices, initial=0))) + 1
    of_lists = np.repeat(np.arange(len(lists.indptr) - 1), np.diff(lists.indptr)) * width + lists.indices
    return np.isin(places * width + items, of_lists)


def learn(
    lessons: Sequence[Lesson],
    names: Sequence[str],
    *,
    seed: int,
    task_type: str = "CPU",
    told: Callable[[int], None] | None = None,
) -> list[CatBoostClassifier]:
    """Train on several lessons together, with several seeds; empty where there is nothing to tell apart.

    `told` hears of the trees so far, of N_TREES.
    """
    if not lessons:
        return []
    features = np.concatenate([one.features for one in lessons])
    labels = np.concatenate([one.labels for one in lessons])
    if labels.all() or not labels.any():
        return []
    pool = Pool(features, labels, feature_names=list(names))
    return [
        CatBoostClassifier(
            **PARAMETERS, random_seed=seed + number, task_type=task_type, allow_writing_files=False, verbose=False
        ).fit(pool, callbacks=[_Callback(told, number)] if told and task_type == "CPU" else None)
        for number in range(N_SEEDS)
    ]


@dataclass(frozen=True)
class _Callback:
    """CatBoost calls it after each tree, on a CPU."""

    told: Callable[[int], None]
    number: int

    def after_iteration(self, info: Any) -> bool:
        """Return whether to go on."""
        self.told(self.number * PARAMETERS["iterations"] + info.iteration)
        return True


def scores_of(trees: Sequence[CatBoostClassifier], features: Floats) -> NDArray[np.float64]:
    """Return the sum of the raw values of all trees, shape (n,)."""
    total = np.zeros(len(features))
    for one in trees:
        total += one.predict(Pool(features, feature_names=one.feature_names_), prediction_type="RawFormulaVal")
    return total


def save_trees(trees: CatBoostClassifier, path: Path) -> None:
    """Write trees: the same trees, the same bytes."""
    metadata = trees.get_metadata()
    for name in {"model_guid", "train_finish_time"} & set(metadata.keys()):
        del metadata[name]
    trees.save_model(str(path))
