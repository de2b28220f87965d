"""The figures of `recsys_polars.metrics`, written from their definitions with loops over plain lists and sets."""

import math


def accuracy(shown: list[str], relevant: set[str], k: int) -> dict[str, float]:
    """One user's figures at k. `shown` is their list, best first, possibly empty."""
    hit_ranks = [rank for rank, item_id in enumerate(shown[:k], start=1) if item_id in relevant]
    n_ideal = min(len(relevant), k)
    return {
        "n_relevant": len(relevant),
        "n_hits": len(hit_ranks),
        "precision": len(hit_ranks) / k,
        "recall": len(hit_ranks) / len(relevant),
        "ap": sum(nth / rank for nth, rank in enumerate(hit_ranks, start=1)) / n_ideal,
        "ndcg": dcg(hit_ranks) / dcg(list(range(1, n_ideal + 1))),
        "hit_rate": 1.0 if hit_ranks else 0.0,
        "mrr": 1 / hit_ranks[0] if hit_ranks else 0.0,
    }


def dcg(hit_ranks: list[int]) -> float:
    return sum(1 / math.log2(rank + 1) for rank in hit_ranks)


def novelty(shown: list[str], popularity: dict[str, int], n_train_users: int, k: int) -> float | None:
    bits = [-math.log2(max(popularity.get(item_id, 0), 1) / n_train_users) for item_id in shown[:k]]
    return sum(bits) / len(bits) if bits else None


def distinct_shown(lists: dict[str, list[str]], k: int) -> set[str]:
    return {item_id for shown in lists.values() for item_id in shown[:k]}
