"""The Triton kernel of `fused.FusedLook`. Imported only where it is wanted: Triton comes with CUDA's torch alone.

No GPU has run it. Its sizes were reasoned, and read from what Triton 3.9 compiles for an H100 (sm_90) at 256 -> 64 ->
1: a program takes 32 items x 8 users, so that an item half that was read once serves all of these users. The hidden
activations are made in the registers that the tensor cores read: they meet neither shared nor device memory. 32 hidden
units at a time take 127 registers a thread, none spilled, and 22 kB: two programs fit a multiprocessor, and one
computes while the other waits (64 at a time take 152, and leave room for one). Instructions to issue come to some 14
cycles a pair, shared memory to about as many, the tensor cores to 8: 0.4 to 1 s for 5.8 billion pairs. Users come first
in the grid, so that programs that run together share items: the users' side of a block (4 MB) stays in the L2 cache,
the items' side is read once.
"""

import torch
import triton
import triton.language as tl

from recsys_polars.ranking.fused import Network
from recsys_polars.ranking.protocol import ItemRows

_ITEMS = 32
_MOST_USERS = 8
_SUMS = 1 << 14  # of a program, in float32: 64 registers of each thread
_CHUNK = 32  # hidden units at a time


@triton.jit(do_not_specialize=["start", "n_users", "n_items"])  # type: ignore[untyped-decorator, unused-ignore]
def _logits(  # type: ignore[no-untyped-def]
    users, halves, rows, weight, bias, last, out, unit, last_bias, out_stride, start, n_users, n_items,
    WIDTH: tl.constexpr, MIDDLE: tl.constexpr, CHUNK: tl.constexpr, USERS: tl.constexpr, ITEMS: tl.constexpr,
    INDEXED: tl.constexpr,
):  # fmt: skip
    n_groups = tl.cdiv(n_users, USERS)
    user = tl.program_id(0) % n_groups * USERS + tl.arange(0, USERS)
    item = tl.program_id(0) // n_groups * ITEMS + tl.arange(0, ITEMS)
    is_user, is_item = user < n_users, item < n_items
    row = tl.load(rows + item, mask=is_item, other=0) if INDEXED else (start + item).to(tl.int64)
    one_chunk, middle = tl.arange(0, CHUNK), tl.arange(0, MIDDLE)
    sums = tl.zeros([USERS * ITEMS, MIDDLE], dtype=tl.float32)
    for first in range(0, WIDTH, CHUNK):
        k = first + one_chunk
        a = tl.load(users + user[:, None] * WIDTH + k[None, :], mask=is_user[:, None], other=0.0)
        b = tl.load(halves + row[:, None] * WIDTH + k[None, :], mask=is_item[:, None], other=0.0)
        w = tl.load(weight + k[:, None] * MIDDLE + middle[None, :])
        hidden = tl.maximum(a[:, None, :] + b[None, :, :], 0.0).to(tl.float16)
        sums = tl.dot(tl.reshape(hidden, [USERS * ITEMS, CHUNK]), w, sums)
    after = tl.maximum(sums * unit + tl.load(bias + middle)[None, :], 0.0) * tl.load(last + middle)[None, :]
    logits = tl.reshape(tl.sum(after, 1), [USERS, ITEMS]) + last_bias
    place = user.to(tl.int64)[:, None] * out_stride + item[None, :]
    tl.store(out + place, logits, mask=is_user[:, None] & is_item[None, :])


def logits(users: torch.Tensor, halves: torch.Tensor, items: ItemRows, network: Network, out: torch.Tensor) -> None:
    """See `fused.Kernel`."""
    (n_users, n_items), (width, middle) = out.shape, network.weight.shape
    if not n_users or not n_items:
        return
    is_slice = isinstance(items, slice)
    start, rows = (items.start, halves) if isinstance(items, slice) else (0, items)  # of a slice, no row is read
    n_at_once = min(_MOST_USERS, max(1, _SUMS // (_ITEMS * middle)))
    with torch.cuda.device_of(users):  # type: ignore[no-untyped-call]
        _logits[triton.cdiv(n_users, n_at_once) * triton.cdiv(n_items, _ITEMS),](
            users, halves, rows, network.weight, network.bias, network.last, out, network.unit, network.last_bias,
            out.stride(0), start, n_users, n_items,
            WIDTH=width, MIDDLE=middle, CHUNK=min(_CHUNK, width), USERS=n_at_once, ITEMS=_ITEMS, INDEXED=not is_slice,
            num_warps=8, maxnreg=128, enable_fp_fusion=True,
        )  # fmt: skip
