"""What a user had liked before a moment, by plain float64 loops over the history pairs."""


def past_mean(known, user, time):
    """The mean item vector, as a list, and the number of the user's positives at times < time."""
    total, count = [0.0] * known.item_vectors.shape[1], 0
    for owner, item, label, moment in zip(known.user_rows, known.item_rows, known.labels, known.times, strict=True):
        if owner == user and label == 1 and moment < time:
            total = [one + float(value) for one, value in zip(total, known.item_vectors[item], strict=True)]
            count += 1
    return ([one / count for one in total] if count else total), count
