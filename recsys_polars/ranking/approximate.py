"""Approximate ranking by a network: a dot product chooses what is scored at all; its recall is measured.

near = approximate(scorer, k=10, seen=seen)
rank_blocks(near, users, k=10, seen=seen)
"""

import numpy as np
import numpy.typing as npt
import torch

from recsys_polars.errors import InputError
from recsys_polars.ranking.dot import DotScorer
from recsys_polars.ranking.landmarks import Landmarks, fit_landmarks
from recsys_polars.ranking.mlp import MlpScorer
from recsys_polars.ranking.protocol import IntArray, Scorer, SparseRows, UserBlock
from recsys_polars.ranking.rank import rank_blocks
from recsys_polars.ranking.threads import mapped

RANK, N_LANDMARKS = 64, 128
N_FITTED, N_TUNED, N_CHECKED = 256, 128, 512
LEAST_USERS = 4 * (N_FITTED + N_TUNED + N_CHECKED)
"""With fewer, measuring takes longer than it saves."""
_ITEMS_AT_ONCE, _USERS_AT_ONCE = 8192, 256


class ApproximateScorer:
    """Scores as `scorer` does, but leaves items out by a dot product whose bound is chosen, not proven.

    Args:
        scorer: what is canonical.
        landmarks: the dot product.
    """

    user_invariant = False
    threads_share_blocks = False

    def __init__(self, scorer: MlpScorer, landmarks: Landmarks) -> None:
        self._scorer = scorer
        self.name, self.device, self.block_users = scorer.name, scorer.device, scorer.block_users
        self.n_users, self.n_items = scorer.n_users, scorer.n_items
        coordinates, self._misfit = _coordinates(scorer, landmarks)
        factors = landmarks.factors.cpu().numpy()
        self._dot = DotScorer(coordinates, factors, name=self.name, device=self.device, bfloat16=False)
        self.user_bytes = scorer.user_bytes + self._dot.user_bytes
        self.scale = torch.inf
        """The bound of a user, in misfits of that user; at first it leaves nothing out."""
        self.recall = 1.0
        """The share of exact lists that was found where `approximate` looked."""

    def block(self, users: IntArray) -> UserBlock:
        """The dot product; then the network, in float32, on what that leaves over."""
        near, closer = self._dot.block(users), self._scorer.in_float32(users).closer
        chosen = torch.from_numpy(self.scale * self._misfit[users]).to(near.bound)
        return UserBlock(near.score, near.bound + chosen, closer, shifted=True)

    def exact(self, users: IntArray, items: IntArray) -> npt.NDArray[np.float64]:
        """See `Scorer.exact`."""
        return self._scorer.exact(users, items)

    def scale_for(self, users: IntArray, *, k: int, n_left: int, candidates: IntArray | None = None) -> float:
        """The scale that leaves `n_left` items over for the mean of these users."""
        items = slice(0, self.n_items) if candidates is None else torch.from_numpy(candidates).to(self.device)
        scores = self._dot.block(users).score(items)
        last = scores.topk(min(k, scores.shape[1]), dim=1).values[:, -1:]
        misfit = torch.from_numpy(self._misfit[users]).to(scores)[:, None].clamp_min(torch.finfo(torch.float32).tiny)
        scales = ((last - scores) / (2 * misfit)).cpu().numpy().ravel()
        place = min(n_left * len(users), len(scales)) - 1
        return max(0.0, float(np.partition(scales, place)[place]))


def approximate(
    scorer: MlpScorer,
    *,
    k: int = 10,
    n_left: int = 200,
    seen: SparseRows | None = None,
    candidates: IntArray | None = None,
    least_recall: float = 0.999,
    seed: int = 0,
) -> ApproximateScorer:
    """Fit a dot product to the logits of some users, choose the bound by others, measure the recall on others.

    Args:
        scorer: the network, for `LEAST_USERS` users or more.
        k: as the lists will be ranked; `seen` and `candidates` too, see `rank_blocks`.
        n_left: items that the dot product leaves over for the network, for the mean user.
        seen: per user row, items that aren't recommended to that user.
        candidates: the only items to recommend.
        least_recall: the share of the exact lists that must be found.
        seed: of the choice of users.

    Returns:
        A scorer for `rank_blocks`. Its lists may lack an item of the exact ones; what they hold has its exact score.

    Raises:
        InputError: too few users, or a recall that is too low.
    """
    if scorer.n_users < LEAST_USERS:
        raise InputError(f"approximate ranking: expected {LEAST_USERS:,} users or more, found {scorer.n_users:,}")
    chosen = np.random.default_rng(seed).choice(scorer.n_users, N_FITTED + N_TUNED + N_CHECKED, replace=False)
    fitted, tuned, checked = np.split(chosen, [N_FITTED, N_FITTED + N_TUNED])
    landmarks = fit_landmarks(_logits(scorer, fitted), rank=RANK, n_landmarks=N_LANDMARKS)
    near = ApproximateScorer(scorer, landmarks)
    near.scale = near.scale_for(tuned, k=k, n_left=n_left, candidates=candidates)

    def pairs(of: Scorer) -> IntArray:
        lists = rank_blocks(of, checked, k=k, seen=seen, candidates=candidates)
        return np.concatenate([block.users * of.n_items + block.items for block in lists])

    exact = pairs(scorer)
    near.recall = float(np.isin(exact, pairs(near)).mean()) if len(exact) else 1.0
    if near.recall < least_recall:
        raise InputError(
            f"approximate ranking: expected to find {least_recall:.2%} of the exact lists, found {near.recall:.2%} "
            f"for {N_CHECKED} users; rank exactly"
        )
    return near


@torch.no_grad()
def _logits(scorer: MlpScorer, users: IntArray) -> torch.Tensor:
    logits = torch.empty(len(users), scorer.n_items, device=scorer.device)
    score = scorer.in_float32(users).score
    for start in range(0, scorer.n_items, _ITEMS_AT_ONCE):
        logits[:, start : start + _ITEMS_AT_ONCE] = score(slice(start, start + _ITEMS_AT_ONCE))
    return logits


def _coordinates(scorer: MlpScorer, landmarks: Landmarks) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Of all users `(n_users, rank + 1)`, and their misfit `(n_users,)`."""

    @torch.no_grad()
    def of(start: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        users = np.arange(start, min(start + _USERS_AT_ONCE, scorer.n_users))
        coordinates, misfit = landmarks.coordinates(scorer.in_float32(users).score(landmarks.items))
        return coordinates.cpu().numpy(), misfit.cpu().numpy()

    n_threads = torch.get_num_threads() if scorer.device.type == "cpu" else 1
    parts = list(mapped(of, range(0, scorer.n_users, _USERS_AT_ONCE), n_threads=n_threads))
    coordinates, misfits = zip(*parts, strict=True)
    return np.concatenate(coordinates), np.concatenate(misfits)
