"""The feature store on disk: Parquet tables, their tensors and a manifest, by generation. Knows no step.

    STORE/<generation>/*.parquet      tables; *.safetensors: float32 copies of their vectors, to be memory-mapped
    STORE/rejects/<table>-<generation>.parquet   copies of the rejects of each generation, to be found at once
    STORE/models/KIND                 see `models_folder`
    STORE/timings.jsonl               what each run took; see `recipes.timing`

How a generation is published: `artefacts`.
"""

import json
import os
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dataframely as dy
import numpy as np
import polars as pl
from safetensors import SafetensorError, safe_open

from recsys_polars.artefacts import Stage, checked_file, generations, held_generation, staged, tidy
from recsys_polars.disk import fingerprint
from recsys_polars.errors import ArtefactError, TableError
from recsys_polars.guards import Hold, refuse_link
from recsys_polars.tables import Vectors, check

_REJECTS = "rejects-"
_ORIGIN = ("file", "line", "found")
ROW_GROUP = 50_000
"""Rows of a Parquet row group: larger ones with vectors blow up a streaming reader."""


@dataclass(frozen=True)
class Store:
    """One generation of a store, open for reading; it is not removed before this is gone.

    Attributes:
        path: the store's folder.
        generation: name of the generation.
        manifest: what its `manifest.json` holds.
        models: the models of the store that were found so far, by kind; see `recipes.trained`.

    Example:
        >>> store.scan("items").select("item_id").collect()["item_id"].to_list()
        ['w', 'x', 'y', 'z']
        >>> {name: vectors.shape for name, vectors in store.tensors("item_features").items()}
        {'numeric': (4, 6), 'tfidf': (4, 100)}
    """

    path: Path
    generation: str
    manifest: Mapping[str, Any] = field(repr=False)
    _held: Hold | None = field(default=None, repr=False, compare=False)
    models: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    _checked: dict[str, Path] = field(default_factory=dict, repr=False, compare=False)

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def identity(self) -> str:
        """The generation and a fingerprint of its files: what models and predictions say they were made for."""
        return identity_of(self.generation, self.manifest)

    @property
    def models_folder(self) -> Path:
        """Where models lie, one folder a kind, beside the generations.

        Raises:
            ArtefactError: it is a symbolic link.
        """
        return refuse_link(self.path / "models")

    def scan(self, table: str) -> pl.LazyFrame:
        """Return a table, unread.

        Raises:
            ArtefactError: this generation has no such table, or it is damaged.
        """
        return pl.scan_parquet(self.table_file(table), glob=False)

    def table_file(self, table: str) -> Path:
        """Return the Parquet file of a table, for other programs to read.

        Raises:
            ArtefactError: as `scan`.
        """
        return self._file(f"{table}.parquet")

    def rejects(self, table: str) -> pl.LazyFrame | None:
        """Return the rows of raw files that broke a rule, unread; None where there were none.

        Raises:
            ArtefactError: they are damaged.
        """
        entry = self.manifest.get("rejects", {}).get(table)
        return entry and pl.scan_parquet(self._file(entry["file"]), glob=False)

    def tensors(self, table: str) -> dict[str, Vectors]:
        """Return the vectors of a table by name, memory-mapped.

        Raises:
            ArtefactError: this generation has no vectors for that table, or their file is damaged.
        """
        path = self._file(f"{table}.safetensors")
        try:
            return mapped(path)
        except SafetensorError as error:
            raise ArtefactError(f"{path}: damaged ({error}); build the store again") from error

    def _file(self, name: str) -> Path:
        """The path of a file, whose bytes are checked when it is first asked for."""
        if name not in self._checked:
            self._checked[name] = checked_file(self.path / self.generation, name, self.manifest)
        return self._checked[name]


def mapped(path: Path) -> dict[str, Any]:
    """Return the arrays of a safetensors file by name, memory-mapped."""
    # The torch reader maps the file; the numpy one would copy it.
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name).numpy() for name in file.keys()}  # noqa: SIM118


def identity_of(generation: str, manifest: Mapping[str, Any]) -> str:
    """See `Store.identity`."""
    return f"{generation}-{fingerprint(manifest['files'])}"


def open_store(path: str | os.PathLike[str]) -> Store:
    """Open the current generation of the store at `path`.

    Raises:
        ArtefactError: no store there, a damaged one, or one of another format version.

    Example:
        >>> rp.open_store("store").manifest["counts"]["users"]
        3
    """
    path = Path(path)
    if not (path / "CURRENT").is_file():
        raise ArtefactError(
            f"{path}: expected a feature store, found none; "
            f"build one with recsys-polars build-features --out {shlex.quote(str(path))}"
        )
    store = Store(path, *held_generation(path))
    blocks = store.manifest.get("blocks")
    if not (isinstance(blocks, list) and blocks and all(isinstance(block, str) for block in blocks)):
        raise ArtefactError(
            f"{path}: expected the names of vector blocks in the manifest, found {blocks!r}; build it again"
        )
    return store


