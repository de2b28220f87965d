"""What `two_stage` says of users and items, written from its formulas: float64 loops over dicts and lists."""

import math
from collections import Counter
from typing import NamedTuple

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

TEXT = ("title", "description", "brand", "category")
FADES = {"": math.inf, "_recent": 0.05, "_lately": 0.2}


class Told(NamedTuple):
    """What was known before a cut."""

    items: dict[str, dict]
    """The columns of `Items`, and those that follow, by item id."""
    pairs: list[tuple[str, str, int, int]]
    """(user id, item id, time, label), one per pair."""
    events: list[tuple[str, int]]
    """(item id, time)."""
    item_features: tuple[str, ...] = ()


def age(told: Told, time: int) -> float:
    times = [time for _, time in told.events]
    return (max(times) - time) / max(1, max(times) - min(times))


def likes_of(told: Told, user: str) -> dict[str, float]:
    """The age of each like of a user."""
    return {item: age(told, time) for who, item, time, label in told.pairs if label and who == user}


def fans_of(told: Told) -> dict[str, dict[str, float]]:
    """The age of each like of each item."""
    fans: dict[str, dict[str, float]] = {item: {} for item in told.items}
    for user, item, time, label in told.pairs:
        if label:
            fans[item][user] = age(told, time)
    return fans


def popularity(told: Told, window: float = math.inf) -> dict[str, float]:
    return {item: sum(math.exp(-a / window) for a in ages.values()) for item, ages in fans_of(told).items()}


def signals(told: Told, user: str, *, dimensions: int) -> dict[str, dict[str, float]]:
    """Every signal: item id -> score."""
    windows = (0.01, 0.02, 0.05, 0.15, 0.5)
    found = {f"popularity_{window}": popularity(told, window) for window in windows}
    found["popularity"] = popularity(told)
    likes = likes_of(told, user)
    weights = {end: {item: math.exp(-a / fade) for item, a in likes.items()} for end, fade in FADES.items()}
    two = {end: weights[end] for end in ("", "_recent")}
    found |= {f"cosine{end}": _cosine(told, of_likes) for end, of_likes in weights.items()}
    found |= {f"text{end}": _text(told, of_likes) for end, of_likes in two.items()}
    weights_of = ease(told, 300)
    found |= {f"regression{end}": _regressed(weights_of, of_likes) for end, of_likes in two.items()}
    vectors = {"cooccurrence": cooccurrence(told, dimensions)}
    vectors |= {f"vector[{name}]": _unit_vectors(told, name) for name in _vector_names(told)}
    for name, of_items in vectors.items():
        found |= {f"{name}{end}": _mean_dot(of_items, of_likes) for end, of_likes in two.items()}
    for name, groups in _groups(told).items():
        counts = {end: _group_counts(groups, of_likes) for end, of_likes in two.items()}
        found |= {f"{name}_count{end}": count for end, count in counts.items()}
        shares = _shares(told, groups)
        found[f"{name}_share"] = {item: counts[""][item] * shares[item] for item in told.items}
    return found


def ease(told: Told, penalty: float) -> dict[str, dict[str, float]]:
    """What liking an item says of each other item (Steck 2019): B_ij = -P_ij / P_jj with P = (X'X + r I)^-1."""
    items = list(told.items)
    fans = fans_of(told)
    gram = np.array([[float(len(fans[one].keys() & fans[other].keys())) for other in items] for one in items])
    inverse = np.linalg.inv(gram + penalty * np.eye(len(items)))
    return {
        one: {other: 0.0 if i == j else -inverse[i, j] / inverse[j, j] for j, other in enumerate(items)}
        for i, one in enumerate(items)
    }


def _regressed(weights_of: dict[str, dict[str, float]], likes: dict[str, float]) -> dict[str, float]:
    return {item: sum(weight * weights_of[liked][item] for liked, weight in likes.items()) for item in weights_of}


def _cosine(told: Told, weights: dict[str, float]) -> dict[str, float]:
    """sum over liked j of w_j |fans of both| / sqrt(|fans of j| |fans of i|)."""
    fans = fans_of(told)
    found = {}
    for item in told.items:
        total = 0.0
        for other, weight in weights.items():
            common = len(fans[item].keys() & fans[other].keys())
            if common:
                total += weight * common / math.sqrt(len(fans[item]) * len(fans[other]))
        found[item] = total
    return found


def _text(told: Told, weights: dict[str, float]) -> dict[str, float]:
    """The cosine of the item's TF-IDF row with the sum of those of what was liked."""
    texts = {item: " ".join(row[name] for name in TEXT if row[name] is not None) for item, row in told.items.items()}
    known = {item for _, item, _, _ in told.pairs}
    words = TfidfVectorizer(sublinear_tf=True)
    try:
        words.fit([text for item, text in texts.items() if item in known])
    except ValueError:
        return dict.fromkeys(texts, 0.0)
    rows = dict(zip(texts, words.transform(list(texts.values())).toarray().tolist(), strict=True))
    profile = [0.0] * len(words.vocabulary_)
    for item, weight in weights.items():
        profile = [a + weight * b for a, b in zip(profile, rows[item], strict=True)]
    length = math.sqrt(sum(a * a for a in profile)) or 1.0
    return {item: sum(a * b for a, b in zip(profile, row, strict=True)) / length for item, row in rows.items()}


