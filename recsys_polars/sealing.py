"""Files in which no byte can change unnoticed, without a second file beside them: JSON texts, and Parquet.

A text has the sha256 of what it says for an entry. A Parquet file has, in the metadata of its footer, the sha256 of its
own bytes, those of this sha256 being read as zeros.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_KEY = b"recsys_polars_sha256"
_OPEN = b"0" * 64
_VALUE_OF_64_BYTES = b"\x18\x40"  # as Thrift has it, in which a footer is written
_SEAL = re.compile(_KEY + _VALUE_OF_64_BYTES + rb"([0-9a-f]{64})")
_TAIL = 8
"""The last bytes of a Parquet file: the length of its footer, and PAR1."""
_BLOCK = 1 << 20


def seal(facts: Mapping[str, Any]) -> str:
    """Return the one text of what JSON can say, with its sha256 inside."""
    plain = json.loads(json.dumps(facts, allow_nan=False))
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
    return json.dumps({**plain, "sha256": digest}, indent=1, sort_keys=True) + "\n"


def unseal(text: str) -> dict[str, Any]:
    """Return what a sealed text says.

    Raises:
        ValueError: no such text, or a byte of it is another.
    """
    facts = json.loads(text)
    if not isinstance(facts, dict) or seal({name: facts[name] for name in facts if name != "sha256"}) != text:
        raise ValueError("its sha256 is not that of what it says")
    del facts["sha256"]
    return facts


def write_sealed_parquet(
    path: Path, tables: Iterable[pa.Table], schema: pa.Schema, metadata: Mapping[bytes, str]
) -> str:
    """Write tables into one Parquet file, a row group each; return its seal; see `is_sealed`."""
    with pq.ParquetWriter(path, schema) as writer:
        for table in tables:
            writer.write_table(table)
        writer.add_key_value_metadata({**metadata, _KEY: _OPEN})
    place, _ = _find_seal(path) or (0, b"")
    with path.open("r+b") as file:
        digest = _digest(path, place)
        file.seek(place)
        file.write(digest)
    return digest.decode()


def is_sealed(path: Path) -> bool | None:
    """Return whether a Parquet file is as `write_sealed_parquet` left it, byte for byte; None: it wasn't its work."""
    found = _find_seal(path)
    return None if found is None else _digest(path, found[0]) == found[1]


def seal_of(path: Path) -> str | None:
    """Return the sha256 that a Parquet file says to have, by which it is known; None: it says nothing of the kind."""
    found = _find_seal(path)
    return None if found is None else found[1].decode()


def _find_seal(path: Path) -> tuple[int, bytes] | None:
    """The place and the text of the sha256 in a file."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL))
        begin = max(0, size - _TAIL - int.from_bytes(file.read(4), "little"))
        file.seek(begin)
        found = list(_SEAL.finditer(file.read()))
    return (begin + found[-1].start(1), found[-1][1]) if found else None


def _digest(path: Path, place: int) -> bytes:
    """The sha256 of a file's bytes, with zeros at `place`."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        at = 0
        while block := file.read(min(_BLOCK, place - at) if at < place else _BLOCK):
            digest.update(block)
            at += len(block)
            if at == place:
                digest.update(_OPEN)
                at = file.seek(len(_OPEN), 1)
    return digest.hexdigest().encode()
