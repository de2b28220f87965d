import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

Write = Callable[[str, str | bytes], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file, compressed as its suffix says, and return its path."""

    def write_file(name: str, content: str | bytes) -> str:
        data = content.encode() if isinstance(content, str) else content
        if name.endswith(".gz"):
            data = gzip.compress(data)
        if name.endswith(".zst"):
            data = pa.compress(data, codec="zstd", asbytes=True)
        (tmp_path / name).write_bytes(data)
        return str(tmp_path / name)

    return write_file


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = os.environ.get("RECSYS_POLARS_DATA")
    if not folder:
        pytest.skip("RECSYS_POLARS_DATA names no folder with the development data")
    return Path(folder)
