"""Both stages together: candidates of a past, ordered by trees or by one signal, to lists."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from catboost import CatBoostClassifier, Pool
from numpy.typing import NDArray

from recsys_polars.attribution import Parts, tree_parts
from recsys_polars.errors import ArtefactError
from recsys_polars.ranking.order import top_of_each
from recsys_polars.ranking.protocol import SparseRows, TopK
from recsys_polars.two_stage.candidates import Candidates, Pairs
from recsys_polars.two_stage.past import Rows
from recsys_polars.two_stage.trees import save_trees, scores_of

Scope = Literal["known", "catalogue"]
"""What an order was learnt for: to choose among the items that anybody had before the cut, or among all."""
TREES = "trees"


@dataclass(frozen=True)
class Order:
    """How candidates are ordered: by the sum of `trees`, or, without trees, by one signal alone.

    Attributes:
        by: `trees`, or the name of the signal.
        trees: CatBoost models; they name the features that they were learnt from.
    """

    by: str
    trees: Sequence[CatBoostClassifier] = ()

    def scores(self, pairs: Pairs, names: Sequence[str]) -> NDArray[np.float32]:
        """Return the score of each pair, whose features have these names; shape (n,); zero has no sign."""
        if self.trees:
            return scores_of(self.trees, pairs.features).astype(np.float32) + np.float32(0)
        column: NDArray[np.float32] = pairs.features[:, list(names).index(self.by)] + np.float32(0)
        return column

    def parts(self, pairs: Pairs, candidates: Candidates) -> Parts:
        """Return what the score of each pair is the sum of: the trees' Shapley values by what features tell of."""
        if self.trees:
            pool = Pool(pairs.features, feature_names=list(candidates.names))
            return tree_parts(self.trees, pool, candidates.groups)
        return {self.by: self.scores(pairs, candidates.names).astype(np.float64)}

    def check(self, names: Sequence[str]) -> None:
        """Refuse candidates of other features than the order was learnt from.

        Raises:
            ArtefactError: naming the features that differ.
        """
        expected = self.trees[0].feature_names_ if self.trees else [self.by]
        if (self.trees and expected != list(names)) or not set(expected) <= set(names):
            other = sorted(set(expected) ^ set(names)) if self.trees else expected
            raise ArtefactError(
                f"auto: expected candidates with the features that it was trained on, found {', '.join(other)} on one "
                "side alone; run recsys-polars train --model auto again"
            )


def rank_candidates(
    candidates: Candidates, order: Order, users: Rows, *, k: int, seen: SparseRows | None, allowed: NDArray[np.bool_]
) -> Iterator[TopK]:
    """Yield the k best candidates of each user, block by block: score descending, then item row ascending.

    Args:
        candidates: of the first stage.
        order: of the second.
        users: user rows.
        k: length of a list; shorter where fewer items are allowed and not seen.
        seen: by place in `users`, what is not recommended to that user.
        allowed: shape (n_items,): the only items to recommend.

    Returns:
        As `rank_blocks` does; `users` of a block are places in `users`.
    """
    for pairs in candidates.blocks(users, seen=seen, allowed=allowed, n_least=k):
        yield best_pairs(pairs, order, candidates.names, k=k)


def best_pairs(pairs: Pairs, order: Order, names: Sequence[str], *, k: int) -> TopK:
    """Return the k best pairs of each place."""
    scores = order.scores(pairs, names)
    best, ranks = top_of_each(pairs.places, pairs.items, scores, k)
    return TopK(pairs.start, pairs.stop, pairs.places[best], pairs.items[best], scores[best], ranks.astype(np.uint32))


def save_orders(orders: Mapping[Scope, Order], folder: Path) -> None:
    """Write orders into an empty folder."""
    said: dict[str, Any] = {}
    for scope, order in orders.items():
        said[scope] = {"by": order.by, "n_trees": len(order.trees)}
        for number, trees in enumerate(order.trees):
            save_trees(trees, folder / f"{scope}-{number}.cbm")
    (folder / "orders.json").write_text(json.dumps(said), encoding="utf-8")


def load_orders(folder: Path) -> dict[Scope, Order]:
    """Read what `save_orders` wrote."""
    said = json.loads((folder / "orders.json").read_text(encoding="utf-8"))
    files = {
        scope: [folder / f"{scope}-{number}.cbm" for number in range(one["n_trees"])] for scope, one in said.items()
    }
    return {
        scope: Order(one["by"], [CatBoostClassifier().load_model(str(file)) for file in files[scope]])
        for scope, one in said.items()
    }
