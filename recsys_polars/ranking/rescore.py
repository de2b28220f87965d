"""The second of two stages: the lists of one scorer, in the order of another."""

import numpy as np

from recsys_polars.ranking.order import stored_scores, top_of_each
from recsys_polars.ranking.protocol import Scorer, TopK


def rescored(lists: TopK, scorer: Scorer, *, k: int) -> TopK:
    """Return the k best of each list by the canonical scores of `scorer`, whose rows are those of the lists.

    Exact among what is listed: an item that the first stage left out is not looked at.

    Raises:
        ArtefactError: a score that isn't finite.
    """
    scores = stored_scores(scorer, lists.users, lists.items)
    places = np.cumsum(lists.ranks == 1) - 1
    best, ranks = top_of_each(places, lists.items, scores, k)
    return lists._replace(
        users=lists.users[best], items=lists.items[best], scores=scores[best], ranks=ranks.astype(np.uint32)
    )
