"""Raw files wherever Spark reaches them -> parsed rows. A file is one task, and parsed by the code that always does."""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from recsys_polars.disk import sha256
from recsys_polars.errors import InputError
from recsys_polars.recipes.raw import BuildSettings, Sources, fingerprints, open_sources, with_defaults
from recsys_polars.sources import ParsedFile, read_interactions, reading
from recsys_polars.spark.files import FileSystem, Remote, as_path, is_uri
from recsys_polars.spark.session import on_worker

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

LARGEST = (1 << 31) - (1 << 20)
"""Bytes of a remote file: Spark hands it to a worker as one value."""
PARSED = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("rating", pa.float32()),
        ("event_time", pa.timestamp("us", "UTC")),
        ("number", pa.int32()),
        ("file", pa.string()),
        ("line", pa.int64()),
        ("rule", pa.string()),
        ("found", pa.string()),
    ]
)
"""A raw row as it leaves a worker; `number` is that of its file."""
_DDL = (
    "user_id string, item_id string, rating float, event_time timestamp, number int, file string, line bigint, "
    "rule string, found string"
)
_BATCH = 100_000


@dataclass(frozen=True)
class Inputs:
    """What a store is built from.

    Attributes:
        settings: with all that depends on the files filled in.
        sources: the files as far as they were looked at: those of items, whole, and the ends of the interactions'.
        interactions: where each file of interactions is: the URI of a remote one.
        remote: whether these are remote.
    """

    settings: BuildSettings
    sources: Sources
    interactions: list[str]
    remote: bool

    @property
    def item_files(self) -> list[ParsedFile]:
        """The files of items, on this machine."""
        return self.sources[1].files if self.sources[1] else []

    @property
    def format(self) -> str:
        """That of the interactions."""
        return self.sources[0].format


def open_inputs(session: "SparkSession", settings: BuildSettings, scratch: Path) -> Inputs:
    """Look at the heads of the files: of remote ones, at copies of their ends in `scratch`; items are copied whole.

    Raises:
        InputError: files or columns that are missing or can't be used.
    """
    places: dict[Path, str] = {}
    asked = with_defaults(settings)
    interactions = _looked_at(session, asked.interactions, scratch / "interactions", places, whole=False)
    items = _looked_at(session, asked.items, scratch / "items", places, whole=True)
    with _named_by(places):
        sources = open_sources(replace(asked, interactions=interactions, items=items))
    remote = is_uri(asked.interactions or "")
    files = [places.get(file.path, str(file.path.absolute())) for file in sources[0].files]
    return Inputs(asked, sources, files, remote)


def _looked_at(
    session: "SparkSession", place: str | None, folder: Path, places: dict[Path, str], *, whole: bool
) -> str | None:
    """A pattern of files on this machine that stand for those of a place, which `places` has by them."""
    if place is None or not is_uri(place):
        return place and str(as_path(place))
    disk = FileSystem(session)
    files = disk.find(place)
    if not files:
        raise InputError(f"{place}: expected a file, a glob or a folder, found none")
    in_folder = disk.is_folder(place)
    for number, file in enumerate(files):
        # Of a folder only some files are taken, by their names; of a glob all, whose names may be the same.
        to = folder / (file.name if in_folder else f"{number:06d}/{file.name}")
        to.parent.mkdir(parents=True, exist_ok=True)
        places[_fetched(disk, file, to, whole=whole)] = file.uri
    return str(folder if in_folder else folder / "*" / "*")


def _fetched(disk: FileSystem, file: Remote, to: Path, *, whole: bool) -> Path:
    if whole:
        return disk.fetch(file.uri, to)
    if file.n_bytes > LARGEST:
        raise InputError(f"{file.uri}: expected files of at most 2 GB, found one of {file.n_bytes:,} bytes: part it")
    return disk.fetch_ends(file, to)


