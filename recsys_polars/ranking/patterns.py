"""Item patterns: which of a tree's leaves an item can lead to, and trees that share a table of them."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from recsys_polars.ranking.protocol import IntArray

JOINT_ROWS = 512  # of a shared table: more trees at once, and yet little to compute for a block of users
_SAMPLE = 2048  # items by which trees are matched
_PARTNERS = 100  # trees that are looked at for the next partner


class Patterns(NamedTuple):
    """The distinct patterns of all trees, and the joint patterns of groups of trees.

    An item's sum over all trees is the sum of its joint rows; a joint row is the sum of the rows of its trees.
    """

    tree: npt.NDArray[np.int64]
    """Per row (a distinct pattern of a tree): the tree, ascending."""
    bits: npt.NDArray[np.int32]
    """Per row: the pattern."""
    members: npt.NDArray[np.int32]
    """Rows that the joint rows add up, joint row after joint row."""
    offsets: npt.NDArray[np.int32]
    """Per joint row: where its members begin."""
    codes: npt.NDArray[np.int32]
    """Joint rows of each item, `(n_items, n_groups)`."""


class _Column(NamedTuple):
    """A code per item; each code stands for some rows, one of each tree of a group."""

    codes: npt.NDArray[np.int64]
    """`(n_items,)`, all numbers below `len(rows)` in use."""
    rows: npt.NDArray[np.int64]
    """`(n_codes, n_trees of the group)`."""


def joint_patterns(item_bits: IntArray, *, most_rows: int = JOINT_ROWS) -> Patterns:
    """Number the patterns of `item_bits`, `(n_items, n_trees)`, and group trees with at most `most_rows` joint ones."""
    columns, tree, bits = [], [], []
    n_before = 0
    for number, column in enumerate(item_bits.T):
        distinct, at = np.unique(column, return_inverse=True)
        columns.append(_Column(at, np.arange(n_before, n_before + len(distinct))[:, None]))
        tree.append(np.full(len(distinct), number))
        bits.append(distinct)
        n_before += len(distinct)
    groups = _grouped(columns, most_rows)
    sizes = np.concatenate([np.full(len(group.rows), group.rows.shape[1]) for group in groups])
    starts = np.cumsum([0, *(len(group.rows) for group in groups[:-1])])
    codes: npt.NDArray[np.int32] = np.empty((len(item_bits), len(groups)), dtype=np.int32)
    for place, (group, start) in enumerate(zip(groups, starts, strict=True)):
        codes[:, place] = group.codes + start
    members = np.concatenate([group.rows.ravel() for group in groups]).astype(np.int32)
    offsets = (np.cumsum(sizes) - sizes).astype(np.int32)
    return Patterns(np.concatenate(tree), np.concatenate(bits).astype(np.int32), members, offsets, codes)


def _grouped(columns: list[_Column], most_rows: int) -> list[_Column]:
    """Join columns, the widest left first, each with the partner that adds the fewest rows, while these fit."""
    left = sorted(columns, key=lambda column: len(column.rows))
    groups = []
    while left:
        group = left.pop()
        while (partner := _best_partner(group, left[:_PARTNERS], most_rows)) is not None:
            joint = _joined(group, left[partner])
            if len(joint.rows) > most_rows:
                break
            group = joint
            del left[partner]
        groups.append(group)
    return groups


def _best_partner(group: _Column, candidates: list[_Column], most_rows: int) -> int | None:
    """The place of the candidate with the fewest joint rows on a sample of the items; None where too many."""
    every = max(1, len(group.codes) // _SAMPLE)
    counts = [
        np.count_nonzero(np.bincount(group.codes[::every] * len(other.rows) + other.codes[::every]))
        for other in candidates
        if len(group.rows) <= most_rows and len(other.rows) <= most_rows
    ]
    if not counts or min(counts) > most_rows:
        return None
    return int(np.argmin(counts))


def _joined(one: _Column, other: _Column) -> _Column:
    pairs = one.codes * len(other.rows) + other.codes
    found = np.flatnonzero(np.bincount(pairs, minlength=1))
    first, second = np.divmod(found, len(other.rows))
    return _Column(np.searchsorted(found, pairs), np.hstack([one.rows[first], other.rows[second]]))


def first_of_each_kind(item_bits: IntArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(Per kind, its first item; per item, its kind): items of a kind are alike in all trees."""
    kinds: dict[bytes, int] = {}
    kind = np.array([kinds.setdefault(row.tobytes(), len(kinds)) for row in item_bits], dtype=np.int64)
    return np.unique(kind, return_index=True)[1], kind
