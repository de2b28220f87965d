"""Items: what the catalogue says of each, one parsed row per raw row, good or bad. Repeats of an id are legal here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import polars as pl

from recsys_polars.errors import InputError
from recsys_polars.sources.detecting import common_layout
from recsys_polars.sources.files import find_files
from recsys_polars.sources.formats import (
    INTERACTIONS,
    ITEM_COLUMNS,
    ITEMS,
    Layout,
    Names,
    check_options,
    did_you_mean,
    resolve,
)
from recsys_polars.sources.item_vectors import (
    Vector,
    common_vectors,
    find_vectors,
    is_absent,
    vector_text,
    vector_values,
)
from recsys_polars.sources.opening import open_raw
from recsys_polars.sources.prices import price, price_number, unread_price
from recsys_polars.sources.raw import RawFile, raw_column, without_last_blank
from recsys_polars.sources.reading import ParsedFile, reading
from recsys_polars.sources.texts import cleaned, first, first_url, joined, squeezed
from recsys_polars.sources.values import as_text, first_broken, id_text, number
from recsys_polars.tables import ItemFeatures

_RESERVED = (*ITEM_COLUMNS, *ItemFeatures.column_names(), "file", "line", "rule", "found", "source_row")


@dataclass(frozen=True)
class ParsedItems:
    """Files of items: the columns of `Items`, vectors, features, file String, line Int64, rule and found String.

    In a row that breaks no rule, `found` is a price that can't be read.
    """

    files: list[ParsedFile]
    format: str
    vectors: dict[str, int]
    """Name -> width."""
    item_features: dict[str, pl.DataType]
    """The features asked for: Float64 (numbers, and booleans as 0 and 1) or String."""
    left_out: list[str]
    """Columns of the files that became nothing."""
    mapped: frozenset[str]
    """Which of the mapped columns of ours were found in a file."""


def read_items(
    pattern: str,
    *,
    format: str = "auto",  # noqa: A002
    columns: Mapping[str, str] = MappingProxyType({}),
    item_features: Sequence[str] = (),
) -> ParsedItems:
    """Open files of items; nothing but their beginnings is read.

    Args:
        pattern: a file, a glob or a folder, from which `ITEMS.file_names` are taken if it has any.
        format: one of `FORMATS`.
        columns: ours -> theirs; those that a file lacks are ignored for that file.
        item_features: columns outside the contract to take along, by the files' own names.

    Returns:
        One `ParsedFile` a file. A rule is broken where the id is missing, a vector is neither absent (null) nor
        complete and finite, or an item feature whose first values are numbers is none. All else that can't be read is
        null.

    Raises:
        InputError: where no file is found, one can't be opened or lacks columns, or files differ in vectors or types.
    """
    check_options(format, columns)
    paths = find_files(pattern, prefer=ITEMS.file_names, avoid=INTERACTIONS.file_names)
    raws = [open_raw(path) for path in paths]
    layout = common_layout(raws, ITEMS, format, columns)
    vectors = {raw.path: find_vectors(raw) for raw in raws}
    names = {raw.path: resolve(raw, ITEMS, layout, columns) for raw in raws}
    widths = common_vectors({str(path): found for path, found in vectors.items()})
    taken = sorted(widths.keys() & {*_RESERVED, "numeric"})
    if taken:
        raise InputError(f"{pattern}: {', '.join(taken)}: expected another name for a vector, found one that is ours")
    features = _common_features(raws, tuple(dict.fromkeys(item_features)), taken=(*_RESERVED, *widths))
    files = []
    for raw in raws:
        with reading(raw.path):
            rows = _parsed(raw, layout, names[raw.path], vectors[raw.path], features)
            files.append(ParsedFile(raw.path, rows))
    used = {name for ours in names.values() for theirs in ours.values() for name in theirs} | set(features)
    used |= {name for found in vectors.values() for vector in found for name in vector.columns}
    left_out = [name for name in dict.fromkeys(name for raw in raws for name in raw.columns) if name not in used]
    mapped = frozenset(o for o in ITEMS.columns for raw in raws if columns.get(o) in raw.columns)
    return ParsedItems(files, layout.format, widths, features, left_out, mapped)


def _common_features(raws: Sequence[RawFile], asked: Sequence[str], *, taken: Sequence[str]) -> dict[str, pl.DataType]:
    problems = [
        f"{name}: expected a column outside the contract, found one of items'" for name in asked if name in taken
    ]
    for raw in raws:
        missing = [name for name in asked if name not in raw.columns]
        problems += [
            f"{name}: expected a column of {raw.path}, found none{did_you_mean(name, raw.columns)}" for name in missing
        ]
    if problems:
        raise InputError(f"item features: {'; '.join(problems)}")
    kinds = {name: {raw.looks[name] for raw in raws} for name in asked}
    mixed = [name for name, looks in kinds.items() if len(looks) > 1 and "text" in looks]
    if mixed:
        raise InputError(f"item features: {', '.join(mixed)}: expected numbers or text in every file, found both")
    return {name: pl.String() if "text" in looks else pl.Float64() for name, looks in kinds.items()}


def _parsed(
    raw: RawFile, layout: Layout, names: Names, vectors: Sequence[Vector], features: Mapping[str, pl.DataType]
) -> pl.LazyFrame:
    item_id = id_text(raw, names["item_id"][0])
    checks = [(item_id.is_null(), "item_id: missing", as_text(raw, names["item_id"][0]))]
    checks += [
        (pl.col(vector.name).is_null() & ~is_absent(vector), vector.rule, vector_text(raw, vector))
        for vector in vectors
    ]
    numeric = [name for name, dtype in features.items() if dtype == pl.Float64]
    checks += [(_is_no_number(raw, name), f"{name}: not a number", as_text(raw, name)) for name in numeric]
    rule, found = first_broken(checks)
    if "price" in names:
        unread = unread_price(pl.col("price"), as_text(raw, names["price"][0]))
        found = pl.when(rule.is_null()).then(unread).otherwise(found)
    theirs = [names["item_id"], *names.values(), *(vector.columns for vector in vectors), tuple(features)]
    rows = raw.scan(tuple(dict.fromkeys(name for columns in theirs for name in columns)))
    values = rows.with_columns(
        item_id.alias("item_id"),
        *(_contract_column(raw, layout, names, ours).alias(ours) for ours in ITEM_COLUMNS[1:]),
        *(vector_values(raw, vector).alias(vector.name) for vector in vectors),
        *(_feature(raw, name, dtype).alias(name) for name, dtype in features.items()),
    )
    kept = (*ITEM_COLUMNS, *(vector.name for vector in vectors), *features)
    parsed = values.with_columns(rule.alias("rule"), found.alias("found"), price(pl.col("price")))
    return without_last_blank(parsed.select(*kept, pl.lit(str(raw.path)).alias("file"), "line", "rule", "found"), raw)


def _contract_column(raw: RawFile, layout: Layout, names: Names, ours: str) -> pl.Expr:
    theirs = names.get(ours, ())
    if not theirs:
        return pl.lit(None, pl.Float64 if ours == "price" else pl.String)
    if ours == "price":
        return price_number(raw, theirs[0])
    texts = [as_text(raw, name) for name in theirs]
    if layout.format == "movielens":
        return _movielens_column(texts[0], ours)
    return _READ_AS[ours](texts)


def _description(texts: Sequence[pl.Expr]) -> pl.Expr:
    return cleaned(pl.concat_str([joined(text) for text in texts], separator=" ", ignore_nulls=True))


def _brand(texts: Sequence[pl.Expr]) -> pl.Expr:
    # The 2018 dumps hold "by", a line break and the brand: two lines of the page that they were scraped from.
    return cleaned(first(texts[0]).str.replace(r"(?i)^\s*by\s*\n\s*", ""))


def _image_url(texts: Sequence[pl.Expr]) -> pl.Expr:
    return pl.coalesce(squeezed(first_url(text)) for text in texts)


_READ_AS: Mapping[str, Callable[[Sequence[pl.Expr]], pl.Expr]] = MappingProxyType(
    {
        "title": lambda texts: cleaned(joined(texts[0])),
        "description": _description,
        "brand": _brand,
        "category": lambda texts: cleaned(first(texts[0])),
        "image_url": _image_url,
    }
)


def _movielens_column(text: pl.Expr, ours: str) -> pl.Expr:
    if ours == "title":
        return pl.when(text.str.strip_chars() != "").then(text)
    genres = pl.when(~text.is_in(["", "(no genres listed)"])).then(text)
    if ours == "category":
        return genres.str.split("|").list.first()
    return genres.str.replace_all("|", ", ", literal=True)


def _feature(raw: RawFile, name: str, dtype: pl.DataType) -> pl.Expr:
    if dtype == pl.String:
        return squeezed(as_text(raw, name))
    value = _as_number(raw, name)
    return pl.when(value.is_finite()).then(value)


def _as_number(raw: RawFile, name: str) -> pl.Expr:
    if raw.type_of(name) != pl.String:
        return number(raw, name)
    text = raw_column(name).str.strip_chars().str.to_lowercase()
    return number(raw, name).fill_null(text.replace_strict({"true": 1.0, "false": 0.0}, default=None))


def _is_no_number(raw: RawFile, name: str) -> pl.Expr:
    return _as_number(raw, name).is_null() & (as_text(raw, name).str.strip_chars().fill_null("") != "")
