"""What Spark has worked out, written where the driver can read it: each step once, whatever happens to a worker.

Spark's own writer commits the file of each task that ended well, once: a task that is run again adds nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from recsys_polars.spark.files import FileSystem, for_spark, is_uri, part_files, to_read

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


ROWS_OF_A_PART = 4_000_000
"""At most, where no user has more: a worker sorts them, and the driver reads them at once."""


@dataclass(frozen=True)
class Kept:
    """A folder of tables in the making.

    Attributes:
        session: whose tables.
        place: of the folder: a path that every worker has too, or a URI.
        here: a folder of this machine, for copies where `place` is remote.
    """

    session: "SparkSession"
    place: str
    here: Path

    def keep(self, name: str, rows: "DataFrame") -> "DataFrame":
        """Write rows, in whatever order; return them as they were written."""
        rows.write.mode("overwrite").parquet(for_spark(self._place(name)))
        return self.read(name)

    def keep_sorted(self, name: str, rows: "DataFrame", by: Sequence[str], *, n_rows: int) -> "DataFrame":
        """Write rows, of which there are `n_rows` at most, sorted by some columns.

        The users ascend from file to file, and none is in two of them.
        """
        return self.keep(name, self.by_user(rows, n_rows).sortWithinPartitions(*by))

    def by_user(self, rows: "DataFrame", n_rows: int) -> "DataFrame":
        """Return rows in partitions that a worker and the driver can hold, each a range of users."""
        n_parts = int(self.session.conf.get("spark.sql.shuffle.partitions"))
        if n_rows <= n_parts * ROWS_OF_A_PART:
            return rows.repartitionByRange("user_id")
        return rows.repartitionByRange(-(-n_rows // ROWS_OF_A_PART), "user_id")

    def read(self, name: str) -> "DataFrame":
        """Return what was written."""
        return self.session.read.parquet(to_read(self._place(name)))

    def frames(self, name: str) -> Iterator[pl.DataFrame]:
        """Yield the rows of a table, file by file, in their order."""
        if not is_uri(self.place):
            for path in self._paths(name):
                yield pl.read_parquet(path, glob=False)
            return
        disk = FileSystem(self.session)
        for uri in part_files(file.uri for file in disk.find(self._place(name))):
            path = disk.fetch(uri, self.here / "part.parquet")
            yield pl.read_parquet(path, glob=False, memory_map=False)
            path.unlink()

    def scan(self, name: str) -> pl.LazyFrame:
        """Return the rows of a table in their order, unread; of a remote one, copies."""
        if not is_uri(self.place):
            return pl.scan_parquet(self._paths(name), glob=False)
        disk, folder = FileSystem(self.session), self.here / name
        folder.mkdir()
        uris = part_files(file.uri for file in disk.find(self._place(name)))
        return pl.scan_parquet([disk.fetch(uri, folder / uri.rpartition("/")[2]) for uri in uris], glob=False)

    def _paths(self, name: str) -> list[Path]:
        return [Path(path) for path in part_files(str(path) for path in Path(self._place(name)).iterdir())]

    def _place(self, name: str) -> str:
        return f"{self.place}/{name}"
