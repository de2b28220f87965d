"""The ranking loop, written once for all models: blocks of users x tiles of items -> blocks of exact lists."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from recsys_polars.errors import InputError
from recsys_polars.ranking import devices
from recsys_polars.ranking.items import ItemAxis, seen_mask, seen_pairs
from recsys_polars.ranking.order import broken_score, stored_scores, top_of_each
from recsys_polars.ranking.protocol import IntArray, Scorer, SparseRows, TopK
from recsys_polars.ranking.shortlist import Shortlist
from recsys_polars.ranking.threads import mapped

_SMALLEST_TILE = 256
_PENDING_BYTES = 96  # of a shortlist, per pair: on the device, on the host, sorted


class BlockSizes(NamedTuple):
    """How a ranking is cut into pieces. It changes the time and the memory, never the lists."""

    users: int
    """Users in a block."""
    items: int
    """Items in a tile."""
    pending: int
    """Pairs that a shortlist may hold before it is settled."""
    threads: int = 1
    """Blocks that are ranked side by side; a single one is shared by all threads of torch."""


def rank_blocks(
    scorer: Scorer,
    users: IntArray,
    *,
    k: int = 10,
    seen: SparseRows | None = None,
    candidates: IntArray | None = None,
    memory_bytes: int = 512 << 20,
    sizes: BlockSizes | None = None,
) -> Iterator[TopK]:
    """The k best items of each user, block by block, exactly.

    The order is total: the canonical float64 score, rounded to float32, descending; then the item row ascending. It
    doesn't depend on sizes, threads or device. A killed ranking goes on with `users[stop:]` of the last block that it
    wrote.

    Args:
        scorer: the model.
        users: user rows, ranked in this order.
        k: length of a list; shorter where a user has fewer items left.
        seen: per user row, items that aren't recommended to that user.
        candidates: the only items to recommend, strictly ascending rows; all without it.
        memory_bytes: for the loop's buffers (not for what the scorer holds anyway). Too little still works, slowly.
        sizes: overrules what `memory_bytes` leads to.

    Returns:
        One `TopK` per block of users, each computed when it is asked for.

    Raises:
        InputError: rows out of range, candidates out of order, or k below 1: at the call, before any work.
        ArtefactError: a score that isn't finite, when it is met; it names the scorer.

    Example:
        >>> scorer = rp.DotScorer(np.eye(2, dtype=np.float32), np.array([[1, 0], [2, 1], [0, 3]], dtype=np.float32))
        >>> np.concatenate([top.items for top in rp.rank_blocks(scorer, np.array([0, 1]), k=2)]).tolist()
        [1, 0, 2, 1]
    """
    users = np.asarray(users).astype(np.int64)
    _check(scorer, users, k, seen, candidates)
    axis = ItemAxis(scorer.n_items, candidates, scorer.device)
    k = max(1, min(k, axis.n_positions))
    sizes = sizes or block_sizes(scorer, n_users=len(users), n_items=axis.n_positions, k=k, memory_bytes=memory_bytes)
    if scorer.user_invariant:
        return _rank_once(scorer, users, axis, k, seen, sizes)
    return _rank_each(scorer, users, axis, k, seen, sizes)


def block_sizes(scorer: Scorer, *, n_users: int, n_items: int, k: int, memory_bytes: int) -> BlockSizes:
    """Sizes that fit: half of a thread's memory for a tile of scores and the users' side, half for the shortlist."""
    one_by_one = scorer.threads_share_blocks or scorer.device.type != "cpu"
    n_threads = 1 if one_by_one else min(torch.get_num_threads(), max(1, n_users))
    half = memory_bytes // n_threads // 2
    pending = max(1024, half // _PENDING_BYTES)
    per_user = scorer.user_bytes + 8 * k
    smallest_tile = min(max(1, n_items), _SMALLEST_TILE)
    score_bytes = devices.score_bytes(scorer.device)
    by_memory = min(half // (per_user + smallest_tile * score_bytes), pending // (2 * k))
    block = int(np.clip(min(by_memory, -(-n_users // n_threads)), 1, scorer.block_users))
    by_memory = (half // block - per_user) // score_bytes
    by_cache = devices.tile_scores(scorer.device) // block
    tile = int(np.clip(min(by_memory, by_cache), smallest_tile, max(1, n_items)))
    return BlockSizes(block, tile, pending, n_threads)


def _rank_each(
    scorer: Scorer, users: IntArray, axis: ItemAxis, k: int, seen: SparseRows | None, sizes: BlockSizes
) -> Iterator[TopK]:
    """Lists of a scorer that tells users apart."""

    def ranked(start: int) -> TopK:
        block = users[start : start + sizes.users]
        with torch.no_grad():
            places, positions, scores, ranks = _rank_block(scorer, block, axis, k, seen, sizes)
        return TopK(start, start + len(block), block[places], axis.items(positions), scores, ranks.astype(np.uint32))

    yield from mapped(ranked, range(0, len(users), sizes.users), n_threads=sizes.threads)


def _rank_block(
    scorer: Scorer, users: IntArray, axis: ItemAxis, k: int, seen: SparseRows | None, sizes: BlockSizes
) -> tuple[IntArray, IntArray, np.ndarray, IntArray]:
    block = scorer.block(users)
    mask = seen_mask(seen, users, axis)
    is_finite = bool(block.bound.isfinite().all())
    shortlist = Shortlist(scorer, users, block, axis, k=k, capacity=sizes.pending)
    for start in range(0, axis.n_positions, sizes.items):
        rows = axis.rows(start, min(start + sizes.items, axis.n_positions))
        scores = block.score(rows)
        if not is_finite:
            _check_finite(scorer, users, axis, scores, start)
        mask.hide(scores, start)
        shortlist.offer(scores, start)
    return shortlist.top()


def _rank_once(
    scorer: Scorer, users: IntArray, axis: ItemAxis, k: int, seen: SparseRows | None, sizes: BlockSizes
) -> Iterator[TopK]:
    """Lists of a user-invariant scorer: one list of all items, and each user's first k that they haven't seen."""
    if not len(users):
        return
    everyone = np.arange(axis.n_positions)
    items = axis.items(everyone)
    scores = stored_scores(scorer, np.full(len(items), users[0]), items)
    order, _ = top_of_each(np.zeros_like(everyone), everyone, scores, len(everyone))
    rank_of = np.empty_like(order)
    rank_of[order] = everyone
    for start in range(0, len(users), sizes.users):
        block = users[start : start + sizes.users]
        lists = [_first_unseen(rank_of, seen_of, len(order), k) for seen_of in _seen_positions(seen, block, axis)]
        chosen = order[np.concatenate(lists)]
        counts = [len(one) for one in lists]
        ranks = np.concatenate([np.arange(1, count + 1, dtype=np.uint32) for count in counts])
        yield TopK(start, start + len(block), np.repeat(block, counts), items[chosen], scores[chosen], ranks)


def _seen_positions(seen: SparseRows | None, users: IntArray, axis: ItemAxis) -> list[IntArray]:
    """Per user, the positions on the axis of what they have seen."""
    places, items = seen_pairs(seen, users)
    positions = axis.positions(items)
    places, positions = places[positions >= 0], positions[positions >= 0]
    return np.split(positions, np.searchsorted(places, np.arange(1, len(users))))


def _first_unseen(rank_of: IntArray, seen_positions: IntArray, n_items: int, k: int) -> IntArray:
    """Places, in the list of all items, of the first k that aren't seen.

    The unseen item number j stands j + (seen items before it) places down the list; the seen item number t, at place
    s_t, stands before it exactly where s_t - t <= j.
    """
    gone = np.unique(rank_of[seen_positions])
    wanted = np.arange(min(k, n_items - len(gone)))
    return wanted + np.searchsorted(gone - np.arange(len(gone)), wanted, side="right")


def _check_finite(scorer: Scorer, users: IntArray, axis: ItemAxis, scores: torch.Tensor, start: int) -> None:
    if bool(scores.isfinite().all()):
        return
    place, column = (~scores.isfinite()).nonzero()[0].tolist()
    item = axis.items(np.array([start + column]))[0]
    raise broken_score(scorer.name, int(users[place]), int(item), float(scores[place, column]))


def _check(scorer: Scorer, users: IntArray, k: int, seen: SparseRows | None, candidates: IntArray | None) -> None:
    if k < 1:
        raise InputError(f"k: expected 1 or more, found {k}")
    _check_rows("users", users, scorer.n_users)
    if seen is not None:
        if len(seen.indptr) != scorer.n_users + 1:
            raise InputError(f"seen: expected {scorer.n_users + 1} offsets, found {len(seen.indptr)}")
        _check_rows("seen", seen.indices, scorer.n_items)
    if candidates is not None:
        _check_rows("candidates", candidates, scorer.n_items)
        if bool((np.diff(candidates) <= 0).any()):
            raise InputError("candidates: expected strictly ascending item rows, found some out of order or twice")


def _check_rows(what: str, rows: IntArray, n_rows: int) -> None:
    if len(rows) and (int(rows.min()) < 0 or int(rows.max()) >= n_rows):
        raise InputError(f"{what}: expected rows from 0 to {n_rows - 1}, found {rows.min()} to {rows.max()}")
