"""What Spark has worked out, written where the driver can read it: each step once, whatever happens to a worker.

Spark's own writer commits the file of each task that ended well, once: a task that is run again adds nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from recsys_polars.spark.files import FileSystem, is_uri, parts_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


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
        rows.write.mode("overwrite").parquet(self._place(name))
        return self.read(name)

    def keep_sorted(
        self, name: str, rows: "DataFrame", by: Sequence[str], *, n_parts: int | None = None
    ) -> "DataFrame":
        """Write rows sorted by some columns, the users ascending from file to file, none in two of them."""
        parted = rows.repartitionByRange(n_parts, "user_id") if n_parts else rows.repartitionByRange("user_id")
        return self.keep(name, parted.sortWithinPartitions(*by))

    def read(self, name: str) -> "DataFrame":
        """Return what was written."""
        return self.session.read.parquet(self._place(name))

    def parts(self, name: str) -> Iterator[Path]:
        """Yield the files of a table in their order; a copy of a remote one is gone when the next is asked for."""
        if not is_uri(self.place):
            yield from parts_of(Path(self._place(name)))
            return
        disk = FileSystem(self.session)
        for file in disk.find(self._place(name)):
            if file.name.startswith("part-"):
                path = disk.fetch(file.uri, self.here / file.name)
                yield path
                path.unlink(missing_ok=True)

    def frames(self, name: str) -> Iterator[pl.DataFrame]:
        """Yield the rows of a table, file by file, in their order."""
        for path in self.parts(name):
            yield pl.read_parquet(path, glob=False)

    def scan(self, name: str) -> pl.LazyFrame:
        """Return the rows of a table in their order, unread; of a remote one, copies."""
        if not is_uri(self.place):
            return pl.scan_parquet(parts_of(Path(self._place(name))), glob=False)
        folder = self.here / name
        folder.mkdir()
        copies = [part.rename(folder / part.name) for part in self.parts(name)]
        return pl.scan_parquet(copies, glob=False)

    def _place(self, name: str) -> str:
        return f"{self.place}/{name}"
