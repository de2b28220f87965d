"""Brute force: every score of every pair with plain Python floats, one operation after the other, and a plain sort."""

import numpy as np


def linear(x, weight, bias):
    out = []
    for row, b in zip(weight, bias, strict=True):
        total = float(b)
        for a, w in zip(x, row, strict=True):
            total += float(a) * float(w)
        out.append(total)
    return out


def relu(x):
    return [max(a, 0.0) for a in x]


def tower(x, layers):
    for number, (weight, bias) in enumerate(layers, start=1):
        x = linear(x, weight, bias)
        if number < len(layers):
            x = relu(x)
    return [float(a) for a in x]


def dot_scores(U, V, user_tower=(), item_tower=(), item_bias=None):
    bias = np.zeros(len(V)) if item_bias is None else item_bias
    users, items = [tower(u, user_tower) for u in U], [tower(v, item_tower) for v in V]
    return np.array([[linear(u, [v], [b])[0] for v, b in zip(items, bias, strict=True)] for u in users])


def mlp_scores(U, V, layers):
    (weight, bias), *tail = layers
    d_u = U.shape[1]
    users = [linear(u, weight[:, :d_u], np.zeros(len(bias))) for u in U]
    items = [linear(v, weight[:, d_u:], bias) for v in V]
    return np.array([[tower(relu([a + b for a, b in zip(u, v, strict=True)]), tail)[0] for v in items] for u in users])


def tree_scores(user_bits, item_bits, leaf_values, scale, bias):
    scores = np.zeros((len(user_bits), len(item_bits)))
    for u in range(len(user_bits)):
        for i in range(len(item_bits)):
            total = 0.0
            for t, values in enumerate(leaf_values):
                total += float(values[int(user_bits[u, t]) | int(item_bits[i, t])])
            scores[u, i] = total * scale + bias
    return scores


def lists(scores, users, k, seen=None, candidates=None):
    """{place of the user in `users`: [(item, float32 score), ...]}, best first."""
    allowed = range(scores.shape[1]) if candidates is None else [int(i) for i in candidates]
    wanted = {}
    for place, user in enumerate(users):
        hidden = set() if seen is None else set(seen.indices[seen.indptr[user] : seen.indptr[user + 1]].tolist())
        pairs = [(np.float32(scores[user, item]), item) for item in allowed if item not in hidden]
        pairs.sort(key=lambda pair: (-pair[0], pair[1]))
        wanted[place] = [(item, score) for score, item in pairs[:k]]
    return wanted
