"""What Spark moved, by its own event log: `spark.eventLog.enabled`, neither rolling nor compressed."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

_EXECUTION = "org.apache.spark.sql.execution.ui.SparkListenerSQLExecutionStart"
_TARGET = re.compile(r"InsertIntoHadoopFsRelationCommand\nInput.*\nArguments: [^\s,]*/([^/\s,]+),")
AFTER_ALL = "the end"


@dataclass(frozen=True)
class Moved:
    """What some tasks moved.

    Attributes:
        tasks: how many.
        shuffled_rows, shuffled_bytes: written for shuffles, compressed.
        spilled_bytes: to disk.
        written_rows, written_bytes: as files.
        sent_bytes: to the driver, as results.
        peak_bytes: the most that one task held for sorts and hash tables.
    """

    tasks: int = 0
    shuffled_rows: int = 0
    shuffled_bytes: int = 0
    spilled_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    sent_bytes: int = 0
    peak_bytes: int = 0

    def __add__(self, other: "Moved") -> "Moved":
        """Both together."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__}
        return replace(Moved(**sums), peak_bytes=max(self.peak_bytes, other.peak_bytes))


def read_moved(log: Path) -> dict[str, Moved]:
    """Return what was moved for each table that Spark wrote, by its name, in the order of the log.

    What was run to be looked at, not to be written, counts as `before NAME` of the table that is written next. What a
    task did before it failed counts too.
    """
    targets: dict[str, str | None] = {}
    execution_of: dict[int, str] = {}
    moved: dict[str, Moved] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        if event["Event"] == _EXECUTION:
            found = _TARGET.search(event["physicalPlanDescription"])
            targets[str(event["executionId"])] = found and found[1]
        elif event["Event"] == "SparkListenerJobStart":
            execution = (event.get("Properties") or {}).get("spark.sql.execution.id", "")
            for stage in event["Stage IDs"]:
                execution_of.setdefault(stage, execution)
        elif event["Event"] == "SparkListenerTaskEnd":
            execution = execution_of[event["Stage ID"]]
            moved[execution] = moved.get(execution, Moved()) + _of_task(event.get("Task Metrics") or {})
    return _by_table(targets, moved)


def _of_task(metrics: dict[str, Any]) -> Moved:
    shuffled, written = metrics.get("Shuffle Write Metrics", {}), metrics.get("Output Metrics", {})
    return Moved(
        tasks=1,
        shuffled_rows=shuffled.get("Shuffle Records Written", 0),
        shuffled_bytes=shuffled.get("Shuffle Bytes Written", 0),
        spilled_bytes=metrics.get("Disk Bytes Spilled", 0),
        written_rows=written.get("Records Written", 0),
        written_bytes=written.get("Bytes Written", 0),
        sent_bytes=metrics.get("Result Size", 0),
        peak_bytes=metrics.get("Peak Execution Memory", 0),
    )


def _by_table(targets: dict[str, str | None], moved: dict[str, Moved]) -> dict[str, Moved]:
    """Name each execution; jobs outside of any only look at the schemas of files."""
    named: dict[str, Moved] = {}
    table: str = AFTER_ALL
    for execution, target in reversed(targets.items()):
        table = target or table
        name = target or f"before {table}"
        if execution in moved:
            named[name] = moved[execution] + named.get(name, Moved())
    return dict(reversed(named.items()))
