"""Vectors that come with the items: wide columns `clip_text_0 ..`, lists and arrays -> one array column each."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from recsys_polars.errors import InputError
from recsys_polars.sources.raw import RawFile, clipped, raw_column
from recsys_polars.sources.reading import reading
from recsys_polars.sources.values import number

_NUMBERED = re.compile(r"(?P<prefix>.+)_(?P<place>0|[1-9]\d{0,5})")
_SAMPLE = 1_000
_SAME_WIDTH = 0.9


@dataclass(frozen=True)
class Vector:
    """One vector of each item: the columns that hold it, in order, or the one list or array column."""

    name: str
    width: int
    columns: tuple[str, ...]

    @property
    def rule(self) -> str:
        """Return the rule that a row breaks whose vector has another width or holds what is no number."""
        return f"{self.name}: not {self.width} finite numbers"


def find_vectors(raw: RawFile) -> list[Vector]:
    """Return the vectors of a file, in the order of its columns.

    Wide: numeric columns `PREFIX_0`, `PREFIX_1` and on. In Parquet also arrays of numbers, and lists of
    floats if nine tenths of the first 1,000 have one width (lists of whole numbers are as a rule ids or codes).

    Raises:
        InputError: where a wide vector lacks a number in between, or two vectors have one name.
    """
    wide = [Vector(prefix, len(names), names) for prefix, names in _wide(raw).items()]
    stored = [Vector(name, width, (name,)) for name in raw.columns if (width := _stored_width(raw, name))]
    twice = {vector.name for vector in wide} & {vector.name for vector in stored}
    if twice:
        raise InputError(f"{raw.path}: {', '.join(sorted(twice))}: expected one vector, found wide columns and a list")
    return wide + stored


def _wide(raw: RawFile) -> dict[str, tuple[str, ...]]:
    places: dict[str, dict[int, str]] = {}
    for name, look in raw.looks.items():
        numbered = _NUMBERED.fullmatch(name)
        if numbered and look == "number":
            places.setdefault(numbered["prefix"], {})[int(numbered["place"])] = name
    vectors = {prefix: names for prefix, names in places.items() if {0, 1} <= names.keys()}
    gaps = {prefix: sorted(set(range(max(names))) - names.keys()) for prefix, names in vectors.items()}
    problems = [
        f"{prefix}: expected columns without a gap, found no {prefix}_{gap[0]}" for prefix, gap in gaps.items() if gap
    ]
    if problems:
        raise InputError(f"{raw.path}: {'; '.join(problems)} (of numbers)")
    return {prefix: tuple(names[place] for place in sorted(names)) for prefix, names in vectors.items()}


def _stored_width(raw: RawFile, name: str) -> int | None:
    dtype = raw.type_of(name)
    if isinstance(dtype, pl.Array) and dtype.inner.is_numeric() and len(dtype.shape) == 1:
        return dtype.size or None
    if not (isinstance(dtype, pl.List) and dtype.inner.is_float()):
        return None
    with reading(raw.path):
        sample = raw.scan([name]).select(raw_column(name).list.len()).drop_nulls().head(_SAMPLE).collect()
    widths = Counter(sample.to_series().to_list())
    width, rows = max(widths.items(), key=lambda item: (item[1], item[0]), default=(0, 0))
    return width if width and rows >= _SAME_WIDTH * widths.total() else None


def vector_values(raw: RawFile, vector: Vector) -> pl.Expr:
    """Return the vector of each row as Array(Float32, width); null where it is absent or breaks `vector.rule`."""
    if len(vector.columns) > 1:
        array = pl.concat_arr([number(raw, name).cast(pl.Float32) for name in vector.columns])
    elif isinstance(raw.type_of(vector.name), pl.List):
        column = raw_column(vector.name)
        array = pl.when(column.list.len() == vector.width).then(column).list.to_array(vector.width)
        array = array.cast(pl.Array(pl.Float32, vector.width))
    else:
        array = raw_column(vector.name).cast(pl.Array(pl.Float32, vector.width))
    finite = array.arr.eval(pl.element().is_finite().fill_null(value=False)).arr.all()
    return pl.when(finite).then(array)


def is_absent(vector: Vector) -> pl.Expr:
    """Return whether a row has nothing of the vector: null, empty or NaN (as pandas writes it) in every place."""
    if len(vector.columns) == 1:
        return raw_column(vector.name).is_null()
    nothing = [
        raw_column(name).cast(pl.String).fill_null("").str.strip_chars().str.to_lowercase().is_in(["", "nan"])
        for name in vector.columns
    ]
    return pl.all_horizontal(nothing)


def vector_text(raw: RawFile, vector: Vector) -> pl.Expr:
    """Return the raw vector as a reject shows it: the list itself, or the first wide value that is no finite number."""
    if len(vector.columns) == 1:
        column = raw_column(vector.name)
        listed = column.arr.to_list() if isinstance(raw.type_of(vector.name), pl.Array) else column
        return clipped(
            pl.format("[{}]", listed.list.eval(pl.element().cast(pl.String).fill_null("null")).list.join(", "))
        )
    bad = {
        name: number(raw, name).cast(pl.Float32).is_finite().fill_null(value=False).not_() for name in vector.columns
    }
    return pl.coalesce(
        pl.when(is_bad).then(pl.format("{}: {}", pl.lit(name), raw_column(name).cast(pl.String).fill_null("null")))
        for name, is_bad in bad.items()
    )


def common_vectors(files: Mapping[str, Sequence[Vector]]) -> dict[str, int]:
    """Return name -> width of the vectors, which must be the same in every file.

    Raises:
        InputError: naming the files that differ.
    """
    widths = {path: {vector.name: vector.width for vector in vectors} for path, vectors in files.items()}
    first = next(iter(widths.values()))
    if any(other != first for other in widths.values()):
        each = "; ".join(f"{path}: {_shown(found)}" for path, found in widths.items())
        raise InputError(f"vectors: expected the same in every file of items, found {each}")
    return first


def _shown(widths: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({width})" for name, width in widths.items()) or "none"
