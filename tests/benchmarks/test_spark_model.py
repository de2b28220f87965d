"""The model of what Spark moves, against rows that are counted one by one."""

import numpy as np
import pytest

from benchmarks.spark import row_bytes
from benchmarks.spark_model import (
    DRIVER,
    FILES,
    SHUFFLES,
    Sizes,
    Volume,
    core_hours,
    distinct,
    driver_rows,
    file_rows,
    predicted,
    shuffled_rows,
)

SIZES = Sizes(
    rows=1000,
    users=50,
    items=10,
    pairs=800,
    repeats=40,
    users_of_parts=120,
    train=600,
    known=700,
    between=15,
    liked_valid=250,
    liked_test=300,
    likers_valid=45,
    likers_test=48,
    scans=2,
    partitions=4,
    hours=200,
)


def test_distinct_values_are_those_that_chance_draws() -> None:
    draws = np.random.default_rng(0).integers(300, size=(200, 500))
    counted = np.mean([len(np.unique(row)) for row in draws])
    assert distinct(500, 300) == pytest.approx(counted, rel=0.01)


def test_cut_times_are_counted_in_each_task_and_then_in_one() -> None:
    chance, counted = np.random.default_rng(0), []
    for _ in range(50):
        both = []
        for share in (1, 0.9):
            hours = chance.integers(int(200 * share), size=int(1000 * share))
            in_tasks = sum(len(np.unique(task)) for task in np.array_split(hours, 2))
            both.append(in_tasks + len(np.unique(hours)))
        counted.append(2 * sum(both))  # two looks at each cut
    assert shuffled_rows(SIZES)["before pairs"] == pytest.approx(np.mean(counted), rel=0.01)


def test_a_history_is_shuffled_by_pair_and_what_users_had_by_user() -> None:
    rows = shuffled_rows(SIZES)
    users = np.random.default_rng(0).integers(50, size=(200, 700))
    lists = np.mean([len(np.unique(row)) for row in users])
    assert rows["known-test"] == 700 + 15
    assert rows["users"] == pytest.approx(50 + 48 + lists, rel=0.01)


def test_every_step_has_its_rows_and_its_bytes() -> None:
    assert list(shuffled_rows(SIZES)) == list(SHUFFLES)
    assert list(driver_rows(SIZES)) == list(DRIVER)
    assert list(file_rows(SIZES)) == list(FILES)
    ten = dict.fromkeys([*SHUFFLES.values(), *DRIVER.values(), *FILES.values()], 10.0)
    volumes = predicted(SIZES, ten)
    assert volumes["build: sort interactions"] == Volume(1000, 10_000)
    assert volumes["driver: lists"] == Volume(500, 5000)
    assert volumes["store: means"] == Volume(45 + 48, 930)
    assert row_bytes(volumes) == pytest.approx(ten)


def test_a_log_of_more_users_has_more_of_all_but_items_and_hours() -> None:
    grown = SIZES.grown(500_000, 77)
    assert (grown.rows, grown.liked_test, grown.items, grown.hours) == (10_000_000, 3_000_000, 77, 200)
    assert grown.partitions == 200
    assert SIZES.grown(5e9, 77).partitions == pytest.approx(1e11 * 28 / 2**27)


def test_core_hours_are_pairs_by_the_time_of_one() -> None:
    assert core_hours("two-tower", 1e6, 1e6) == pytest.approx(2.4e-9 * 1e12 / 3600)
