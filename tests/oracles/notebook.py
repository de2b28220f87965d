"""The steps of the notebook (reference/NOTEBOOK.md), one plain function each, in its own pandas, numpy and torch.

Where the notebook leaves the order of ties to a sort that isn't stable, these fix it; each docstring says how.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch
from catboost import CatBoostClassifier, Pool
from sklearn.preprocessing import StandardScaler
from torch import nn

META_FEATURES = [
    "title_len",
    "title_has_digit",
    "description_text_len",
    "is_top20_brand",
    "has_price",
    "is_top9_category_main",
]
EXTRA_VECTOR_COLUMNS = [
    "title_len",
    "description_text_len",
    "is_top20_brand",
    "has_price",
    "is_top9_category_main",
    "price",
]
STANDARDISED_COLUMNS = ["title_len", "description_text_len", "price"]


def label(interactions: pd.DataFrame, min_rating: float = 4) -> pd.DataFrame:
    """The interactions with label 1 where rating >= min_rating, else 0; so too if it is missing (never there)."""
    return interactions.assign(label=(interactions["rating"] >= min_rating).astype(int))


def item_table(items: pd.DataFrame, known_items: set[str]) -> pd.DataFrame:
    """One row per item in the order of `items`: item_id, the six META_FEATURES, brand, category, price.

    Takes item_id, title, description, brand, category, price, one row per item. Missing text is "". Lengths are in
    characters, a digit is one of 0-9. Top brands and categories are counted over the known items.
    """
    text = items[["title", "description", "brand", "category"]].astype("object")
    text = text.where(text.notna(), "")
    known = items["item_id"].map(lambda item_id: item_id in known_items).astype(bool)
    top_brands = most_frequent(text["brand"][known], 20)
    top_categories = most_frequent(text["category"][known], 9)
    return pd.DataFrame(
        {
            "item_id": items["item_id"],
            "title_len": text["title"].map(len),
            "title_has_digit": text["title"].map(lambda title: int(any(digit in title for digit in "0123456789"))),
            "description_text_len": text["description"].map(len),
            "is_top20_brand": text["brand"].isin(top_brands).astype(int),
            "has_price": items["price"].notna().astype(int),
            "is_top9_category_main": text["category"].isin(top_categories).astype(int),
            "brand": text["brand"],
            "category": text["category"],
            "price": items["price"],
        }
    )


def most_frequent(names: Iterable[str], k: int) -> list[str]:
    """The k most frequent names, ties by name ascending; the empty name never counts."""
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    counts.pop("", None)
    return sorted(counts, key=lambda name: (-counts[name], name))[:k]


def scaled_numeric(item_table: pd.DataFrame, known_items: set[str]) -> pd.DataFrame:
    """EXTRA_VECTOR_COLUMNS by item_id, in float64: price missing -> -1, then three of them standardised.

    The scaler is fitted on the known items and applied to all.
    """
    extra = item_table.set_index("item_id")[EXTRA_VECTOR_COLUMNS].astype("float64")
    extra["price"] = extra["price"].fillna(-1)
    known = [item_id in known_items for item_id in extra.index]
    scaler = StandardScaler().fit(extra.loc[known, STANDARDISED_COLUMNS])
    extra[STANDARDISED_COLUMNS] = scaler.transform(extra[STANDARDISED_COLUMNS])
    return extra


def user_vectors(train_df: pd.DataFrame, item_vectors: pd.DataFrame) -> dict[str, np.ndarray]:
    """The mean of the item vectors of each user's positives; `item_vectors` is indexed by item_id."""
    vectors_by_user = {}
    for user_id, group in train_df[train_df["label"] == 1].groupby("user_id"):
        item_ids = group["item_id"].values
        vectors = item_vectors.loc[item_ids].values
        vectors_by_user[user_id] = np.mean(vectors, axis=0)
    return vectors_by_user


