"""Whatever goes wrong while a file's rows are read, said once: the file, what was expected, what was found."""

import errno
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from recsys_polars.errors import InputError
from recsys_polars.sources.files import open_bytes, printable

_OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_OUTPUT_WORDS = re.compile(r"no space left|quota exceeded|file too large|read-only file system", re.IGNORECASE)
_EXPLANATIONS = (
    (
        r"unexpected end of file|incomplete frame|end-of-stream marker|truncated",
        "expected a whole compressed file, found one that breaks off: was the download cut short?",
    ),
    (r"parquet|thrift|out of specification", "expected a Parquet file, found a damaged one or something else"),
    (
        r"gzip|zstd|checksum|decompress|incorrect (header|data)|invalid (block|distance)|corrupt|unknown (frame|compr)",
        "expected gzip or zstd data, found damaged bytes",
    ),
    (r"invalid utf-?8|utf-8", "expected text in UTF-8, found other bytes: convert the file first"),
    (r"empty csv|no data", "expected rows, found an empty file"),
    (r"csv malformed", "expected fields whose quotes are closed and doubled inside, found a quote too many or too few"),
    (r"permission denied", "can't be read: permission denied"),
    (r"no such file", "no such file"),
    (r"is a directory", "expected a file, found a folder"),
)
_UNPARSED = re.compile(r"could not parse `(.*?)` as dtype", re.DOTALL)


@dataclass(frozen=True)
class ParsedFile:
    """One file whose rows are parsed when they are collected: inside `reading(path)`, so that errors have a name.

    One row per raw row, in no promised order; `line` is unique within a file. Accepted rows have a null `rule`.
    """

    path: Path
    rows: pl.LazyFrame


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Turn what Polars, the system or a decompressor raises in this block into one message about `path`.

    A full or read-only disk is about what is written, not about what is read: such errors pass through.

    Raises:
        InputError: naming the file, what was expected and, where known, what was found and on which line.
    """
    try:
        yield
    except (pl.exceptions.PolarsError, OSError, EOFError, zlib.error, UnicodeError) as error:
        if _is_about_output(error):
            raise
        raise InputError(f"{path}: {_explain(error, Path(path))}") from error
    except pl.exceptions.PanicException as error:
        raise InputError(
            f"{path}: expected a file that Polars can read, found one that it fails on: {printable(str(error), 200)}"
        ) from error


def _is_about_output(error: Exception) -> bool:
    number = error.errno if isinstance(error, OSError) else None
    return number in _OUTPUT_ERRORS or bool(_OUTPUT_WORDS.search(str(error)))


def _explain(error: Exception, path: Path) -> str:
    unparsed = _UNPARSED.search(str(error))
    if unparsed:
        return _malformed(unparsed[1], path)
    for pattern, explanation in _EXPLANATIONS:
        if re.search(pattern, str(error), re.IGNORECASE):
            return explanation
    lines = str(error).strip().splitlines()
    return f"can't be read: {printable(lines[0], 300) if lines else type(error).__name__}"


def _malformed(field: str, path: Path) -> str:
    start = field.splitlines()[0] if field.splitlines() else field
    number = _line_of(start, path)
    where = f"line {number:,}: " if number else ""
    return f"{where}expected a field whose quotes are closed and doubled inside, found {printable(start)}"


def _line_of(text: str, path: Path) -> int | None:
    # Polars gives an offset within its own chunk only, so the place is looked for; this runs once, on the way out.
    wanted = text.encode()
    try:
        with open_bytes(path) as file:
            return next((number for number, line in enumerate(file, start=1) if wanted in line), None)
    except (OSError, EOFError, zlib.error):
        return None
