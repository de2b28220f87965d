"""Which files a pattern names, and what stands at the beginning of one."""

import glob
import gzip
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from recsys_polars.errors import InputError

DATA_SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".txt", ".dat", ".data", ".item", ".parquet")
COMPRESSED = (".gz", ".zst")
HEAD_BYTES = 1 << 22
HEAD_LINES = 1_000
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Head:
    """The beginning of a file, decompressed."""

    magic: bytes
    """The first four bytes."""
    lines: tuple[str, ...]
    """Up to 1,000 lines within the first 4 MB, without their ends; bytes that are no UTF-8 are replaced."""

    @property
    def first(self) -> int:
        """Return the position of the first line that is not blank, or -1."""
        return next((place for place, line in enumerate(self.lines) if line.strip()), -1)


def find_files(pattern: str, *, prefer: Sequence[str] = (), avoid: Sequence[str] = ()) -> list[Path]:
    """Return the files that `pattern` names: a file, a glob (`**` too) or a folder; sorted, never empty.

    Args:
        pattern: a path or a glob. What exists under that very name is taken as it is, brackets and stars included.
        prefer: name patterns. In a folder that has such files only they are taken ...
        avoid: ... and otherwise every data file that does not match these. Folders inside the folder are left alone.

    Raises:
        InputError: where nothing is found, or what is found is no regular file.
    """
    path = Path(pattern).expanduser()
    if path.is_dir():
        found = of_folder((file for file in path.iterdir() if file.is_file()), prefer, avoid)
        expected = f"a file ending in {', '.join(DATA_SUFFIXES)} (or with {' or '.join(COMPRESSED)} after it)"
    elif path.exists():
        found = [path] if path.is_file() else []
        expected = "a regular file"
    else:
        found = [Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).is_file()]  # noqa: PTH207
        expected = "a file, a quoted glob or a folder"
    if not found:
        raise InputError(f"{pattern}: expected {expected}, found none")
    unsaid = [path for path in found if not _is_utf8(str(path))]
    if unsaid:
        raise InputError(f"{unsaid[0]}: expected a file whose name is UTF-8, found other bytes: rename it")
    return sorted(found)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def of_folder(files: Iterable[Path], prefer: Sequence[str], avoid: Sequence[str]) -> list[Path]:
    """Return those of the files in a folder that are taken, by their names; see `find_files`."""
    data = [path for path in files if data_suffix(path) in DATA_SUFFIXES]
    shown = [path for path in data if not path.name.startswith((".", "_"))]
    preferred = [path for path in shown if _matches(path, prefer)]
    return preferred or [path for path in shown if not _matches(path, avoid)]


def _matches(path: Path, patterns: Sequence[str]) -> bool:
    return any(fnmatch(path.name.lower(), pattern) for pattern in patterns)


def printable(text: str, limit: int = 80) -> str:
    """Return the beginning of text out of a file, fit for a message: one line, no control characters."""
    return "".join(sign if sign.isprintable() else "?" for sign in text[:limit])


def data_suffix(path: Path) -> str:
    """Return the suffix that tells a file's type, in lower case: `.csv` of `ratings.csv.gz`."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for reading, decompressed if its first bytes say gzip or zstd, whatever its suffix says."""
    with path.open("rb") as file:
        magic = file.read(4)
    if magic.startswith(_GZIP):
        return cast("BinaryIO", gzip.open(path))
    if magic == _ZSTD:
        return io.BufferedReader(cast("io.RawIOBase", pa.CompressedInputStream(pa.OSFile(str(path)), "zstd")))
    return path.open("rb")


def head_of(path: Path) -> Head:
    """Return the beginning of a file.

    Raises:
        InputError: where the file is empty, has only blank lines at its beginning, or is in UTF-16.
    """
    with open_bytes(path) as file:
        start = file.read(HEAD_BYTES)
    if start.startswith(_UTF16):
        raise InputError(f"{path}: expected text in UTF-8, found UTF-16: convert the file first")
    lines = start.decode("utf-8-sig", errors="replace").split("\n")
    if len(start) == HEAD_BYTES and len(lines) > 1:
        lines.pop()
    head = Head(start[:4], tuple(line.removesuffix("\r") for line in lines[:HEAD_LINES]))
    if head.first < 0:
        raise InputError(f"{path}: expected rows, found {'only blank lines' if start else 'an empty file'}")
    return head
