"""A model of one's own: PureSVD (Cremonesi, Koren & Turrin 2010), as `recsys_polars.Model` asks for it.

bin/train --model examples.pure_svd:PureSvd
bin/rank --model examples.pure_svd:PureSvd --out preds.parquet
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_matrix

from recsys_polars import DotScorer, FitSettings, Knowledge, Model

WIDTH, ROUNDS = 32, 8
Floats = np.ndarray[Any, np.dtype[np.float32]]
Rows = np.ndarray[Any, np.dtype[np.int64]]


class PureSvd:
    """score(u, i) = (sum of the vectors of what u liked) . vector of i; the vectors span what users like together.

    They are the first right singular vectors of the matrix of likes, by subspace iteration: a round turns random
    vectors towards them. Few rounds may rank better than many, so that the valid part is asked after each.
    """

    validates: ClassVar[bool] = True

    def __init__(self, vectors: Floats, rounds: int) -> None:
        self.vectors, self.rounds, self.facts = vectors, rounds, dict[str, Any]()

    @classmethod
    def fit(
        cls,
        known: Knowledge,
        settings: FitSettings,
        *,
        validate: Callable[[Model], float] | None = None,
        rounds: int | None = None,
    ) -> Self:
        """See `Model.fit`."""
        width = int(settings.parameters.get("width", WIDTH))
        likes, models = _likes(known), list[Self]()
        vectors = np.random.default_rng(settings.seed).standard_normal((known.n_items, width))
        for done in range(1, (rounds or ROUNDS) + 1):
            vectors, _ = np.linalg.qr(likes.T @ (likes @ vectors))
            models.append(cls(vectors.astype(np.float32), done))
        if validate is None:
            return models[-1]
        curve = [{"validation": validate(model)} for model in models]
        best = models[int(np.argmax([one["validation"] for one in curve]))]
        best.facts["curve"] = curve
        return best

    def scorer(self, known: Knowledge, users: Rows, *, device: str = "auto") -> DotScorer:
        """See `Model.scorer`."""
        tastes = (_likes(known)[users] @ self.vectors).astype(np.float32)
        return DotScorer(tastes, self.vectors, name="pure-svd", device="cpu" if device == "auto" else device)

    def save(self, folder: Path) -> None:
        """See `Model.save`. Tensors and JSON, no pickle: whoever opens a pickle runs what its author wrote."""
        save_file({"vectors": self.vectors, "rounds": np.array([self.rounds])}, folder / "vectors.safetensors")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See `Model.load`."""
        read = load_file(folder / "vectors.safetensors")
        return cls(read["vectors"], int(read["rounds"][0]))


def _likes(known: Knowledge) -> csr_matrix:
    """1 where a user liked an item before the cut, shape (n_users, n_items)."""
    liked = known.labels == 1
    pairs = (known.user_rows[liked], known.item_rows[liked])
    return csr_matrix((np.ones(liked.sum()), pairs), shape=(known.n_users, known.n_items))
