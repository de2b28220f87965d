"""A Parquet file written part by part, so that a killed run goes on where it stopped.

Beside the file lies a folder `.NAME.parts` while it is being written: `job.json` says what is written, `000000.parquet`
and on are the parts that are complete. A run with the same job takes them over; one with another begins anew.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from recsys_polars.disk import sync, write_text
from recsys_polars.errors import InputError
from recsys_polars.guards import locked, refuse_link
from recsys_polars.sealing import is_sealed, write_sealed_parquet


@dataclass(frozen=True)
class Parts:
    """The parts of a file so far."""

    folder: Path

    def has(self, number: int) -> bool:
        """Return whether a part is complete and as it was written."""
        return self._path(number).is_file() and bool(is_sealed(self._path(number)))

    def write(self, number: int, table: pa.Table) -> None:
        """Write a part; it is there as a whole or not at all."""
        beside = self.folder / "unfinished"
        write_sealed_parquet(beside, [table], table.schema, {})
        sync(beside)
        beside.replace(self._path(number))

    def join(self, target: Path, n_parts: int, schema: pa.Schema, metadata: Mapping[bytes, str]) -> str:
        """Write all parts into one file, a row group each, in which no byte can change unnoticed; return its seal."""
        parts = (pq.read_table(self._path(number), schema=schema) for number in range(n_parts))
        seal = write_sealed_parquet(target, parts, schema, metadata)
        sync(target)
        return seal

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.parquet"


@contextmanager
def parts_of(out: Path, job: Mapping[str, Any]) -> Iterator[Parts]:
    """Hold the folder of the parts of `out` against other runs; remove it when the block ends, or raises an error.

    A run that is killed or interrupted leaves it, to be taken over.

    Raises:
        InputError: `out` is something else than a file.
        ArtefactError: another run is writing it.
    """
    if not out.name or (out.exists() and not out.is_file()):
        raise InputError(f"--out {out}: expected a file to write, found something else")
    folder = refuse_link(out.with_name(f".{out.name}.parts"))
    with locked(folder, for_the_sake_of=out):
        try:
            _begin(folder, json.dumps(job, sort_keys=True))
            yield Parts(folder)
        except BaseException as error:
            if not (isinstance(error, KeyboardInterrupt) and any(folder.glob("*.parquet"))):
                shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder)


def _begin(folder: Path, job: str) -> None:
    """Keep the parts of the same job; drop those of another."""
    said = folder / "job.json"
    if said.is_file() and said.read_text(encoding="utf-8", errors="replace") == job:
        return
    for old in folder.glob("*.parquet"):
        old.unlink()
    write_text(said, job)