def pairs(
    train_df: pd.DataFrame, user_vectors: dict[str, np.ndarray], item_vectors: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """X (user vector ++ item vector) and y of the train rows that have both vectors, and those rows themselves."""
    X, y, kept = [], [], []
    for position, row in enumerate(train_df.itertuples()):
        if row.user_id not in user_vectors or row.item_id not in item_vectors.index:
            continue
        user_vec = user_vectors[row.user_id]
        item_vec = item_vectors.loc[row.item_id].values
        X.append(np.concatenate([user_vec, item_vec]))
        y.append(row.label)
        kept.append(position)
    return np.array(X), np.array(y), train_df.iloc[kept]


def popular(train_df: pd.DataFrame, k: int) -> list[str]:
    """The k items with most positives, ties by item_id ascending (the notebook leaves them to value_counts)."""
    counts = train_df[train_df["label"] == 1]["item_id"].value_counts()
    return sorted(counts.index, key=lambda item_id: (-counts[item_id], item_id))[:k]


class MatchingMLP(nn.Module):
    """The notebook's network: user vector ++ item vector -> probability."""

    def __init__(self, input_dim: int = 400) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Linear(input_dim, 256),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(256, 64),
            nn.ReLU(),
            nn.Linear(64, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Probabilities (n, 1) of rows (n, input_dim)."""
        return self.model(x)


def mlp_scores(model: nn.Module, user_vec: np.ndarray, candidate_vectors: np.ndarray) -> np.ndarray:
    """The model's probability of every candidate for one user, from one tiled matrix; float32, in evaluation mode."""
    user_vec_batch = np.tile(user_vec, (candidate_vectors.shape[0], 1))
    concat = np.hstack([user_vec_batch, candidate_vectors])
    model.eval()
    with torch.no_grad():
        return model(torch.tensor(concat, dtype=torch.float32)).cpu().numpy().flatten()


def rank_mlp(
    model: nn.Module,
    user_vectors: dict[str, np.ndarray],
    item_vectors: pd.DataFrame,
    users: Iterable[str],
    k: int,
) -> dict[str, list[str]]:
    """The k best items of each user that has a vector, seen ones included; ties in the order of `item_vectors`."""
    candidate_items = item_vectors.index.to_numpy()
    candidate_vectors = item_vectors.values
    predictions = {}
    for user_id in users:
        if user_id not in user_vectors:
            continue
        scores = mlp_scores(model, user_vectors[user_id], candidate_vectors)
        best_first = np.argsort(-scores, kind="stable")
        predictions[user_id] = candidate_items[best_first][:k].tolist()
    return predictions


def rank_catboost(
    model: CatBoostClassifier,
    item_frame: pd.DataFrame,
    features: list[str],
    cat_features: list[str],
    users: Iterable[str],
    k: int,
) -> dict[str, list[str]]:
    """The k best items of each user, seen ones included; ties in the order of `item_frame`."""
    predictions = {}
    for user in users:
        df_user = item_frame.copy()
        df_user["user_id"] = user
        pool = Pool(df_user[features], cat_features=cat_features)
        df_user["pred"] = model.predict_proba(pool)[:, 1]
        best_first = df_user.sort_values("pred", ascending=False, kind="stable")
        predictions[user] = best_first["item_id"].head(k).tolist()
    return predictions


def precision_at_k(preds: dict[str, list[str]], ground_truth: dict[str, set[str]], k: int = 10) -> float:
    """Mean over the users with both a list and a truth of hits / k; not rounded (the notebook rounds to 4 digits)."""
    scores = []
    for user, pred_items in preds.items():
        if user not in ground_truth:
            continue
        gt_items = ground_truth[user]
        hits = sum([1 for item in pred_items[:k] if item in gt_items])
        scores.append(hits / k)
    return float(np.mean(scores))


def apk(pred: list[str], actual: set[str], k: int = 10) -> float:
    """Average precision of one list over min(|actual|, k)."""
    if not actual:
        return 0.0
    pred = pred[:k]
    score, num_hits = 0.0, 0.0
    for i, p in enumerate(pred):
        if p in actual and p not in pred[:i]:
            num_hits += 1.0
            score += num_hits / (i + 1.0)
    return score / min(len(actual), k)


def map_at_k(preds: dict[str, list[str]], ground_truth: dict[str, set[str]], k: int = 10) -> float:
    """Mean of `apk` over the users with both a list and a truth; not rounded (the notebook rounds to 4 digits)."""
    return float(np.mean([apk(preds[u], ground_truth[u], k) for u in preds if u in ground_truth]))
