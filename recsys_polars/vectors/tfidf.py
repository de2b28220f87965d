"""The `tfidf` block: title and description as TF-IDF, reduced to a few dimensions."""

import numpy as np
import polars as pl
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from threadpoolctl import threadpool_limits

from recsys_polars.tables import Vectors

TEXT_DIMENSIONS = 100
MAX_TERMS = 50_000


def texts_of(items: pl.DataFrame) -> pl.Series:
    """Return title and description of each of the `Items`; empty where both are missing."""
    return items.select(pl.concat_str("title", "description", separator=" ", ignore_nulls=True)).to_series()


def tfidf_vectors(items: pl.DataFrame, known: pl.Series, *, dimensions: int = TEXT_DIMENSIONS) -> Vectors:
    """Turn the text of each item into a vector, fitted on the known items alone.

    Args:
        items: `Items`, one row per item.
        known: Boolean, one value a row of `items`: the item had an interaction before the cut.
        dimensions: width of the result.

    Returns:
        Shape (n_items, dimensions). Items without text, or without a known word, are zeros; so is every dimension that
        the known texts can't fill (fewer texts or words than dimensions).
    """
    texts = texts_of(items)
    vectors = np.zeros((items.height, dimensions), dtype=np.float32)
    fitted_on = texts.filter(known & (texts.str.strip_chars() != ""))
    # A word of one text alone says nothing of any other; with few texts there is no choice.
    words = TfidfVectorizer(
        sublinear_tf=True, min_df=2 if len(fitted_on) > dimensions else 1, max_features=MAX_TERMS, dtype=np.float32
    )
    try:
        terms = words.fit_transform(fitted_on.to_list())
    except ValueError:  # scikit-learn found no word: no known item has a text, or all are signs and single letters
        return vectors
    everything = words.transform(texts.to_list())
    # Its last bits depend on the number of threads; a store must not.
    # Texts all alike have no variance to explain.
    with threadpool_limits(limits=1), np.errstate(invalid="ignore", divide="ignore"):
        if terms.shape[1] == 1:
            reduced = everything.toarray()  # TruncatedSVD wants two words or more
        else:
            reduced = TruncatedSVD(min(dimensions, *terms.shape), random_state=0).fit(terms).transform(everything)
    vectors[:, : reduced.shape[1]] = reduced
    return vectors
