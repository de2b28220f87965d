"""Raw files wherever Spark reaches them -> parsed rows. A file is one task, and parsed by the code that always does."""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from recsys_polars.disk import sha256
from recsys_polars.errors import InputError
from recsys_polars.recipes.raw import BuildSettings, Sources, fingerprints, open_sources, with_defaults
from recsys_polars.sources import ParsedFile, read_interactions, reading
from recsys_polars.sources.files import of_folder
from recsys_polars.sources.formats import INTERACTIONS, ITEMS, Kind
from recsys_polars.spark.files import FileSystem, Remote, as_path, is_uri, to_read
from recsys_polars.spark.session import memory_of_worker, on_worker

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_LARGEST = (1 << 31) - (1 << 20)
_COPIES = 6
"""A remote file is one value of Spark's, of 2 GB at most, and several copies of it on its way to a worker."""
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
        places: where each file of interactions is: a path that every worker has too, or a URI.
        names: what messages and tables call these files.
        copies: the files of this machine that stand for remote ones, and their URIs.
    """

    settings: BuildSettings
    sources: Sources
    places: list[str]
    names: list[str]
    copies: Mapping[Path, str]

    @property
    def are_remote(self) -> bool:
        """Whether Spark has to hand the interactions to the workers."""
        return bool(self.places) and is_uri(self.places[0])

    @property
    def item_files(self) -> list[ParsedFile]:
        """The files of items, on this machine."""
        return self.sources[1].files if self.sources[1] else []


def open_inputs(session: "SparkSession", settings: BuildSettings, scratch: Path) -> Inputs:
    """Look at the heads of the files: of remote ones, at copies of their ends in `scratch`; items are copied whole.

    Raises:
        InputError: files or columns that are missing or can't be used.
    """
    asked, copies = with_defaults(settings), dict[Path, str]()
    interactions = _looked_at(session, asked.interactions, INTERACTIONS, scratch, copies)
    items = _looked_at(session, asked.items, ITEMS, scratch, copies)
    patterns = {
        Path(here): there
        for here, there in ((interactions, asked.interactions), (items, asked.items))
        if here and there
    }
    with said_of({**copies, **patterns}):
        sources = open_sources(replace(asked, interactions=interactions, items=items))
    if sources[1]:
        files = [_renamed(file, copies) for file in sources[1].files]
        sources = sources[0], replace(sources[1], files=files)
    paths = [file.path for file in sources[0].files]
    places = [copies.get(path, str(path.absolute())) for path in paths]
    return Inputs(asked, sources, places, [copies.get(path, str(path)) for path in paths], copies)


def _looked_at(
    session: "SparkSession", place: str | None, kind: Kind, scratch: Path, copies: dict[Path, str]
) -> str | None:
    """A pattern of files on this machine that stand for those of a place; remote ones are entered into `copies`."""
    if place is None or not is_uri(place):
        return place and str(as_path(place))
    disk, folder = FileSystem(session), scratch / ("items" if kind is ITEMS else "interactions")
    files = {Path(f"{number:06d}") / file.name: file for number, file in enumerate(disk.find(place))}
    if disk.is_folder(place):
        other = INTERACTIONS if kind is ITEMS else ITEMS
        files = {path: files[path] for path in of_folder(files, kind.file_names, other.file_names)}
    if not files:
        raise InputError(f"{place}: expected a file, a glob or a folder with data files, found none")
    for path, file in files.items():
        to = folder / path
        to.parent.mkdir(parents=True)
        copies[disk.fetch(file.uri, to) if kind is ITEMS else _ends(session, disk, file, to)] = file.uri
    return str(folder / "*" / "*")


def _ends(session: "SparkSession", disk: FileSystem, file: Remote, to: Path) -> Path:
    memory = memory_of_worker(session)
    largest = min(_LARGEST, memory // _COPIES)
    if file.n_bytes > largest:
        raise InputError(
            f"{file.uri}: expected remote files of at most {largest >> 20:,} MB where a worker has {memory >> 20:,}, "
            f"found one of {file.n_bytes >> 20:,} MB: part it, or give the workers more"
        )
    return disk.fetch_ends(file, to)


def _renamed(file: ParsedFile, copies: Mapping[Path, str]) -> ParsedFile:
    """The file, whose rows say that they come from what it is a copy of."""
    name = copies.get(file.path)
    return replace(file, rows=file.rows.with_columns(file=pl.lit(name))) if name else file


@contextmanager
def said_of(copies: Mapping[Path, str]) -> Iterator[None]:
    """Have messages name files as the user does, not the copies that were read."""
    try:
        yield
    except InputError as error:
        message = str(error)
        for path, name in copies.items():
            message = message.replace(str(path), name)
        raise InputError(message) from error


def fingerprints_of(session: "SparkSession", inputs: Inputs) -> list[dict[str, Any]]:
    """Return the name, size and sha256 of every input file; workers read those of interactions."""
    if inputs.are_remote:
        from pyspark.sql.functions import sha2

        rows = _contents(session, inputs.places).select("path", "length", sha2("content", 256)).collect()
        found = {path: {"path": path, "bytes": n_bytes, "sha256": digest} for path, n_bytes, digest in rows}
    else:
        made = _each(session, inputs, _fingerprint, pa.schema([("mark", pa.string())]), "mark string").collect()
        found = {mark["path"]: mark for mark in (json.loads(row["mark"]) for row in made)}
    of_items = fingerprints(inputs.item_files)
    names = {str(path): name for path, name in inputs.copies.items()}
    return [
        *(found[name] for name in inputs.names),
        *({**mark, "path": names.get(mark["path"], mark["path"])} for mark in of_items),
    ]


def _fingerprint(place: str, number: int, name: str) -> Iterator[pa.Table]:  # noqa: ARG001
    path = Path(place)
    with on_worker(), said_of({path: name}), reading(path):
        yield pa.table({"mark": [json.dumps({"path": name, "bytes": path.stat().st_size, "sha256": sha256(path)})]})


def parse_interactions(session: "SparkSession", inputs: Inputs) -> "DataFrame":
    """Return every raw row of interactions, parsed, as `PARSED` has it, in no promised order."""
    source = inputs.sources[0]
    asked = inputs.settings
    parse = _Parse(source.format, dict(asked.columns), implicit=source.implicit, time_format=asked.time_format)
    if not inputs.are_remote:
        return _each(session, inputs, parse, PARSED, _DDL)
    numbers = {place: number for number, place in enumerate(inputs.places)}

    def parse_content(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with tempfile.TemporaryDirectory() as folder:
            for batch in batches:
                for uri, content in zip(batch["path"].to_pylist(), batch["content"], strict=True):
                    path = Path(folder) / uri.rsplit("/", 1)[-1]
                    path.write_bytes(content.as_buffer())
                    for table in parse(str(path), numbers[uri], uri):
                        yield from table.cast(PARSED).to_batches(max_chunksize=_BATCH)

    return _contents(session, inputs.places).select("path", "content").mapInArrow(parse_content, _DDL)


@dataclass(frozen=True)
class _Parse:
    """How a file is parsed, once all of them were looked at."""

    format: str
    columns: dict[str, str]
    implicit: bool
    time_format: str | None

    def __call__(self, place: str, number: int, name: str) -> Iterator[pa.Table]:
        path = Path(place)
        with on_worker(), said_of({path: name}), tempfile.TemporaryDirectory() as folder:
            parsed = read_interactions(place, **asdict(self))
            rows = Path(folder) / "rows.parquet"
            with reading(path):
                file = parsed.files[0].rows.with_columns(file=pl.lit(name), number=pl.lit(number, dtype=pl.Int32))
                file.sink_parquet(rows, compression="lz4")
            with pq.ParquetFile(rows) as written:
                for batch in written.iter_batches(_BATCH, columns=PARSED.names):
                    yield pa.Table.from_batches([batch]).select(PARSED.names)


def _each(
    session: "SparkSession",
    inputs: Inputs,
    read: Callable[[str, int, str], Iterator[pa.Table]],
    schema: pa.Schema,
    ddl: str,
) -> "DataFrame":
    """The tables that `read` makes of each file, which every worker can open, a task each."""
    places, names = inputs.places, inputs.names

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch["id"].to_pylist():
                for table in read(places[number], number, names[number]):
                    yield from table.cast(schema).to_batches(max_chunksize=_BATCH)

    return session.range(0, len(places), 1, len(places)).mapInArrow(run, ddl)


def _contents(session: "SparkSession", uris: list[str]) -> "DataFrame":
    """Each file as one row: path, length, content."""
    return session.read.format("binaryFile").load([to_read(uri) for uri in uris])
