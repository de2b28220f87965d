"""First looks in bfloat16: about twice as fast as float32 where the CPU has instructions for it, with proven bounds.

What goes in is rounded once, and how much that lost is measured rather than estimated. Writing |x| for absolute
values, a score is off by what the inputs lost, by the sum's own error, and by its rounding to bfloat16.
"""

from collections.abc import Callable, Sequence

import torch

from recsys_polars.ranking.layers import Layer, Scratch
from recsys_polars.ranking.protocol import ItemRows
from recsys_polars.ranking.rounding import BFLOAT16_ROUNDOFF, ROUNDOFF, SLACK, UNDERFLOW, gamma, gamma_bfloat16

_NARROWEST = 32  # below it, rounding and copying cost more than the product saves
_ROWS_AT_ONCE = 8192
_SAMPLE = 4096  # items
_BEST = 10  # of them, whatever k is: a guess


def pays(width: int, device: torch.device) -> bool:
    """Whether bfloat16 is likely faster for products of this width: it is on a CPU made for it."""
    return width >= _NARROWEST and device.type == "cpu" and _has_bfloat16()


def _has_bfloat16() -> bool:
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 - nothing public says it
    except (AttributeError, RuntimeError):
        return False


class Patience:
    """Gives a first look up for good where it leaves more than one pair in `cost` over, or would.

    Args:
        cost: of a closer score, in first ones.
    """

    def __init__(self, *, cost: int) -> None:
        self._cost, self.n_first, self.n_closer, self._tried = cost, 0, 0, False

    @property
    def lost(self) -> bool:
        """Too many pairs needed a closer look."""
        return self.n_closer * self._cost > self.n_first

    def try_on(self, score: Callable[[ItemRows], torch.Tensor], bound: torch.Tensor, n_items: int) -> None:
        """Look, once, how many items of a sample the first scores of some users can't tell from the best.

        To find that out by ranking would take many times as long as ranking without a first look.
        """
        if self._tried or n_items < _SAMPLE:
            return
        self._tried = True
        scores = score(slice(0, _SAMPLE)).float()
        best = scores.topk(_BEST, dim=1).values[:, -1:]
        self.n_first, self.n_closer = scores.numel(), int((scores >= best - 2 * bound[:, None]).sum())