class _named_by:  # noqa: N801
    """Have messages name remote files, not the copies that were looked at."""

    def __init__(self, places: Mapping[Path, str]) -> None:
        self._places = places

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Name them."""
        if isinstance(error, InputError) and any(str(path) in str(error) for path in self._places):
            raise InputError(said_of(str(error), self._places)) from error


def said_of(message: str, places: Mapping[Path, str]) -> str:
    """Return a message that names remote files instead of their copies."""
    for path, uri in places.items():
        message = message.replace(str(path), uri)
    return message


def fingerprints_of(session: "SparkSession", inputs: Inputs) -> list[dict[str, Any]]:
    """Return the place, size and sha256 of every input file; workers read those of interactions."""
    if inputs.remote:
        from pyspark.sql.functions import sha2

        rows = _contents(session, inputs.interactions).select("path", "length", sha2("content", 256)).collect()
        found = {path: (n_bytes, digest) for path, n_bytes, digest in rows}
        marks = [{"path": place, "bytes": found[place][0], "sha256": found[place][1]} for place in inputs.interactions]
    else:
        made = _each(session, inputs.interactions, _fingerprint, pa.schema([("mark", pa.string())]), "mark string")
        by_place = {mark["path"]: mark for mark in (json.loads(row["mark"]) for row in made.collect())}
        marks = [by_place[place] for place in inputs.interactions]
    return [*marks, *fingerprints(inputs.item_files)]


def _fingerprint(place: str, number: int) -> Iterator[pa.Table]:  # noqa: ARG001
    path = Path(place)
    with reading(path):
        yield pa.table({"mark": [json.dumps({"path": place, "bytes": path.stat().st_size, "sha256": sha256(path)})]})


def parse_interactions(session: "SparkSession", inputs: Inputs) -> "DataFrame":
    """Return every raw row of interactions, parsed, as `PARSED` has it, in no promised order."""
    settings = inputs.settings
    parse = _Parse(inputs.format, dict(settings.columns), implicit=inputs.sources[0].implicit)
    if not inputs.remote:
        return _each(session, inputs.interactions, parse, PARSED, _DDL)
    numbers = {place: number for number, place in enumerate(inputs.interactions)}

    def parse_content(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with tempfile.TemporaryDirectory() as folder:
            for batch in batches:
                for uri, content in zip(batch["path"].to_pylist(), batch["content"], strict=True):
                    path = Path(folder) / uri.rsplit("/", 1)[-1]
                    path.write_bytes(content.as_buffer())
                    for table in parse(str(path), numbers[uri], uri):
                        yield from table.cast(PARSED).to_batches(max_chunksize=_BATCH)

    return _contents(session, inputs.interactions).select("path", "content").mapInArrow(parse_content, _DDL)


@dataclass(frozen=True)
class _Parse:
    """How a file is parsed, once all of them were looked at."""

    format: str
    columns: dict[str, str]
    implicit: bool

    def __call__(self, place: str, number: int, name: str | None = None) -> Iterator[pa.Table]:
        path = Path(place)
        with on_worker(), _named_by({path: name} if name else {}), tempfile.TemporaryDirectory() as folder:
            parsed = read_interactions(place, format=self.format, columns=self.columns, implicit=self.implicit)
            rows = Path(folder) / "rows.parquet"
            with reading(path):
                parsed.files[0].rows.sink_parquet(rows, compression="lz4")
            with pq.ParquetFile(rows) as file:
                for batch in file.iter_batches(_BATCH):
                    n_rows = batch.num_rows
                    table = pa.Table.from_batches([batch])
                    table = table.append_column("number", pa.array([number] * n_rows, pa.int32()))
                    if name:
                        table = table.set_column(
                            table.column_names.index("file"), "file", pa.array([name] * n_rows, pa.string())
                        )
                    yield table.select(PARSED.names)


def _each(
    session: "SparkSession",
    places: list[str],
    read: Callable[[str, int], Iterator[pa.Table]],
    schema: pa.Schema,
    ddl: str,
) -> "DataFrame":
    """The tables that `read` makes of each place, which every worker can open, a task each."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch["id"].to_pylist():
                for table in read(places[number], number):
                    yield from table.cast(schema).to_batches(max_chunksize=_BATCH)

    return session.range(0, len(places), 1, len(places)).mapInArrow(run, ddl)


def _contents(session: "SparkSession", places: list[str]) -> "DataFrame":
    """Each file as one row: path, length, content."""
    return session.read.format("binaryFile").load(places)
