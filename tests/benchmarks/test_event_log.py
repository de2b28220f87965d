"""What Spark's event log says, on logs of a few lines."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.event_log import Moved, read_moved

_PLAN = "(4) Execute InsertIntoHadoopFsRelationCommand\nInput: []\nArguments: {uri}, false, Parquet, [path={uri}]"


def execution(number: int, uri: str | None = None) -> dict[str, Any]:
    plan = _PLAN.format(uri=uri) if uri else "AdaptiveSparkPlan (5)\n+- HashAggregate (4)"
    kind = "org.apache.spark.sql.execution.ui.SparkListenerSQLExecutionStart"
    return {"Event": kind, "executionId": number, "physicalPlanDescription": plan}


def job(stages: list[int], execution_id: int | None) -> dict[str, Any]:
    properties = {} if execution_id is None else {"spark.sql.execution.id": str(execution_id)}
    return {"Event": "SparkListenerJobStart", "Stage IDs": stages, "Properties": properties}


def task(stage: int, *, shuffled: tuple[int, int] = (0, 0), written: tuple[int, int] = (0, 0), peak: int = 0) -> Any:
    metrics = {
        "Shuffle Write Metrics": {"Shuffle Records Written": shuffled[0], "Shuffle Bytes Written": shuffled[1]},
        "Output Metrics": {"Records Written": written[0], "Bytes Written": written[1]},
        "Disk Bytes Spilled": 1,
        "Result Size": 10,
        "Peak Execution Memory": peak,
    }
    return {"Event": "SparkListenerTaskEnd", "Stage ID": stage, "Task Metrics": metrics}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A count, a table that is written in two stages, another in one, and a count after all."""
    events = [
        {"Event": "SparkListenerLogStart"},
        job([9], None),
        task(9, shuffled=(50, 50)),
        execution(0),
        job([0], 0),
        task(0, shuffled=(1, 100)),
        execution(1, "file:/data/store/tmp_x/pairs"),
        job([1], 1),
        task(1, shuffled=(7, 700), peak=5),
        task(1, shuffled=(8, 800), peak=9),
        job([1, 2], 1),  # the first of these has run, and is not run again
        task(2, written=(15, 300), peak=4),
        execution(2, "s3a://bucket/store/lists"),
        job([3], 2),
        task(3, written=(2, 20)),
        execution(3),
        job([4], 3),
        {"Event": "SparkListenerTaskEnd", "Stage ID": 4, "Task Metrics": None},
    ]
    path = tmp_path / "log"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


def test_tasks_are_added_up_by_the_table_that_they_are_for(log: Path) -> None:
    assert read_moved(log) == {
        "before pairs": Moved(1, 1, 100, 1, 0, 0, 10, 0),
        "pairs": Moved(3, 15, 1500, 3, 15, 300, 30, 9),
        "lists": Moved(1, 0, 0, 1, 2, 20, 10, 0),
        "before the end": Moved(1),
    }


def test_steps_stand_in_the_order_of_the_log(log: Path) -> None:
    assert list(read_moved(log)) == ["before pairs", "pairs", "lists", "before the end"]
