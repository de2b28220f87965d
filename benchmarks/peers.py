"""Other ways to rank, each by its plain definition: what users liked before a cut -> scores of every item.

`likes` is a CSR of ones, a row per user and a column per item: the positives before the cut. `liked_at` has the same
pattern and, as data, when that was, in seconds. What comes back gives a block of users their scores.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

Csr: TypeAlias = Any  # scipy has no types
Rows = NDArray[np.int64]
Floats = NDArray[np.float64]
Scores = Callable[[Rows], Floats]
"""User rows `(block,)` -> scores `(block, n_items)`; the higher, the better. Ties: `field.top_lists`."""
Terms = Sequence[Sequence[str]]
"""The words that describe each item."""

LATEST = 0.1
DECAY = 0.05
BLOCK = 256
MOST_USERS = 20_000
"""A dense users x users matrix in float64 beyond it: 3.2 GB, three times."""


class NotHereError(Exception):
    """Why a peer can't be run here."""


def popular(likes: Csr) -> Scores:
    """score(u, i) = the number of users who liked i."""
    return _for_everyone(np.asarray(likes.sum(axis=0)))


def recently_popular(liked_at: Csr, *, latest: float = LATEST) -> Scores:
    """score(u, i) = the number of users who liked i in the latest tenth of all likes.

    The tenth begins at the time at index floor((n - 1) * (1 - latest)) of all n times in order, as a test part does;
    likes of that very time are in it.
    """
    times = np.sort(liked_at.data)
    begin = times[int((len(times) - 1) * (1 - latest))]
    return _for_everyone(_sums_of_items(liked_at, liked_at.data >= begin))


def decayed_popular(liked_at: Csr, *, scale: float = DECAY) -> Scores:
    """score(u, i) = the sum, over the likes of i, of exp(-age / (scale * span)).

    age: seconds from the like to the latest like of all; span: seconds from the earliest to the latest.
    """
    ages = liked_at.data.max() - liked_at.data
    return _for_everyone(_sums_of_items(liked_at, np.exp(-ages / max(scale * ages.max(), 1.0))))


def item_cosine(likes: Csr) -> Scores:
    """score(u, i) = the sum, over all j other than i that u liked, of |users of i and j| / sqrt(|users of i| |of j|).

    All neighbours count, not the k nearest. The items x items matrix is never made: with C the likes divided by the
    lengths of their columns, the row is (x_u C^T) C, less the 1 of an item with itself.
    """
    columns = normalize(likes, axis=0)

    def scores(users: Rows) -> Floats:
        alike = (likes[users] @ columns.T).toarray()
        return np.asarray(alike @ columns - likes[users].toarray())

    return scores


def ease(likes: Csr, *, regularisation: float) -> Scores:
    """score(u, .) = x_u B, the B of zero diagonal that minimises |X - X B|^2 + regularisation |B|^2 (Steck 2019).

    In closed form, P = (X^T X + l I)^-1: B = I - P / diag(P), column by column. Computed by users, the fewer: with
    K = (X X^T + l I)^-1, X P = K X and diag(P) = (1 - diag(X^T K X)) / l, so that x_u B = x_u - l (K X)_u / (1 - f),
    f = diag(X^T K X). The same numbers, n_users^2 floats of memory. Nine decimals, so that ties are ties.

    Raises:
        NotHereError: more than `MOST_USERS` users.
    """
    n_users, n_items = likes.shape
    if n_users > MOST_USERS:
        raise NotHereError(f"the inverse over {n_users:,} users takes more than 24 GB or several minutes")
    inverse = np.linalg.inv((likes @ likes.T).toarray() + regularisation * np.eye(n_users))
    fitted = np.zeros(n_items)
    for users in _blocks(n_users):
        fitted += np.asarray(likes[users].multiply(inverse[users] @ likes).sum(axis=0))

    def scores(users: Rows) -> Floats:
        rows = likes[users].toarray() - regularisation * (inverse[users] @ likes) / (1 - fitted)
        return np.asarray(np.round(rows, 9))

    return scores


def als(likes: Csr, *, factors: int, regularisation: float, alpha: float, iterations: int = 15) -> Scores:
    """score(u, i) = x_u . y_i, implicit's `AlternatingLeastSquares` on ones of confidence `alpha` (Hu et al. 2008)."""
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors=factors, regularization=regularisation, alpha=alpha, iterations=iterations, random_state=0
    )
    with threadpool_limits(1, "blas"):  # as implicit asks
        model.fit(sparse.csr_matrix(likes, dtype=np.float32), show_progress=False)
    return lambda users: np.asarray(model.user_factors[users] @ model.item_factors.T, dtype=np.float64)


def hybrid(likes: Csr, terms: Terms, known: Rows, *, factors: int, epochs: int) -> Scores:
    """score(u, i) = e_u . e_i + b_i: LightFM with WARP loss, e_i and b_i means over the item itself and its terms.

    Terms of at least two of the `known` item rows. One thread: more would give other numbers each time.

    Raises:
        NotHereError: lightfm isn't installed.
    """
    try:
        from lightfm import LightFM
    except ImportError as error:
        raise NotHereError("lightfm-next isn't installed") from error
    words = CountVectorizer(analyzer=list, binary=True, min_df=2, dtype=np.float32)
    described = words.fit([terms[item] for item in known]).transform(terms)
    itself = sparse.identity(likes.shape[1], dtype=np.float32)
    features = normalize(sparse.csr_matrix(sparse.hstack([itself, described])), "l1")
    model = LightFM(no_components=factors, loss="warp", random_state=0)
    rows, columns = (places.astype(np.int32) for places in likes.nonzero())  # the only type that lightfm takes
    liked = sparse.coo_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=likes.shape)
    model.fit(liked, item_features=features, epochs=epochs)
    biases, items = model.get_item_representations(features)
    _, users_ = model.get_user_representations()
    return lambda users: np.asarray(users_[users] @ items.T + biases, dtype=np.float64)


def tfidf_profile(likes: Csr, terms: Terms, known: Rows) -> Scores:
    """score(u, i) = the cosine of i's TF-IDF vector and the sum of those that u liked, times the length of that sum.

    scikit-learn's defaults (smooth idf, vectors of length 1), fitted on the `known` item rows; terms that none of
    these has count for nothing.
    """
    words = TfidfVectorizer(analyzer=list).fit([terms[item] for item in known])
    items = sparse.csr_array(words.transform(terms))
    return lambda users: np.asarray((likes[users] @ items).toarray() @ items.T)


def _for_everyone(item_scores: Floats) -> Scores:
    return lambda users: np.broadcast_to(item_scores, (len(users), len(item_scores)))


def _sums_of_items(likes: Csr, weights: NDArray[Any]) -> Floats:
    return np.bincount(likes.indices, weights=weights, minlength=likes.shape[1]).astype(np.float64)


def _blocks(n_users: int) -> Iterator[Rows]:
    yield from (np.arange(start, min(start + BLOCK, n_users)) for start in range(0, n_users, BLOCK))
