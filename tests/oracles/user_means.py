"""User means and their leave-one-out form, one user at a time in float64."""

import numpy as np
import pandas as pd


def user_means(positives: pd.DataFrame, item_vectors: pd.DataFrame) -> dict[str, tuple[np.ndarray, int]]:
    """The mean and the count of each user's positives' vectors.

    `positives` holds one row per (user_id, item_id); `item_vectors` is indexed by item_id. A user without positives
    is not in the result.
    """
    return {user_id: mean_of(own["item_id"], item_vectors) for user_id, own in positives.groupby("user_id")}


def leave_one_out_mean(
    positives: pd.DataFrame, item_vectors: pd.DataFrame, user_id: str, item_id: str
) -> tuple[np.ndarray, int]:
    """The mean and the count over the user's positives without `item_id`; zeros and 0 when it was the only one.

    Raises:
        ValueError: the pair is not one of the positives.
    """
    own_items = list(positives.loc[positives["user_id"] == user_id, "item_id"])
    if item_id not in own_items:
        raise ValueError(f"expected a positive pair, found ({user_id!r}, {item_id!r})")
    return mean_of([other for other in own_items if other != item_id], item_vectors)


def mean_of(item_ids: list[str] | pd.Series, item_vectors: pd.DataFrame) -> tuple[np.ndarray, int]:
    """The float64 mean of these items' vectors, and how many they are; zeros for none."""
    total = np.zeros(item_vectors.shape[1], dtype=np.float64)
    for item_id in item_ids:
        total += item_vectors.loc[item_id].to_numpy(dtype=np.float64)
    return total / max(len(item_ids), 1), len(item_ids)
