"""The notebook's own loops, on a sample of users: what a user costs there."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from catboost import Pool
from torch import nn


def user_vectors(train: pd.DataFrame, item_vectors: pd.DataFrame) -> dict[str, np.ndarray]:
    """Mean vector of the positives, user by user."""
    vectors = {}
    for user_id, group in train[train["label"] == 1].groupby("user_id"):
        vectors[user_id] = np.mean(item_vectors.loc[group["item_id"].values].values, axis=0)
    return vectors


def pairs(
    train: pd.DataFrame, vectors: dict[str, np.ndarray], item_vectors: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    """The training matrix, row by row."""
    inputs, labels = [], []
    for row in train.itertuples():
        if row.user_id not in vectors or row.item_id not in item_vectors.index:
            continue
        inputs.append(np.concatenate([vectors[row.user_id], item_vectors.loc[row.item_id].values]))
        labels.append(row.label)
    return np.array(inputs), np.array(labels)


@torch.no_grad()
def rank_mlp(network: nn.Module, user_inputs: np.ndarray, item_inputs: np.ndarray, k: int) -> list[np.ndarray]:
    """Tile, concatenate, predict, sort all: user by user. Item rows, best first."""
    lists = []
    for user_vector in user_inputs:
        tiled = np.tile(user_vector, (len(item_inputs), 1))
        batch = torch.tensor(np.hstack([tiled, item_inputs]), dtype=torch.float32)
        scores = torch.sigmoid(network(batch)).numpy().flatten()
        lists.append(np.argsort(scores)[::-1][:k])
    return lists


def rank_catboost(
    model: Any, items: pd.DataFrame, set_user: Callable[[pd.DataFrame, int], None], users: Sequence[int], k: int
) -> list[np.ndarray]:
    """Copy the frame, make a Pool, predict, sort the frame: user by user. Item rows, best first."""
    categorical = [name for name in ("brand", "category") if name in items.columns]
    lists = []
    for user in users:
        frame = items.copy()
        set_user(frame, user)
        frame["pred"] = model.predict_proba(Pool(frame, cat_features=categorical))[:, 1]
        lists.append(frame.sort_values("pred", ascending=False).index[:k].to_numpy())
    return lists
