"""Matching MLPs: a network on the concatenation [user vector; item vector], ending in one logit."""

import numpy as np
import numpy.typing as npt
import torch

from recsys_polars.errors import ArtefactError
from recsys_polars.ranking import devices
from recsys_polars.ranking.bfloat16 import MlpLook, Patience, pays
from recsys_polars.ranking.canonical import RowCache, in_chunks
from recsys_polars.ranking.fused import FusedLook, fused_look
from recsys_polars.ranking.layers import (
    Layer,
    Scratch,
    Weights,
    as_layers,
    forward_in_order,
    forward_with_error,
    to_float32,
)
from recsys_polars.ranking.protocol import Closer, FloatArray, IntArray, ItemRows, UserBlock
from recsys_polars.ranking.rounding import ROUNDOFF, SLACK, as_bound, gamma, linear_error

_ROWS_AT_ONCE = 8192
_CLOSER_COST = 8  # of a pair in float32, in first looks
_USERS_TRIED = 8


class MlpScorer:
    """score(u, i) = the logit of a ReLU network on [U_u; V_i], without dropout and without sigmoid.

    The first layer splits: W1 [u; v] + b1 = W_u u + (W_v v + b1). Its item half is computed once, its user half once a
    block; what remains per pair is relu(A_u + B_i) and the other layers. Canonical order: A from column 0 on, B from b1
    on, A + B, ReLU, and then each layer from its bias on.

    Args:
        user_vectors: U, float32 `(n_users, d_u)`; may be a memory map, read block by block. d_u = 0 is a user-invariant
            model.
        item_vectors: V, float32 `(n_items, d_v)`; may be a memory map.
        layers: two layers or more, the first d_u + d_v wide, the last with one output.
        name: how errors call the model.
        device: where the scores are computed.
        scratch_pairs: pairs whose hidden activations are held at a time; by default what a CPU's cache, or a GPU,
            likes.
        cache_bytes: memory for canonical item halves that are kept; by default what suits the device.
        bfloat16: whether pairs are first scored in bfloat16, and in float32 where that leaves it open; by default where
            the CPU has instructions for it. It changes the time, never the lists.
        fused: whether they are first scored in float16, by one kernel; by default on CUDA. As above.

    Raises:
        ArtefactError: shapes that don't fit together.

    Example:
        >>> ones = np.ones((1, 1), dtype=np.float32)
        >>> hidden = np.array([[1, 1], [1, -1]], dtype=np.float32), np.zeros(2, dtype=np.float32)
        >>> output = np.ones((1, 2), dtype=np.float32), np.array([0.5], dtype=np.float32)
        >>> scorer = rp.MlpScorer(ones, 3 * ones, [hidden, output])  # relu(1 + 3) + relu(1 - 3) + 0.5
        >>> scorer.exact(np.array([0]), np.array([0])).tolist()
        [4.5]
    """

    threads_share_blocks = False

    def __init__(
        self,
        user_vectors: FloatArray,
        item_vectors: FloatArray,
        layers: Weights,
        *,
        name: str = "mlp",
        device: torch.device | str = "cpu",
        scratch_pairs: int | None = None,
        cache_bytes: int | None = None,
        bfloat16: bool | None = None,
        fused: bool | None = None,
    ) -> None:
        self.name, self.device = name, torch.device(device)
        self.n_users, self.n_items = len(user_vectors), len(item_vectors)
        self.block_users = devices.block_users(self.device)
        self._U, self._V = user_vectors, item_vectors
        d_u = user_vectors.shape[1]
        self.user_invariant = d_u == 0
        first, *self._tail = as_layers(layers, d_in=d_u + item_vectors.shape[1], name=name, device=self.device)
        if not self._tail or len(self._tail[-1].bias) != 1:
            raise ArtefactError(f"{name}: expected two layers or more, the last with one output, found {len(layers)}")
        self._user_layer = Layer(first.weight[:, :d_u].contiguous(), torch.zeros_like(first.bias))
        self._item_layer = Layer(first.weight[:, d_u:].contiguous(), first.bias)
        width = len(first.bias)
        self.user_bytes = 32 * (d_u + sum(len(layer.bias) for layer in (first, *self._tail)))
        self._scratch_pairs = scratch_pairs or (4096 if self.device.type == "cpu" else 1 << 18)
        self._hidden = [Scratch(self.device) for _ in (first, *self._tail)]
        self._scores = Scratch(self.device)
        self._embed_items(width)
        fused = self.device.type == "cuda" if fused is None else fused
        self._look = fused_look(self._tail, self._halves) if fused else self._bfloat16_look(bfloat16)
        self._patience = Patience(cost=_CLOSER_COST)
        cache_bytes = devices.cache_bytes(self.device) if cache_bytes is None else cache_bytes
        self._cache = RowCache(self._exact_items, n_rows=self.n_items, row_bytes=8 * width, cache_bytes=cache_bytes)

    def block(self, users: IntArray) -> UserBlock:
        """See `Scorer.block`. The bound costs as much as one item per user."""
        halves, error = forward_with_error([self._user_layer], to_float32(self._U[users], self.device))
        bound = as_bound(self._error(halves, error))
        return self._first_block(halves, error, bound) or UserBlock(lambda items: self._score(halves, items), bound)

    def in_float32(self, users: IntArray) -> UserBlock:
        """A block without bfloat16, and its closer look: the same scores for scattered pairs."""
        halves, error = forward_with_error([self._user_layer], to_float32(self._U[users], self.device))
        bound = as_bound(self._error(halves, error))
        closer = Closer(lambda places, items: self._score_pairs(halves, places, items), bound)
        return UserBlock(lambda items: self._score(halves, items), bound, closer)

    def exact(self, users: IntArray, items: IntArray) -> npt.NDArray[np.float64]:
        """See `Scorer.exact`."""
        n_at_once = devices.exact_pairs(self.device, self._halves.shape[1])
        return in_chunks(self._exact_pairs, users, items, n_at_once=n_at_once)

    def _bfloat16_look(self, wanted: bool | None) -> MlpLook | None:
        if wanted is None:
            wanted = pays(min(self._halves.shape[1], len(self._tail[0].bias)), self.device)
        return MlpLook(self._tail, self._halves) if wanted and len(self._tail) == 2 and self.n_items else None

    def _embed_items(self, width: int) -> None:
        self._halves = torch.empty(self.n_items, width, device=self.device)
        self._largest_half = torch.full((width,), -torch.inf, dtype=torch.float64, device=self.device)
        self._half_error = torch.zeros(width, dtype=torch.float64, device=self.device)
        for start in range(0, self.n_items, _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            halves, error = forward_with_error([self._item_layer], to_float32(self._V[part], self.device))
            self._halves[part] = halves
            self._largest_half = torch.maximum(self._largest_half, halves.double().amax(0))
            self._half_error = torch.maximum(self._half_error, error.amax(0))

    def _error(self, halves: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
        """Bound on the logit's error over all items, float64 `(block,)`.

        Each hidden unit of a user lies in [0, high], high from the largest item half and the positive weights (interval
        arithmetic); ReLU never enlarges an error.
        """
        high = (halves.double() + self._largest_half).clamp_min(0.0) * (1 + 2 * ROUNDOFF)
        error = (error + self._half_error + ROUNDOFF * high) * SLACK
        for weight, bias in self._tail:
            after = linear_error(gamma(weight.shape[1]), high, error, weight, bias)
            high = (high @ weight.double().clamp_min(0.0).t() + bias.double()).clamp_min(0.0) + after
            error = after
        return error[:, 0]

    def _first_block(self, halves: torch.Tensor, error: torch.Tensor, bound: torch.Tensor) -> UserBlock | None:
        """A block that begins in 16 bits; None where that isn't wanted, or wouldn't leave enough out."""
        look = self._look
        if look is None or self._patience.lost:
            return None
        users, wide = look.users(halves, error + self._half_error)
        first = as_bound(wide)
        if not bool((first.isfinite() & bound.isfinite()).all()):  # a broken vector, which a maximum of bits would hide
            return None
        tried = slice(0, _USERS_TRIED)
        self._patience.try_on(lambda items: self._score_first(look, users[tried], items), first[tried], self.n_items)
        if self._patience.lost:
            return None
        closer = Closer(lambda places, items: self._score_closer(halves, places, items), bound)
        return UserBlock(lambda items: self._score_first(look, users, items), first, closer)

    def _score(self, user_halves: torch.Tensor, items: ItemRows) -> torch.Tensor:
        item_halves = self._halves[items]
        scores = self._scores.take(len(user_halves), len(item_halves))
        n_items = max(1, min(len(item_halves), self._scratch_pairs))
        n_users = max(1, self._scratch_pairs // n_items)
        # Items outside, users inside: a tile of item halves stays in the cache while every user passes over it.
        for i in range(0, len(item_halves), n_items):
            for u in range(0, len(user_halves), n_users):
                target = scores[u : u + n_users, i : i + n_items]
                target.copy_(
                    self._logits(user_halves[u : u + n_users], item_halves[i : i + n_items]).view(target.shape)
                )
        return scores

    def _score_first(self, look: MlpLook | FusedLook, users: torch.Tensor, items: ItemRows) -> torch.Tensor:
        rows = range(*items.indices(self.n_items)) if isinstance(items, slice) else items
        scores = self._scores.take(len(users), len(rows))
        for start in range(0, len(rows), self._scratch_pairs):
            part = rows[start : start + self._scratch_pairs]
            chosen = slice(part.start, part.stop) if isinstance(part, range) else part
            look.logits(users, chosen, scores[:, start : start + self._scratch_pairs])
        self._patience.n_first += scores.numel()
        return scores

    def _score_closer(self, user_halves: torch.Tensor, places: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        self._patience.n_closer += len(places)
        return self._score_pairs(user_halves, places, items)

    def _score_pairs(self, user_halves: torch.Tensor, places: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """Float32 logits of scattered pairs `(m,)`."""
        scores = torch.empty(len(places), device=self.device)
        for start in range(0, len(places), self._scratch_pairs):
            part = slice(start, start + self._scratch_pairs)
            hidden = user_halves[places[part]].add_(self._halves[items[part]])
            scores[part] = self._forward(hidden)[:, 0]
        return scores

    def _logits(self, user_halves: torch.Tensor, item_halves: torch.Tensor) -> torch.Tensor:
        """Logits of users x items, `(users * items, 1)`, in a scratch buffer."""
        n_users, n_items, width = len(user_halves), len(item_halves), item_halves.shape[1]
        x = self._hidden[0].take(n_users * n_items, width)
        torch.add(item_halves, user_halves[:, None, :], out=x.view(n_users, n_items, width))
        return self._forward(x)

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layers after the halves, float32 `(m, width)` -> `(m, 1)` in a scratch buffer; `x` is overwritten."""
        for (weight, bias), scratch in zip(self._tail, self._hidden[1:], strict=True):
            x = torch.addmm(bias, x.relu_(), weight.t(), out=scratch.take(len(x), len(bias)))
        return x

    def _exact_items(self, items: IntArray) -> torch.Tensor:
        return forward_in_order([self._item_layer], to_float32(self._V[items], self.device).double())

    def _exact_pairs(self, users: IntArray, items: IntArray) -> torch.Tensor:
        user_rows, user_at = np.unique(users, return_inverse=True)
        item_rows, item_at = np.unique(items, return_inverse=True)
        user_halves = forward_in_order([self._user_layer], to_float32(self._U[user_rows], self.device).double())
        item_halves = self._cache.rows(item_rows)
        u_at, i_at = (torch.from_numpy(at).to(self.device) for at in (user_at, item_at))
        hidden = (user_halves[u_at] + item_halves[i_at]).clamp_min_(0.0)
        return forward_in_order(self._tail, hidden)[:, 0]