class DotLook:
    """Dot products u . v + bias. The bias is one more column, which the users have a one for.

    Args:
        item_vectors: V, float32 `(n_items, d)`.
        item_bias: float32 `(n_items,)`.
    """

    def __init__(self, item_vectors: torch.Tensor, item_bias: torch.Tensor | None) -> None:
        self._with_bias = item_bias is not None
        bias = item_vectors[:, :0] if item_bias is None else item_bias[:, None]
        self._items = torch.cat([item_vectors.bfloat16(), bias.bfloat16()], dim=1)
        self._scores = Scratch(item_vectors.device, torch.bfloat16)
        self._norm = self._lost = 0.0
        for start in range(0, len(item_vectors), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            exact, rough = torch.cat([item_vectors[part], bias[part]], dim=1).double(), self._items[part].double()
            self._norm = max(self._norm, float(rough.norm(dim=1).max()))
            self._lost = max(self._lost, float((rough - exact).norm(dim=1).max()))

    def users(self, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Users U, float32 `(block, d)`, as `score` takes them, and the bound of their scores, float64 `(block,)`.

        |u'.v' - u.v| <= |u' - u| |v'| + |u| |v' - v|, by norms.
        """
        if self._with_bias:
            vectors = torch.cat([vectors, vectors.new_ones(len(vectors), 1)], dim=1)
        rough = vectors.bfloat16()
        exact, norm = vectors.double(), rough.double().norm(dim=1)
        lost = (rough.double() - exact).norm(dim=1)
        inputs = lost * self._norm + exact.norm(dim=1) * self._lost
        sums = gamma_bfloat16(rough.shape[1]) * norm * self._norm
        rounding = BFLOAT16_ROUNDOFF * (norm * self._norm + sums)
        return rough.t().contiguous(), (inputs + sums + rounding) * SLACK + UNDERFLOW

    def score(self, users: torch.Tensor, items: ItemRows) -> torch.Tensor:
        """Scores, bfloat16 `(block, n)`, item by item in memory."""
        vectors = self._items[items]
        return torch.mm(vectors, users, out=self._scores.take(len(vectors), users.shape[1])).t()


class MlpLook:
    """Logits w . relu(W relu(A_u + B_i) + b) + b' of a network with two layers after the halves A and B.

    relu(A + B) = max(A + c, c - B) + B - c for any c. With c the largest B of each hidden unit, c - B isn't negative,
    so that the maximum is one of integers: bfloat16 numbers order as their bits do, but for two negative ones. What is
    left per pair is that maximum M and the product W M; W (B - c) + b is added to it, and is computed once an item.
    M lies around a centre m, known beforehand: the product is rounded less its value there, and what W lost is put
    back there.

    Args:
        tail: the two layers, `(width -> middle)` and `(middle -> 1)`.
        item_halves: B, float32 `(n_items, width)`, one or more.
    """

    def __init__(self, tail: Sequence[Layer], item_halves: torch.Tensor) -> None:
        (weight, bias), (last, self._last_bias) = tail
        device = item_halves.device
        self._last = last[0]
        self._hidden, self._product = (Scratch(device, torch.bfloat16) for _ in range(2))
        self._middle = Scratch(device)
        self._shift = item_halves.amax(0).double()
        self._centre = self._shift - item_halves.mean(0, dtype=torch.float64)
        w, rough, s = weight.double(), weight.bfloat16().double(), self._last.double().abs()
        self._weight = weight.bfloat16().t().contiguous()
        self._at_centre = (-rough @ self._centre).bfloat16()
        self._mass = s @ rough.abs()
        self._through, self._off, self._exact_through = (
            _most_moved(self._last.double(), part) for part in (rough, w - rough, w)
        )
        at_centre = self._at_centre.double()
        self._centre_lost = s @ (rough @ self._centre + at_centre).abs()
        self._centre_mass = self._mass @ self._centre.abs() + s @ at_centre.abs()
        constant = (w - rough) @ self._centre - at_centre + bias.double()
        self._items = torch.empty_like(item_halves, dtype=torch.bfloat16)
        self._rest = torch.empty(len(item_halves), len(bias), device=device)
        self._most = torch.zeros(5, dtype=torch.float64, device=device)
        for start in range(0, len(item_halves), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            below = self._shift - item_halves[part].double()
            self._items[part] = below.bfloat16()
            rest = constant - below @ w.t()
            self._rest[part] = rest
            lost, far = (self._items[part].double() - below).abs(), (below - self._centre).abs()
            most = (lost @ self._through, far @ self._off, lost @ self._mass, far @ self._mass, rest.abs() @ s)
            self._most = torch.maximum(self._most, torch.stack(most).amax(1))

    def users(self, user_halves: torch.Tensor, error: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Users as `logits` takes them, and the bound of their logits over all items, float64 `(block,)`.

        M is A + c or c - B: so |M' - M|, and |M - m|, are at most the user's share and the largest item's together.
        What follows is how far the logit is moved by what the inputs of the product lost, and its weight
        (`_most_moved`); then, weighted by |w|, by its sum's error, its rounding, the float32 steps after it; and by
        the error that A and B had from the beginning.

        Args:
            user_halves: A, float32 `(block, width)`.
            error: of A and B together, float64 `(block, width)`.
        """
        above = user_halves.double() + self._shift
        rough = above.bfloat16()
        lost, far = (rough.double() - above).abs(), (above - self._centre).abs()
        through, off, lost_mass, far_mass, rest = self._most
        inputs = lost @ self._through + through
        weights = far @ self._off + off
        spread = (far + lost) @ self._mass + far_mass + lost_mass
        sums = gamma_bfloat16(user_halves.shape[1] + 1) * (self._centre_mass + spread)
        product = spread + self._centre_lost + sums
        rounding = BFLOAT16_ROUNDOFF * product
        middle = 4 * ROUNDOFF * (product + rounding + rest)
        mass = product + rounding + rest + middle + self._last_bias.double().abs()
        before = inputs + weights + sums + rounding + middle + error @ self._exact_through
        return rough, (before + gamma(len(self._last)) * mass) * SLACK + UNDERFLOW

    def logits(self, users: torch.Tensor, items: ItemRows, out: torch.Tensor) -> None:
        """Write the logits of `users`, bfloat16 `(block, width)`, with `items` to `out` `(block, n)`."""
        below, rest = self._items[items].view(torch.int16), self._rest[items]
        hidden = self._hidden.take(*below.shape)
        product, middle = self._product.take(*rest.shape), self._middle.take(*rest.shape)
        for user, target in zip(users.view(torch.int16), out, strict=True):
            torch.maximum(below, user, out=hidden.view(torch.int16))
            torch.addmm(self._at_centre, hidden, self._weight, out=product)
            middle.copy_(product).add_(rest).relu_()
            torch.addmv(self._last_bias, middle, self._last, out=target)


def _most_moved(last: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """How far w . relu(W h + b) moves at most where h_k moves by one, `(width,)`.

    ReLU passes on between none and all of what its input moves by: so either all positive w_j W_jk add up, or all
    negative ones.
    """
    products = last[:, None] * weight
    return torch.maximum(products.clamp_min(0.0).sum(0), (-products).clamp_min(0.0).sum(0))
