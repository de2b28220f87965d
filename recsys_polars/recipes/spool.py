"""What a build has worked out, bucket by bucket, until all of it is known and becomes a table."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl


@dataclass(frozen=True)
class Spool:
    """A folder of frames, by table and bucket, whose ids are row numbers.

    Users ascend from bucket to bucket: one table's frames, one after the other, are sorted as each of them is.
    """

    folder: Path

    def write(self, table: str, bucket: int, frame: pl.DataFrame) -> None:
        """Write the frame of a bucket, in place of what was there."""
        # Not over a file that someone may still have mapped.
        beside = self.folder / "unfinished"
        frame.write_parquet(beside, compression="lz4", statistics=False)
        beside.replace(self._path(table, bucket))

    def read(self, table: str, bucket: int) -> pl.DataFrame:
        """Return the frame of a bucket."""
        return pl.read_parquet(self._path(table, bucket), glob=False)

    def scan(self, table: str) -> pl.LazyFrame:
        """Return the frames of all buckets in their order, unread."""
        return pl.scan_parquet(sorted(self.folder.glob(f"{table}-*.parquet")), glob=False)

    def _path(self, table: str, bucket: int) -> Path:
        return self.folder / f"{table}-{bucket:06d}.parquet"
