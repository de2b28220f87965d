"""The figures of `recsys_polars.breakdowns`, written from their definitions with loops over plain lists and sets."""

import math
import statistics

import numpy as np

from tests.oracles import metrics

Lists = dict[str, list[str]]
Truth = dict[str, set[str]]
METRICS = ("ndcg", "ap", "hit_rate")


def group_of(count: int) -> tuple[int, int]:
    """Lowest and highest of: 0; 1 and 2; 3 to 9; 10 to 29; 30 to 99; and so on."""
    if count == 0:
        return 0, 0
    power = 10 ** (len(str(count)) - 1)
    return (power, 3 * power - 1) if count < 3 * power else (3 * power, 10 * power - 1)


def by_history(lists: Lists, truth: Truth, likes: dict[str, int], k: int, seed: int) -> dict[tuple[int, int], list]:
    groups: dict[tuple[int, int], list[str]] = {}
    for user in sorted(truth):
        groups.setdefault(group_of(likes.get(user, 0)), []).append(user)
    return {group: [_of_users(lists, truth, users, k, seed)] for group, users in groups.items()}


def by_popularity(lists: Lists, truth: Truth, likes: dict[str, int], k: int, seed: int) -> dict[tuple[int, int], list]:
    found = {}
    for group in {group_of(likes.get(item, 0)) for items in truth.values() for item in items}:
        own = {user: {item for item in items if group_of(likes.get(item, 0)) == group} for user, items in truth.items()}
        own = {user: items for user, items in own.items() if items}
        found[group] = [_of_users(lists, own, sorted(own), k, seed)]
    return found


def shares(pairs: Lists, catalogue: list[str], likes: dict[str, int], seed: int) -> list[tuple]:
    """Of each decile: how many of its items are shown, its share, low and high."""
    ordered = sorted(catalogue, key=lambda item: (-likes.get(item, 0), item))
    decile = {item: place * 10 // len(ordered) for place, item in enumerate(ordered)}
    users = [user for user in sorted(pairs) if any(item in decile for item in pairs[user])]
    counts = [[sum(decile.get(item) == part for item in pairs[user]) for part in range(10)] for user in users]
    found = []
    for part in range(10):
        shown = {item for user in users for item in pairs[user] if decile.get(item) == part}
        resampled = [_share(counts, draw, part) for draw in _draws(len(users), seed)] if len(users) > 1 else []
        value = _share(counts, range(len(users)), part) if users else None
        found.append((len(shown), value, *_interval(resampled)))
    return found


def _share(counts: list[list[int]], draw, part: int) -> float:
    return sum(counts[user][part] for user in draw) / sum(sum(counts[user]) for user in draw)


def _of_users(lists: Lists, truth: Truth, users: list[str], k: int, seed: int) -> tuple[int, dict[str, tuple]]:
    """How many users, and value, low and high by metric."""
    of_user = [metrics.accuracy(lists.get(user, []), truth[user], k) for user in users]
    return len(users), {metric: mean_and_interval([one[metric] for one in of_user], seed) for metric in METRICS}


def mean_and_interval(values: list[float], seed: int) -> tuple[float, float | None, float | None]:
    draws = _draws(len(values), seed) if len(values) > 1 else []
    return statistics.fmean(values), *_interval([statistics.fmean(values[place] for place in draw) for draw in draws])


def _draws(n: int, seed: int) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(n, size=n).tolist() for _ in range(1000)]


def _interval(resampled: list[float]) -> tuple[float | None, float | None]:
    return (_quantile(sorted(resampled), 0.025), _quantile(sorted(resampled), 0.975)) if resampled else (None, None)


def _quantile(ordered: list[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])
