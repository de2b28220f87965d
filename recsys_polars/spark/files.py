"""Files that Spark can reach and this machine may not: a URI of any file system that Hadoop knows."""

import atexit
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from recsys_polars.errors import InputError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
_HEAD, _TAIL = 8 << 20, 8 << 20
"""Bytes at both ends of a file that are enough to know its columns: text at the one, Parquet's footer at the other."""


class Remote(NamedTuple):
    """A file by its URI, and its size."""

    uri: str
    n_bytes: int

    @property
    def name(self) -> str:
        """The last part of the URI."""
        return self.uri.rsplit("/", 1)[-1]


def is_uri(place: str) -> bool:
    """Whether a place is a URI that this machine can't open as a path; `file:` is a path."""
    found = _URI.match(place)
    return found is not None and found[1].lower() != "file"


def as_path(place: str) -> Path:
    """Return the path of a place on this machine: `file:` URIs are paths too."""
    return Path(re.sub(r"^file:(//(localhost)?(?=/))?", "", place, flags=re.IGNORECASE))


def for_spark(place: str) -> str:
    """Return what Spark takes a place for: a path of this machine whatever the cluster's own file system is."""
    return place if is_uri(place) else f"file://{as_path(place).absolute()}"


def to_read(place: str) -> str:
    """Return a place as Spark's readers take it, which look for patterns."""
    return re.sub(r"([\\{}\[\]*?])", r"\\\1", for_spark(place))


class FileSystem:
    """What Hadoop's file systems do, by URI. Their errors come as ours."""

    def __init__(self, session: "SparkSession") -> None:
        self._jvm: Any = session.sparkContext._jvm  # noqa: SLF001
        self._conf: Any = session.sparkContext._jsc.hadoopConfiguration()  # noqa: SLF001

    def find(self, pattern: str) -> list[Remote]:
        """Return the files that a URI, a glob or a folder names, sorted; of a folder, those right in it.

        What exists under that very name is taken as it is, brackets and stars included.
        """
        with _said(pattern):
            fs, path = self._open(pattern)
            if fs.exists(path):
                status = fs.getFileStatus(path)
                found = fs.listStatus(path) if status.isDirectory() else [status]
            else:
                found = fs.globStatus(path) or []
            files = [Remote(one.getPath().toString(), int(one.getLen())) for one in found if one.isFile()]
        return sorted(files)

    def exists(self, uri: str) -> bool:
        """Whether there is a file or a folder."""
        with _said(uri):
            fs, path = self._open(uri)
            return bool(fs.exists(path))

    def is_folder(self, uri: str) -> bool:
        """Whether there is a folder."""
        with _said(uri):
            fs, path = self._open(uri)
            return bool(fs.exists(path)) and bool(fs.getFileStatus(path).isDirectory())

    def entries(self, uri: str) -> list[str]:
        """Return the names of what is in a folder; none where there is no such folder."""
        with _said(uri):
            fs, path = self._open(uri)
            return sorted(one.getPath().getName() for one in fs.listStatus(path)) if fs.exists(path) else []

    def sha256(self, uri: str) -> str:
        """Return the sha256 of a file's bytes, in hex; this machine reads them."""
        with _said(uri):
            fs, path = self._open(uri)
            source = fs.open(path)
            try:
                return str(self._jvm.org.apache.commons.codec.digest.DigestUtils.sha256Hex(source))
            finally:
                source.close()

    def fetch(self, uri: str, to: Path) -> Path:
        """Copy a file to this machine; return where it is."""
        with _said(uri):
            fs, path = self._open(uri)
            fs.copyToLocalFile(False, path, self._path(to.absolute().as_uri()), True)
        return to

    def fetch_ends(self, file: Remote, to: Path) -> Path:
        """Write a file of the same size as one far away, with its first and last megabytes, and a hole between."""
        with _said(file.uri):
            fs, path = self._open(file.uri)
            with to.open("wb") as local:
                local.truncate(file.n_bytes)
            for start, stop in ((0, _HEAD), (max(_HEAD, file.n_bytes - _TAIL), file.n_bytes)):
                self._copy(fs, path, to, start, min(stop, file.n_bytes))
        return to

    def put(self, path: Path, uri: str) -> None:
        """Copy a file of this machine; it appears when it is whole, in place of one that is there.

        Raises:
            InputError: there is a folder.
        """
        if self.is_folder(uri):
            raise InputError(f"{uri}: expected a file to write, found a folder")
        folder, _, name = uri.rpartition("/")
        beside = f"{folder}/.{name}.{uuid.uuid4().hex}.tmp"
        with _said(uri):
            fs, target = self._open(uri)
            fs.mkdirs(target.getParent())
            fs.copyFromLocalFile(False, True, self._path(path.absolute().as_uri()), self._path(beside))
            fs.delete(target, False)
            fs.rename(self._path(beside), target)

    def remove(self, uri: str) -> None:
        """Remove a file, or a folder with all that is in it; nothing if there is none."""
        with _said(uri):
            fs, path = self._open(uri)
            fs.delete(path, True)

    def _open(self, uri: str) -> tuple[Any, Any]:
        path = self._path(uri)
        return path.getFileSystem(self._conf), path

    def _path(self, uri: str) -> Any:
        return self._jvm.org.apache.hadoop.fs.Path(uri)

    def _copy(self, fs: Any, path: Any, to: Path, start: int, stop: int) -> None:
        if stop <= start:
            return
        source = fs.open(path)
        target = self._jvm.java.io.RandomAccessFile(str(to), "rw")
        try:
            source.seek(start)
            target.seek(start)
            into = self._jvm.java.nio.channels.Channels.newOutputStream(target.getChannel())
            self._jvm.org.apache.commons.io.IOUtils.copyLarge(source, into, 0, stop - start)
        finally:
            target.close()
            source.close()


@contextmanager
def _said(uri: str) -> Iterator[None]:
    """Turn what a file system raises into one message about the URI."""
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    try:
        yield
    except (Py4JJavaError, PySparkException) as error:
        reason = str(getattr(error, "java_exception", error)).splitlines()[0][:300]
        raise InputError(f"{uri}: expected files that Spark can reach ({reason})") from error


def ship(session: "SparkSession", file: Path, *, unpacked: bool = False) -> str:
    """Have every worker get a file, which moves; return what `SparkFiles.get` knows it by.

    Spark hands it to workers that are still to come too, as long as its context lives: so it lives as long as this
    process, under a name that is never used again.

    Args:
        session: whose workers.
        file: on this machine.
        unpacked: whether it is an archive, of which workers get the folder.
    """
    shipped = Path(shutil.move(file, _lasting_folder() / f"{uuid.uuid4().hex}-{file.name}"))
    context = session.sparkContext
    if unpacked:
        context.addArchive(f"{shipped}#{shipped.stem}")
        return shipped.stem
    context.addFile(str(shipped))
    return shipped.name


@cache
def _lasting_folder() -> Path:
    """A folder that goes when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="recsys-polars-shipped-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def part_files(names: Iterable[str]) -> list[str]:
    """Return those of names that Spark gives to the files of a table, in the order of its partitions."""
    found = {name: re.match(r"part-(\d+)", name.rsplit("/", 1)[-1]) for name in names}
    numbers = {name: int(part[1]) for name, part in found.items() if part}
    return sorted(numbers, key=lambda name: (numbers[name], name))
