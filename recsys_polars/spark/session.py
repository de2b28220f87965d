"""A Spark session for one command: found or started, quiet, and with errors that read like ours."""

import importlib.util
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any

from recsys_polars import errors
from recsys_polars.errors import InputError, RecsysError

if TYPE_CHECKING:
    from pyspark import SparkConf, SparkContext
    from pyspark.sql import SparkSession

LOCAL = "local[*,4]"
"""All cores of this machine; what fails is tried four times in all, as on a cluster."""
_ALWAYS = {
    # Times are UTC everywhere, and to the microsecond.
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.timestampType": "TIMESTAMP_LTZ",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
}
_WORKERS = {
    "spark.app.name": "recsys-polars",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "50000",
    # A worker is one task; its libraries would take all cores of the machine each.
    **{f"spark.executorEnv.{name}": "1" for name in ("POLARS_MAX_THREADS", "OMP_NUM_THREADS")},
}
_BEGIN, _END = "<recsys_polars error>", "</recsys_polars error>"


@dataclass(frozen=True)
class SparkSettings:
    """Which Spark.

    Attributes:
        master: URL of the cluster; None: the environment's (`spark-submit`, spark-defaults.conf), else this machine.
        conf: further settings by name, over ours.
    """

    master: str | None = None
    conf: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@contextmanager
def spark_session(settings: SparkSettings, *, memory_bytes: int = 2 << 30) -> Iterator["SparkSession"]:
    """Hold a session: one that is there already, which stays as it is, or a new one, which ends with the block.

    Errors inside the block that a worker raised on purpose come out as they were raised there.

    Args:
        settings: which Spark.
        memory_bytes: of this machine's JVM, where it does the work too.

    Raises:
        InputError: no PySpark, no Java, no such cluster.
    """
    _check_installed()
    # It has to be there, and nothing of ours goes through it.
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    from pyspark.sql import SparkSession

    active = SparkSession.getActiveSession()
    with errors_of_workers():
        session = _beside(active, settings) if active else _start(settings, memory_bytes)
        try:
            for name, value in _ALWAYS.items():
                session.conf.set(name, value)
            yield session
        finally:
            if active:
                active.createDataFrame([], "nothing int")  # which makes it the active one again
            else:
                with suppress(Exception):  # where its JVM has died, that was said already
                    session.stop()


def _beside(active: "SparkSession", settings: SparkSettings) -> "SparkSession":
    """A session of the context that is there, whose settings are its own."""
    from pyspark.errors import PySparkException

    if settings.master not in {None, active.sparkContext.master}:
        raise InputError(f"--spark-master {settings.master}: expected the session's {active.sparkContext.master}")
    session = active.newSession()
    for name, value in settings.conf.items():
        try:
            session.conf.set(name, value)
        except PySparkException as error:
            raise InputError(f"--spark-conf {name}: expected a setting of a session that runs ({error})") from error
    return session


def memory_of_worker(session: "SparkSession") -> int:
    """Return the bytes of the JVM that works for a worker."""
    context = session.sparkContext
    name = "spark.driver.memory" if context.master.startswith("local[") else "spark.executor.memory"
    size = context.getConf().get(name, "1g")
    return int(context._jvm.org.apache.spark.network.util.JavaUtils.byteStringAsBytes(size))  # noqa: SLF001


def _check_installed() -> None:
    if importlib.util.find_spec("pyspark") is None:
        raise InputError("--engine spark: expected PySpark, found none; pip install 'recsys-polars[spark]'")
    home = os.environ.get("JAVA_HOME")
    if not (home and (Path(home) / "bin" / "java").is_file()) and not shutil.which("java"):
        raise InputError("--engine spark: expected Java 17 or newer, found none; install one, or set JAVA_HOME")


