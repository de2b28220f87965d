"""Signals: what each of them says of items, for a block of users.

Each is one sparse product whose sums have one order, whatever the block and the threads: the same bits for a pair.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from recsys_polars.two_stage.past import Csr, Floats, Past, Rows
from recsys_polars.two_stage.regression import Regression

WINDOWS = (0.01, 0.02, 0.05, 0.15, 0.5)
"""How fast counts fade: the age at which a like counts 1 / e."""
RECENT, LATELY = 0.05, 0.2
"""How fast a user's history fades."""
PENALTY = 300.0
"""Of EASE."""
MAX_TERMS = 50_000
DIMENSIONS = 64


class Scores(NamedTuple):
    """What a signal says for a block of users; 0 or less: nothing speaks for the item."""

    all: Callable[[], Floats]
    """Of every item, shape (block, n_items)."""
    at: Callable[[Rows, Rows], Floats]
    """Of pairs: places in the block (n,), item rows (n,) -> (n,)."""


Family = Callable[[Rows], Mapping[str, Scores]]
"""User rows (block,) -> the scores of each of some signals that share their work."""


def families_of(past: Past) -> list[Family]:
    """Return every signal; the names that a family gives, and their order, are always the same."""
    histories = {"": past.likes, "_recent": _faded(past, RECENT), "_lately": _faded(past, LATELY)}
    two = {name: histories[name] for name in ("", "_recent")}
    per_item = {f"popularity_{window:g}": popularity(past, window) for window in WINDOWS}
    similar = sparse.csr_array(normalize(past.likes, axis=0).T)
    terms = term_vectors(past)
    vectors = {"cooccurrence": _cooccurrence(past), **past.catalogue.vectors}
    return [
        partial(_of_items, {**per_item, "popularity": popularity(past, None)}),
        partial(_products, "cosine", histories, lambda history: history @ similar, similar),
        partial(_products, "text", two, lambda history: normalize(history @ terms), terms),
        partial(_regressed, two, Regression(past.likes, PENALTY)),
        *(_of_vectors(name, two, rows) for name, rows in vectors.items()),
        *(_of_groups(column, groups, past, two) for column, groups in past.catalogue.groups.items()),
    ]


def popularity(past: Past, window: float | None) -> NDArray[np.float64]:
    """Return the likes of each item, each exp(-age / window), or 1 without one; shape (n_items,)."""
    ages = past.like_ages
    weights = None if window is None else np.exp(-ages.data.astype(np.float64) / window)
    return np.bincount(ages.indices, weights, minlength=ages.shape[1]).astype(np.float64)


def term_vectors(past: Past) -> Csr:
    """Return each item's text as a TF-IDF row of length 1, words and weights as of the known items."""
    texts = np.asarray(past.catalogue.texts, dtype=object)
    words = TfidfVectorizer(sublinear_tf=True, max_features=MAX_TERMS, dtype=np.float32)
    try:
        words.fit(texts[past.n_users > 0])
    except ValueError:  # scikit-learn found no word in any known item
        return sparse.csr_array((len(texts), 1), dtype=np.float32)
    return sparse.csr_array(words.transform(texts))


def _faded(past: Past, window: float) -> Csr:
    faded = past.likes.copy()
    faded.data = np.exp(-past.like_ages.data / np.float32(window))
    return faded


def _of_items(scores: Mapping[str, NDArray[np.float64]], users: Rows) -> dict[str, Scores]:
    """The same for every user."""

    def of(row: Floats) -> Scores:
        return Scores(lambda: np.broadcast_to(row, (len(users), len(row))), lambda _, items: row[items])

    return {name: of(one.astype(np.float32)) for name, one in scores.items()}


def _products(
    signal: str, histories: Mapping[str, Csr], profile: Callable[[Csr], Csr], of_items: Csr, users: Rows
) -> dict[str, Scores]:
    """The products of items with the profiles that several histories give.

    Args:
        signal: its name, to which those of the histories are added.
        histories: likes and their weights, shape (n_users, n_items).
        profile: histories of a block (block, n_items) -> profiles, shape (block, d).
        of_items: shape (n_items, d).
        users: user rows.
    """
    profiles = sparse.vstack([profile(history[users]) for history in histories.values()]).toarray()
    # Items first: one pass over them serves the whole block, and each sum still goes by the order of the item's row.
    scores = np.ascontiguousarray((of_items @ np.ascontiguousarray(profiles.T)).T)
    blocks = np.split(scores, len(histories))
    return {f"{signal}{name}": _dense(block) for name, block in zip(histories, blocks, strict=True)}


def _dense(scores: Floats) -> Scores:
    return Scores(lambda: scores, lambda places, items: scores[places, items])


def _regressed(histories: Mapping[str, Csr], regression: Regression, users: Rows) -> dict[str, Scores]:
    """What EASE says of several histories."""
    return {f"regression{name}": _dense(regression.scores(history[users])) for name, history in histories.items()}


def _of_vectors(name: str, histories: Mapping[str, Csr], vectors: Floats) -> Family:
    """The dot product of each item's vector with the mean vector of what the user liked."""
    rows = sparse.csr_array(vectors)
    return partial(_products, name, histories, lambda history: normalize(history, norm="l1") @ rows, rows)


def _cooccurrence(past: Past) -> Floats:
    """Item vectors of a truncated SVD of the likes, users of length 1 and items over the root of their count.

    Users and items without likes, such as those that come later, have no say in it, and items have zeros. So have all
    where there are too few of either.
    """
    n_likes = popularity(past, None)
    liked = np.flatnonzero(n_likes)
    likes, counts = past.likes[np.diff(past.likes.indptr) > 0][:, liked], n_likes[liked]
    n_dimensions = min(DIMENSIONS, *(size - 1 for size in likes.shape))
    if n_dimensions < 2:
        return np.zeros((len(n_likes), 1), dtype=np.float32)
    scaled = (normalize(likes) @ sparse.diags_array(1 / np.sqrt(counts))).astype(np.float32)
    with threadpool_limits(limits=1), np.errstate(invalid="ignore"):
        vectors = TruncatedSVD(n_dimensions, random_state=0).fit(scaled).components_.T
    rows = np.zeros((len(n_likes), n_dimensions), dtype=np.float32)
    rows[liked] = vectors * counts[:, None] ** 0.25
    return rows


def _of_groups(column: str, groups: Rows, past: Past, histories: Mapping[str, Csr]) -> Family:
    """How much the user liked of an item's group, and that times the item's share of the group's recent popularity."""
    n_items, n_groups = len(groups), int(groups.max()) + 1
    members = sparse.csr_array(
        (np.ones(n_items, dtype=np.float32), (np.arange(n_items), groups)), shape=(n_items, n_groups)
    )
    recent = popularity(past, RECENT)
    of_group = np.bincount(groups, recent, minlength=n_groups)
    shares = (recent / np.where(of_group > 0, of_group, 1)[groups]).astype(np.float32)

    def family(users: Rows) -> dict[str, Scores]:
        counts = {name: (history[users] @ members).toarray() for name, history in histories.items()}
        signals = {f"{column}_count{name}": _spread(count, groups) for name, count in counts.items()}
        return {**signals, f"{column}_share": _spread(counts[""], groups, shares)}

    return family


def _spread(counts: Floats, groups: Rows, weights: Floats | None = None) -> Scores:
    """The count of each item's group, shape (block, n_groups), times the item's weight."""

    def at(places: Rows, items: Rows) -> Floats:
        found = counts[places, groups[items]]
        return found if weights is None else found * weights[items]

    return Scores(lambda: counts[:, groups] if weights is None else counts[:, groups] * weights, at)