def cooccurrence(told: Told, dimensions: int) -> dict[str, list[float]]:
    """Right singular vectors of likes / sqrt(likes of the user) / sqrt(likes of the item), times count ** 0.25."""
    fans = fans_of(told)
    users = sorted({user for of_item in fans.values() for user in of_item})
    n_likes = {user: len(likes_of(told, user)) for user in users}
    counts = {item: max(1, len(of_item)) for item, of_item in fans.items()}
    scaled = [
        [(user in of_item) / math.sqrt(n_likes[user] * counts[item]) for item, of_item in fans.items()]
        for user in users
    ]
    components = np.linalg.svd(np.array(scaled), full_matrices=False)[2][:dimensions]
    return {item: (components[:, row] * counts[item] ** 0.25).tolist() for row, item in enumerate(fans)}


def _vector_names(told: Told) -> list[str]:
    return list(dict.fromkeys(name for row in told.items.values() for name in row if isinstance(row[name], list)))


def _unit_vectors(told: Told, name: str) -> dict[str, list[float]]:
    rows = {item: row[name] for item, row in told.items.items()}
    width = max(len(row) for row in rows.values() if row is not None)
    full = {item: row or [0.0] * width for item, row in rows.items()}
    lengths = {item: math.sqrt(sum(a * a for a in row)) or 1.0 for item, row in full.items()}
    return {item: [a / lengths[item] for a in row] for item, row in full.items()}


def _mean_dot(vectors: dict[str, list[float]], weights: dict[str, float]) -> dict[str, float]:
    total = sum(weights.values()) or 1.0
    width = len(next(iter(vectors.values())))
    mean = [sum(weight * vectors[item][d] for item, weight in weights.items()) / total for d in range(width)]
    return {item: sum(a * b for a, b in zip(mean, row, strict=True)) for item, row in vectors.items()}


def _groups(told: Told) -> dict[str, dict[str, str]]:
    """The group of each item, by column; columns of one group say nothing."""
    given = [name for name in told.item_features if any(isinstance(row[name], str) for row in told.items.values())]
    columns = {name: name for name in ("category", "brand", "title", "description")}
    columns |= {f"given[{name}]": name for name in given}
    found = {ours: {item: row[name] or "" for item, row in told.items.items()} for ours, name in columns.items()}
    return {ours: groups for ours, groups in found.items() if len(set(groups.values())) > 1}


def _group_counts(groups: dict[str, str], weights: dict[str, float]) -> dict[str, float]:
    counts: Counter[str] = Counter()
    for item, weight in weights.items():
        counts[groups[item]] += weight
    return {item: counts[group] for item, group in groups.items()}


def _shares(told: Told, groups: dict[str, str]) -> dict[str, float]:
    recent = popularity(told, 0.05)
    totals: Counter[str] = Counter()
    for item, group in groups.items():
        totals[group] += recent[item]
    return {item: recent[item] / (totals[group] or 1.0) for item, group in groups.items()}


def item_columns(told: Told) -> dict[str, dict[str, float]]:
    """What is known of items beside signals; NaN: nothing."""
    ages = {item: [age(told, time) for one, time in told.events if one == item] for item in told.items}
    n_users = Counter(item for _, item, _, _ in told.pairs)
    last, shortly, lately = (popularity(told, window) for window in (0.01, 0.05, 0.5))
    found = {
        "age": {item: max(of_item, default=math.nan) for item, of_item in ages.items()},
        "idle": {item: min(of_item, default=math.nan) for item, of_item in ages.items()},
        "repeats": {item: _ratio(len(of_item), n_users[item]) for item, of_item in ages.items()},
        "trend": {item: _ratio(last[item], shortly[item]) for item in ages},
        "long_trend": {item: _ratio(shortly[item], lately[item]) for item in ages},
        "price": {item: _number(row["price"]) for item, row in told.items.items()},
    }
    for name in told.item_features:
        if not any(isinstance(row[name], str) for row in told.items.values()):
            found[f"given[{name}]"] = {item: _number(row[name]) for item, row in told.items.items()}
    return found


def _ratio(above: float, below: float) -> float:
    return above / below if below else math.nan


def _number(value: float | None) -> float:
    return math.nan if value is None or not math.isfinite(value) else value


def user_columns(told: Told, user: str) -> dict[str, float]:
    likes = likes_of(told, user)
    return {"n_likes": len(likes), "user_idle": min(likes.values(), default=math.nan)}


def ranks(scores: dict[int, float]) -> dict[int, int]:
    """From 0, the highest first, of equals the first key."""
    return {key: rank for rank, key in enumerate(sorted(scores, key=lambda key: (-scores[key], key)))}


def candidates(scores: dict[str, list[float]], free: list[int], *, n_each: int, n_least: int) -> list[int]:
    """The n_each best items that are free and above 0 of each signal, filled up to n_least with the first free ones."""
    chosen: set[int] = set()
    for of_items in scores.values():
        liked = [item for item in free if of_items[item] > 0]
        chosen |= set(sorted(liked, key=lambda item: (-of_items[item], item))[: max(n_each, n_least)])
    others = [item for item in free if item not in chosen]
    return sorted(chosen | set(others[: max(0, n_least - len(chosen))]))
