"""Two-tower models, and any other score that is a dot product."""

import numpy as np
import numpy.typing as npt
import torch

from recsys_polars.errors import ArtefactError
from recsys_polars.ranking import devices
from recsys_polars.ranking.bfloat16 import DotLook, Patience, pays
from recsys_polars.ranking.canonical import RowCache, dot_in_order, in_chunks
from recsys_polars.ranking.layers import Scratch, Weights, as_layers, forward_in_order, forward_with_error, to_float32
from recsys_polars.ranking.protocol import Closer, FloatArray, IntArray, ItemRows, UserBlock
from recsys_polars.ranking.rounding import UNDERFLOW, as_bound, gamma

_ROWS_AT_ONCE = 8192
_CLOSER_COST = 64  # of a pair in float32, gathered, in first looks


class DotScorer:
    """score(u, i) = item_bias_i + user_tower(U_u) . item_tower(V_i).

    A tower is a stack of linear layers with ReLU between them, not after the last; an empty one passes its input
    through. Canonical order: each tower as `forward_in_order`, then item_bias + the products from column 0 on.

    Args:
        user_vectors: U, float32 `(n_users, d_u)`; may be a memory map, read block by block.
        item_vectors: V, float32 `(n_items, d_v)`; may be a memory map.
        user_tower: layers for U.
        item_tower: layers for V.
        item_bias: float32 `(n_items,)`; none counts as zero.
        name: how errors call the model.
        device: where the scores are computed.
        cache_bytes: memory for canonical item vectors that are kept; by default what suits the device.
        bfloat16: whether pairs are first scored in bfloat16, and in float32 where that leaves it open; by default where
            the CPU has instructions for it. It changes the time, never the lists.

    Raises:
        ArtefactError: shapes that don't fit together.

    Example:
        >>> users, items = np.array([[1, 2]], dtype=np.float32), np.array([[3, 4], [5, 6]], dtype=np.float32)
        >>> scorer = rp.DotScorer(users, items, item_bias=np.array([0.5, 0], dtype=np.float32))
        >>> scorer.exact(np.array([0, 0]), np.array([0, 1])).tolist()
        [11.5, 17.0]
    """

    user_invariant = False
    threads_share_blocks = False

    def __init__(
        self,
        user_vectors: FloatArray,
        item_vectors: FloatArray,
        *,
        user_tower: Weights = (),
        item_tower: Weights = (),
        item_bias: FloatArray | None = None,
        name: str = "two-tower",
        device: torch.device | str = "cpu",
        cache_bytes: int | None = None,
        bfloat16: bool | None = None,
    ) -> None:
        self.name, self.device = name, torch.device(device)
        self.n_users, self.n_items = len(user_vectors), len(item_vectors)
        self.block_users = devices.block_users(self.device)
        self._U, self._V = user_vectors, item_vectors
        d_u, d_v = user_vectors.shape[1], item_vectors.shape[1]
        self._user_tower = as_layers(user_tower, d_in=d_u, name=f"{name}: user tower", device=self.device)
        self._item_tower = as_layers(item_tower, d_in=d_v, name=f"{name}: item tower", device=self.device)
        width = len(self._item_tower[-1].bias) if self._item_tower else d_v
        _check_shapes(name, len(self._user_tower[-1].bias) if self._user_tower else d_u, width, item_bias, self.n_items)
        self._bias = None if item_bias is None else to_float32(item_bias, self.device)
        self._embed_items(width)
        wanted = pays(width, self.device) if bfloat16 is None else bfloat16
        self._look = DotLook(self._items, self._bias) if wanted and self.n_items else None
        self._patience = Patience(cost=_CLOSER_COST)
        self.user_bytes = 24 * (d_u + width + sum(len(layer.bias) for layer in self._user_tower))
        cache_bytes = devices.cache_bytes(self.device) if cache_bytes is None else cache_bytes
        self._cache = RowCache(self._exact_items, n_rows=self.n_items, row_bytes=8 * width, cache_bytes=cache_bytes)
        self._scratch = Scratch(self.device)

    def block(self, users: IntArray) -> UserBlock:
        """The users' tower output, and |u.v - u'.v'| <= |u'| |dv| + |du| (|v'| + |dv|) + gamma |u'| |v'|, by norms."""
        vectors, error = forward_with_error(self._user_tower, to_float32(self._U[users], self.device))
        norm, error_norm = vectors.double().norm(dim=1), error.norm(dim=1)
        rounding = gamma(vectors.shape[1] + 1) * (norm * self._norm + self._max_bias)
        towers = norm * self._error_norm + error_norm * (self._norm + self._error_norm)
        error = rounding + towers + UNDERFLOW
        return self._first_block(vectors, error) or UserBlock(
            lambda items: self._score(vectors, items), as_bound(error)
        )

    def exact(self, users: IntArray, items: IntArray) -> npt.NDArray[np.float64]:
        """See `Scorer.exact`."""
        n_at_once = devices.exact_pairs(self.device, self._items.shape[1])
        return in_chunks(self._exact_pairs, users, items, n_at_once=n_at_once)

    def user_vectors(self, users: IntArray) -> FloatArray:
        """What `exact` multiplies, `(m, width)`, rounded to float32: the same bits in any company."""
        return (
            forward_in_order(self._user_tower, to_float32(self._U[users], self.device).double()).float().cpu().numpy()
        )

    def item_vectors(self, items: IntArray) -> FloatArray:
        """The same of items, without the bias."""
        return self._exact_items(items).float().cpu().numpy()

    def _embed_items(self, width: int) -> None:
        self._items = torch.empty(self.n_items, width, device=self.device)
        self._norm = self._error_norm = 0.0
        for start in range(0, self.n_items, _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            vectors, error = forward_with_error(self._item_tower, to_float32(self._V[part], self.device))
            self._items[part] = vectors
            self._norm = max(self._norm, _largest(vectors.double().norm(dim=1)))
            self._error_norm = max(self._error_norm, _largest(error.norm(dim=1)))
        self._max_bias = 0.0 if self._bias is None else _largest(self._bias.double().abs())

    def _first_block(self, vectors: torch.Tensor, error: torch.Tensor) -> UserBlock | None:
        """A block that begins in bfloat16; None where that isn't wanted, or wouldn't leave enough out."""
        look = self._look
        if look is None or self._patience.lost:
            return None
        users, wide = look.users(vectors)
        first = as_bound(wide + error)
        if not bool(first.isfinite().all()):
            return None
        self._patience.try_on(lambda items: self._score_first(look, users, items), first, self.n_items)
        if self._patience.lost:
            return None
        closer = Closer(lambda places, items: self._score_pairs(vectors, places, items), as_bound(error))
        return UserBlock(lambda items: self._score_first(look, users, items), first, closer)

    def _score(self, vectors: torch.Tensor, items: ItemRows) -> torch.Tensor:
        item_vectors = self._items[items]
        scores = torch.mm(item_vectors, vectors.t(), out=self._scratch.take(len(item_vectors), len(vectors)))
        if self._bias is not None:
            scores.add_(self._bias[items][:, None])
        return scores.t()

    def _score_first(self, look: DotLook, users: torch.Tensor, items: ItemRows) -> torch.Tensor:
        scores = look.score(users, items)
        self._patience.n_first += scores.numel()
        return scores

    def _score_pairs(self, vectors: torch.Tensor, places: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Float32 scores of scattered pairs `(m,)`."""
        self._patience.n_closer += len(places)
        scores: torch.Tensor = torch.linalg.vecdot(vectors[places], self._items[items])
        return scores if self._bias is None else scores.add_(self._bias[items])

    def _exact_items(self, items: IntArray) -> torch.Tensor:
        return forward_in_order(self._item_tower, to_float32(self._V[items], self.device).double())

    def _exact_pairs(self, users: IntArray, items: IntArray) -> torch.Tensor:
        user_rows, user_at = np.unique(users, return_inverse=True)
        item_rows, item_at = np.unique(items, return_inverse=True)
        user_vectors = forward_in_order(self._user_tower, to_float32(self._U[user_rows], self.device).double())
        item_vectors = self._cache.rows(item_rows)
        bias = torch.zeros(len(items), dtype=torch.float64, device=self.device)
        if self._bias is not None:
            bias = self._bias[torch.from_numpy(items).to(self.device)].double()
        u_at, i_at = (torch.from_numpy(at).to(self.device) for at in (user_at, item_at))
        return dot_in_order(user_vectors[u_at], item_vectors[i_at], bias)


def _largest(values: torch.Tensor) -> float:
    """The largest of non-negative values; infinite where one isn't a number, so that it bounds nothing by mistake."""
    return float(torch.nan_to_num(values, nan=torch.inf, posinf=torch.inf).amax()) if len(values) else 0.0


def _check_shapes(name: str, d_user: int, d_item: int, item_bias: FloatArray | None, n_items: int) -> None:
    if d_user != d_item:
        raise ArtefactError(f"{name}: expected user and item vectors of one width, found {d_user} and {d_item}")
    if item_bias is not None and item_bias.shape != (n_items,):
        raise ArtefactError(f"{name}: item_bias: expected the shape ({n_items},), found {item_bias.shape}")
