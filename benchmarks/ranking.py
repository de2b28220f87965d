"""Ranking the catalogue for a user: the notebook's loops, CatBoost's own predict, faiss and implicit against ours."""

from collections.abc import Iterator, Sequence

import faiss
import numpy as np
import pandas as pd
import torch
from catboost import CatBoostClassifier
from implicit.cpu.topk import topk as implicit_topk
from torch import nn

from benchmarks.notebook import rank_catboost, rank_mlp
from benchmarks.synthetic import Synthetic
from benchmarks.timing import Result, in_pairs
from recsys_polars.examples import sampled_examples
from recsys_polars.models.catboost import CatBoost
from recsys_polars.models.mlp import matching_network
from recsys_polars.models.pair_features import PairFeatures, TreeInputs
from recsys_polars.ranking import DotScorer, MlpScorer, Scorer, rank_blocks

K = 10
MLP_STEPS = 300
TREES = {"iterations": 300, "depth": 8, "learning_rate": 0.1, "max_ctr_complexity": 1, "random_seed": 0}
TREE_ROWS = 60_000


def top_items(scorer: Scorer, n_users: int, k: int = K) -> list[np.ndarray]:
    """The lists of the scorer's first users: item rows, best first."""
    blocks = list(rank_blocks(scorer, np.arange(n_users), k=k))
    items = np.concatenate([block.items for block in blocks])
    return np.split(items, np.arange(k, len(items), k))


def agreement(theirs: Sequence[np.ndarray], ours: Sequence[np.ndarray]) -> str:
    """How many of their lists hold the same items as ours, and how many in the same order."""
    both = list(zip(theirs, ours, strict=False))
    same = sum(set(a) == set(b) for a, b in both)
    ordered = sum(list(a) == list(b) for a, b in both)
    return f"same items {same}/{len(both)}, same order {ordered}/{len(both)}"


def warm_users(data: Synthetic, n: int) -> np.ndarray:
    """The first n users with a positive."""
    return np.flatnonzero(data.knowledge.n_positives > 0)[:n]


def mlp(data: Synthetic, *, n_theirs: int, n_ours: int) -> Iterator[Result]:
    """The notebook's network, trained a little so that its activations are those of a trained one."""
    known = data.knowledge
    users = known.means[known.mean_rows[warm_users(data, n_ours)]]
    network = trained_network(data)
    layers = [(layer.weight, layer.bias) for layer in network if isinstance(layer, nn.Linear)]
    scorer = MlpScorer(users, data.vectors, layers)
    theirs, ours = in_pairs(
        lambda: rank_mlp(network, users[:n_theirs], data.vectors, K),
        lambda: top_items(scorer, n_ours),
        theirs_units=n_theirs,
        ours_units=n_ours,
    )
    note = agreement(rank_mlp(network, users[:n_theirs], data.vectors, K), top_items(scorer, n_theirs))
    yield Result("MLP, top 10", "the notebook's loop", "user", theirs, ours, 22, note)


def trained_network(data: Synthetic) -> nn.Sequential:
    """The matching network after some steps on the synthetic pairs."""
    torch.manual_seed(0)
    network = matching_network(2 * data.vectors.shape[1])
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    known, chance = data.knowledge, np.random.default_rng(0)
    for _ in range(MLP_STEPS):
        rows = chance.integers(len(known.user_rows), size=2048)
        users, items = known.user_rows[rows], known.item_rows[rows]
        inputs = np.hstack([known.means[np.maximum(known.mean_rows[users], 0)], data.vectors[items]])
        targets = torch.from_numpy(known.labels[rows].astype(np.float32))
        loss = nn.functional.binary_cross_entropy_with_logits(network(torch.from_numpy(inputs)).squeeze(1), targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval()


def catboost(data: Synthetic, *, n_theirs: int, n_ours: int) -> Iterator[Result]:
    """300 trees of depth 8 on features of the user and the item, brand and category among them."""
    known = data.knowledge
    users = warm_users(data, n_ours)
    inputs = TreeInputs(("clip_text",), with_counts=True)
    features = PairFeatures(known, inputs)
    examples = sampled_examples(known, n_negatives=1, seed=0)
    rows = examples.take(np.random.default_rng(0).integers(len(examples), size=TREE_ROWS))
    pool = features.training_pool(rows)
    trees = CatBoostClassifier(**TREES, verbose=False, allow_writing_files=False).fit(pool)
    scorer = CatBoost(trees, inputs, facts={}).scorer(known, users)
    everything = np.arange(known.n_items)
    user_columns = features.number_names[: features.sides.count("user")]
    items = _frame_of(features, users[0])
    values = {user: features.numbers(np.array([user]), np.array([0]))[0, : len(user_columns)] for user in users}

    def set_user(frame: pd.DataFrame, user: int) -> None:
        frame[user_columns] = values[user]

    def predict_each() -> None:
        for user in users[:n_theirs]:
            trees.predict(features.pool(np.full(known.n_items, user), everything), prediction_type="RawFormulaVal")

    def loop() -> list[np.ndarray]:
        return rank_catboost(trees, items, set_user, users[:n_theirs], K)

    theirs, ours = in_pairs(loop, lambda: top_items(scorer, n_ours), theirs_units=n_theirs, ours_units=n_ours)
    yield Result(
        "CatBoost, top 10",
        "the notebook's loop",
        "user",
        theirs,
        ours,
        500,
        agreement(loop(), top_items(scorer, n_theirs)),
    )
    theirs, ours = in_pairs(predict_each, lambda: top_items(scorer, n_ours), theirs_units=n_theirs, ours_units=n_ours)
    raw = trees.predict(features.pool(np.full(known.n_items, users[0]), everything), prediction_type="RawFormulaVal")
    furthest = np.abs(scorer.exact(np.zeros(known.n_items, dtype=np.int64), everything) - raw).max()
    yield Result(
        "CatBoost, top 10", "Pool + predict", "user", theirs, ours, 100, f"scores within {furthest:.1e} of predict"
    )


def _frame_of(features: PairFeatures, user: int) -> pd.DataFrame:
    """The features of one user with every item, as the notebook's frame has them."""
    everything = np.arange(features.known.n_items)
    numbers = features.numbers(np.full(len(everything), user), everything)
    frame = pd.DataFrame(numbers, columns=features.number_names)
    for place, name in enumerate(features.category_names):
        frame[name] = [value.decode() for value in features.item_categories[:, place]]
    return frame.copy()  # in one piece, as one read from a file is


def two_tower(data: Synthetic, *, n_ours: int, d: int = 64) -> Iterator[Result]:
    """Dot products of d dimensions, against faiss' exact index and implicit's topk, same threads."""
    chance = np.random.default_rng(0)
    users = chance.standard_normal((n_ours, d), dtype=np.float32)
    items = chance.standard_normal((data.shape.n_items, d), dtype=np.float32)
    scorer = DotScorer(users, items)
    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexFlatIP(d)
    index.add(items)
    theirs, ours = in_pairs(
        lambda: index.search(users, K), lambda: top_items(scorer, n_ours), theirs_units=n_ours, ours_units=n_ours
    )
    note = agreement(list(index.search(users, K)[1]), top_items(scorer, n_ours))
    yield Result("two-tower, top 10", "faiss IndexFlatIP", "user", theirs, ours, 1, note)
    theirs, ours = in_pairs(
        lambda: implicit_topk(items, users, K, num_threads=torch.get_num_threads()),
        lambda: top_items(scorer, n_ours),
        theirs_units=n_ours,
        ours_units=n_ours,
    )
    yield Result("two-tower, top 10", "implicit topk", "user", theirs, ours, 1)