@dataclass(frozen=True)
class StoreWriter:
    """A generation of a store being built; it becomes readable when the block of `build_store` ends without error."""

    stage: Stage

    def scan(self, table: str) -> pl.LazyFrame:
        """Return a table already written, unread."""
        return pl.scan_parquet(self.stage.folder / f"{table}.parquet", glob=False)

    def write(self, table: str, frame: pl.DataFrame, contract: type[dy.Schema]) -> None:
        """Write a table in the order of its rows, once it keeps its contract.

        Raises:
            TableError: it doesn't.
        """
        self.sink(table, check(contract, frame, name=table).lazy())

    def sink(self, table: str, rows: pl.LazyFrame) -> None:
        """Write a table in the order of its rows, a row group at a time; they are known to keep their contract.

        The bytes don't depend on the number of threads, nor on the pieces that the rows come in.
        """
        schema, name = rows.collect_schema(), f"{table}.parquet"
        # Float32 vectors hardly compress, and zstd takes twice as long to find that out.
        with_vectors = any(isinstance(dtype, pl.Array) for dtype in schema.dtypes())
        rows.sink_parquet(
            self.stage.folder / name,
            compression="lz4" if with_vectors else "zstd",
            row_group_size=ROW_GROUP,
        )
        columns = {column: str(dtype) for column, dtype in schema.items()}
        self.stage.add_file(name, rows=self._n_rows(table), columns=columns)

    def _n_rows(self, table: str) -> int:
        return int(self.scan(table).select(pl.len()).collect().item())

    def write_tensors(self, table: str, tensors: Mapping[str, Vectors]) -> None:
        """Write the float32 copy of a table's vectors, by name; rows in the order of the table."""
        shapes = {name: (len(tensor), tensor.shape[1]) for name, tensor in tensors.items()}
        with self.append_tensors(table, shapes) as append:
            for tensor in tensors.values():
                append(tensor)

    @contextmanager
    def append_tensors(self, table: str, shapes: Mapping[str, tuple[int, int]]) -> Iterator[Callable[[Vectors], None]]:
        """Write the float32 copy of a table's vectors block by block, through the function that is yielded.

        Args:
            table: name of the table.
            shapes: (rows, dimensions) of each tensor by name: their rows follow each other in this order.
        """
        name, end, header = f"{table}.safetensors", 0, dict[str, Any]()
        for tensor, (rows, width) in shapes.items():
            header[tensor] = {"dtype": "F32", "shape": [rows, width], "data_offsets": [end, end + 4 * rows * width]}
            end += 4 * rows * width
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)  # the data begin at a multiple of 8
        with (self.stage.folder / name).open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)

            def append(rows: Vectors) -> None:
                file.write(np.ascontiguousarray(rows, dtype="<f4").data)  # a turned or sliced tensor becomes rows first

            yield append
            if file.tell() != 8 + len(text) + end:
                raise TableError(f"{name}: expected {end:,} bytes of vectors, found {file.tell() - 8 - len(text):,}")
        self.stage.add_file(name, shapes={tensor: list(shape) for tensor, shape in shapes.items()})

    def write_rejects(self, table: str, rows: pl.LazyFrame) -> None:
        """Write the rows that broke a contract, with the `rule` that they broke; nothing where there are none.

        The manifest counts them, and has the first row of each rule by file and line, as far as those are known.
        """
        name = f"{_REJECTS}{table}"
        path = self.stage.folder / f"{name}.parquet"
        rows.sink_parquet(path)
        rejects = pl.scan_parquet(path, glob=False)
        row = pl.struct("rule", *(name for name in _ORIGIN if name in rejects.collect_schema()))
        rules = rejects.group_by("rule").agg(pl.len(), first=row.min_by(row))  # by all of it: files change, paths stay
        by_rule = rules.sort("len", "rule", descending=[True, False]).collect()
        if by_rule.is_empty():
            path.unlink()
            return
        n_rows = int(by_rule["len"].sum())
        self.stage.add_file(path.name, rows=n_rows)
        counts = dict(by_rule.select("rule", "len").iter_rows())
        entry = {"file": path.name, "rows": n_rows, "rules": counts, "first": by_rule["first"].to_list()}
        self.stage.facts.setdefault("rejects", {})[table] = entry


@contextmanager
def build_store(path: Path) -> Iterator[StoreWriter]:
    """Build a new generation of the store at `path`; an error inside the block leaves the store as it was.

    Raises:
        ArtefactError: another build is at work there, or the folder is something else than a store.
    """
    refuse_link(path / "rejects")
    with staged(path, then=lambda: show_rejects(path)) as stage:
        yield StoreWriter(stage)


def tidy_store(path: Path) -> None:
    """Do what a build had left to do that was killed once its generation was published; see `artefacts.tidy`."""
    tidy(path, then=lambda: show_rejects(path))


def show_rejects(path: Path) -> None:
    """Have `rejects/` hold the rejects of the generations that are kept, and no others; under the caller's lock."""
    shown = refuse_link(path / "rejects")
    kept = rejects_of(path)
    if kept:
        shown.mkdir(exist_ok=True)
    for old in shown.glob("*.parquet"):
        if old.name not in kept:
            old.unlink()
    beside = shown / ".copy.tmp"
    beside.unlink(missing_ok=True)
    for name, file in kept.items():
        if not (shown / name).exists():
            shutil.copyfile(file, beside)
            beside.replace(shown / name)


def rejects_of(path: Path) -> dict[str, Path]:
    """Return the files of rejects in the generations of a store, by what they are called in `rejects/`."""
    return {
        f"{file.stem.removeprefix(_REJECTS)}-{generation}.parquet": file
        for generation in generations(path)
        for file in (path / generation).glob(f"{_REJECTS}*.parquet")
    }
