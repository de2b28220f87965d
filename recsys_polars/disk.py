"""Single files: hashed, synced, replaced as a whole."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from recsys_polars.guards import one_at_a_time


def write_text(path: Path, text: str) -> None:
    """Replace the text of a file atomically: a reader sees the old text or the new, also after a crash."""
    beside = path.with_name(f".{path.name}.tmp")
    with one_at_a_time(path.parent):
        beside.unlink(missing_ok=True)
        try:
            with beside.open("x", encoding="utf-8") as file:  # never through a link
                file.write(text)
            sync(beside)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        sync(path.parent)


def sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(value: Any) -> str:
    """Return a short sha256 of a value that JSON can say."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def sync(path: Path) -> None:
    """Have the bytes of a file, or the entries of a folder, on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