def _start(settings: SparkSettings, memory_bytes: int) -> "SparkSession":
    from pyspark import SparkConf
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    logging.getLogger("py4j").setLevel(logging.CRITICAL)
    submitted, conf = _is_submitted(), dict(settings.conf)
    master = settings.master or conf.get("spark.master") or (None if submitted else LOCAL)
    asked = dict(_WORKERS)
    if master and master.startswith("local"):
        asked |= _locally(master, memory_bytes)
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        try:
            spark_conf = SparkConf(loadDefaults=submitted)
            for name, value in asked.items():
                spark_conf.setIfMissing(name, value)
            spark_conf.setAll([*conf.items(), *([("spark.master", master)] if master else [])])
            return SparkSession(_context(spark_conf, said))
        except Exception as error:
            if not isinstance(error, ValueError) and not type(error).__module__.startswith(("py4j", "pyspark")):
                raise
            raise InputError(f"--engine spark: expected a Spark that starts, found: {_reason(error, said)}") from error


def _locally(master: str, memory_bytes: int) -> dict[str, str]:
    """What suits a Spark that is this machine alone."""
    found = re.match(r"local\[(\d+)", master)
    cores = int(found[1]) if found else (os.cpu_count() or 1) if "*" in master else 1
    return {
        **{f"spark.ui.{name}": "false" for name in ("enabled", "showConsoleProgress")},
        **{f"spark.driver.{name}": "127.0.0.1" for name in ("bindAddress", "host")},
        "spark.driver.memory": f"{max(1024, memory_bytes >> 20)}m",
        "spark.sql.shuffle.partitions": str(cores),
    }


def _context(conf: "SparkConf", said: IO[str]) -> "SparkContext":
    """Start Spark; what its JVM says goes to `said`, for it says much while all is well."""
    from pyspark import SparkContext
    from pyspark.java_gateway import launch_gateway

    if SparkContext._gateway is None:  # noqa: SLF001
        return SparkContext(conf=conf, gateway=launch_gateway(conf, popen_kwargs={"stderr": said}))
    return SparkContext(conf=conf)


def _reason(error: Exception, said: IO[str]) -> str:
    """Why Spark doesn't start: the first line of the error, and the last of what the JVM said."""
    said.seek(0)
    lines = [line.strip() for line in said if line.strip()]
    first = str(getattr(error, "java_exception", None) or error).strip().splitlines() or [type(error).__name__]
    told = [line for line in lines if re.match(r"(Exception|Error|.*: error|\S*(Exception|Error): )", line)]
    return " / ".join(line[:300] for line in (first[0], *told[-1:]))


def _is_submitted() -> bool:
    """Whether the environment says which Spark: `spark-submit`, or a folder with spark-defaults.conf."""
    homes = [os.environ.get("SPARK_CONF_DIR"), os.environ.get("SPARK_HOME")]
    folders = [Path(home) / inner for home, inner in zip(homes, ("", "conf"), strict=True) if home]
    return "PYSPARK_GATEWAY_PORT" in os.environ or any((path / "spark-defaults.conf").is_file() for path in folders)


@contextmanager
def on_worker() -> Iterator[None]:
    """Have the errors that are ours reach the driver in one piece: see `errors_of_workers`."""
    try:
        yield
    except RecsysError as error:
        raise RuntimeError(f"{_BEGIN}{json.dumps([type(error).__name__, str(error)])}{_END}") from None


@contextmanager
def errors_of_workers() -> Iterator[None]:
    """Raise what a worker raised on purpose, as it was raised there; what Spark raises itself, in one line."""
    try:
        yield
    except RecsysError:
        raise
    except Exception as error:
        found = _told_by_worker(error)
        if found is not None:
            raise found from error
        if type(error).__module__.startswith(("py4j", "pyspark")):
            raise RuntimeError(f"Spark: {_in_short(str(error))}") from error
        raise


def _in_short(text: str) -> str:
    """The first line that says something, and the last cause."""
    lines = [line.strip() for line in text.splitlines()]
    said = [line for line in lines if line and not line.startswith(("An error occurred while calling", "at "))]
    causes = [line for line in said if line.startswith("Caused by: ")]
    return " / ".join(line.lstrip(": ")[:500] for line in dict.fromkeys([*said[:1], *causes[-1:]]))


def _told_by_worker(error: Exception) -> RecsysError | None:
    text = str(error)
    begin, end = text.find(_BEGIN), text.find(_END)
    if begin < 0 or end < 0:
        return None
    name, message = json.loads(text[begin + len(_BEGIN) : end])
    kind: Any = getattr(errors, name)
    made: RecsysError = kind(message)
    return made
