"""The formats: which of a file's columns are ours. One layout a format and kind of file, and how names are matched."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import MappingProxyType

from recsys_polars.errors import InputError
from recsys_polars.sources.raw import RawFile

FORMATS = ("auto", "amazon-2014", "amazon-2018", "amazon-2023", "movielens", "generic")
INTERACTION_COLUMNS = ("user_id", "item_id", "rating", "event_time")
ITEM_COLUMNS = ("item_id", "title", "description", "brand", "category", "image_url", "price")
Names = Mapping[str, tuple[str, ...]]
"""Ours -> theirs; several where a value is put together from, or may stand in, several columns."""


@dataclass(frozen=True)
class Layout:
    """How one format writes one kind of file."""

    format: str
    names: Names
    required: tuple[str, ...]
    """Which of ours a file of this format can't lack."""
    marks: frozenset[str] = frozenset()
    """Columns, one of which tells this format from another with the same required columns."""
    rating_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Kind:
    """One of the two kinds of files: what we take from it, and the layouts that `auto` tries, in this order."""

    name: str
    file_names: tuple[str, ...]
    """What such files are called in a folder, in lower case."""
    columns: tuple[str, ...]
    layouts: tuple[Layout, ...]
    usual: Names = field(default_factory=lambda: MappingProxyType({}))
    """Other names that `generic` takes for ours, compared without case, blanks, `_` and `-`."""


def _names(columns: Sequence[str], theirs: str) -> Names:
    """Parse "a b c+d": one word per column of ours, `+` between several, `-` where the format has none."""
    words = theirs.split()
    return {ours: tuple(word.split("+")) for ours, word in zip(columns, words, strict=True) if word != "-"}


def _interactions(name: str, theirs: str, rating_range: tuple[float, float], marks: str = "") -> Layout:
    names = _names(INTERACTION_COLUMNS, theirs)
    return Layout(name, names, INTERACTION_COLUMNS, frozenset(marks.split()), rating_range)


def _items(name: str, theirs: str, marks: str = "") -> Layout:
    return Layout(name, _names(ITEM_COLUMNS, theirs), ("item_id", "title"), frozenset(marks.split()))


INTERACTIONS = Kind(
    "interactions",
    ("interactions*", "ratings*", "reviews*", "u.data"),
    INTERACTION_COLUMNS,
    (
        _interactions("amazon-2014", "reviewerID asin overall unixReviewTime", (1, 5), marks="helpful"),
        _interactions("amazon-2018", "reviewerID asin overall unixReviewTime", (1, 5)),
        _interactions("amazon-2023", "user_id parent_asin rating timestamp", (1, 5)),
        _interactions("movielens", "userId movieId rating timestamp", (0.5, 5)),
        Layout("generic", {}, ("user_id", "item_id", "event_time")),
    ),
    {
        "user_id": ("user", "uid", "reviewer_id"),
        "item_id": ("item", "asin", "parent_asin", "product_id", "movie_id"),
        "rating": ("score", "stars", "overall"),
        "event_time": ("timestamp", "time", "date", "datetime", "unix_review_time"),
    },
)
ITEMS = Kind(
    "items",
    ("items*", "movies*", "meta*", "u.item"),
    ITEM_COLUMNS,
    (
        _items("amazon-2014", "asin title description brand categories imUrl price", "categories imUrl salesRank"),
        _items(
            "amazon-2018",
            "asin title description brand category imageURLHighRes+imageURL+image price",
            "category also_buy also_view imageURL image main_cat",
        ),
        _items(
            "amazon-2023",
            "parent_asin title description+features store main_category images price",
            "store main_category images features",
        ),
        _items("movielens", "movieId title genres - genres - -", "genres"),
        Layout("generic", {}, ("item_id",)),
    ),
    {
        "item_id": ("item", "asin", "parent_asin", "product_id", "movie_id"),
        "title": ("name",),
        "category": ("main_category", "categories"),
        "image_url": ("image", "im_url"),
    },
)


def check_options(format: str, columns: Mapping[str, str]) -> None:  # noqa: A002
    """Refuse a format or a column of ours that does not exist.

    Raises:
        InputError: naming each of them, with the nearest name that does exist.
    """
    problems = []
    if format not in FORMATS:
        problems.append(f"format: expected {', '.join(FORMATS)}, found {format}{did_you_mean(format, FORMATS)}")
    ours = tuple(dict.fromkeys((*INTERACTION_COLUMNS, *ITEM_COLUMNS)))
    unknown = [name for name in columns if name not in ours]
    problems += [f"column: expected one of {', '.join(ours)}, found {n}{did_you_mean(n, ours)}" for n in unknown]
    if problems:
        raise InputError("; ".join(problems))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `: did you mean ...?` with the nearest known name, or nothing."""
    plain = {_plain(other): other for other in known}
    near = get_close_matches(_plain(name), plain, n=1)
    return f": did you mean {plain[near[0]]}?" if near else ""


def resolve(raw: RawFile, kind: Kind, layout: Layout, mapping: Mapping[str, str]) -> Names:
    """Return which columns of this file are ours, in the order of `kind.columns`.

    `mapping` (ours -> theirs) wins where the file has that column, and is ignored where it has not.
    A file of JSON lines may lack optional columns in its first rows: they are taken along.

    Raises:
        InputError: where two columns of a generic file have an equal claim to be one of ours.
    """
    if layout.format == "generic":
        names = {ours: _usual(raw, kind, ours) for ours in kind.columns if not _has(raw, mapping, ours)}
    else:
        names = {ours: tuple(name for name in theirs if _may_have(raw, name)) for ours, theirs in layout.names.items()}
    names |= {ours: (mapping[ours],) for ours in kind.columns if _has(raw, mapping, ours)}
    return {ours: names[ours] for ours in kind.columns if names.get(ours)}


def _has(raw: RawFile, mapping: Mapping[str, str], ours: str) -> bool:
    return mapping.get(ours) in raw.columns


def _may_have(raw: RawFile, name: str) -> bool:
    return name in raw.columns or raw.open_ended


def _usual(raw: RawFile, kind: Kind, ours: str) -> tuple[str, ...]:
    if ours in raw.columns:
        return (ours,)
    alike = [name for name in raw.columns if _plain(name) == _plain(ours)]
    usual = {_plain(name) for name in kind.usual.get(ours, ())}
    candidates = alike or [name for name in raw.columns if _plain(name) in usual]
    if len(candidates) > 1:
        raise InputError(
            f"{raw.path}: {ours}: expected one column, found {' and '.join(candidates)}: "
            f"choose with --column {ours}={candidates[0]}"
        )
    return tuple(candidates)


def _plain(name: str) -> str:
    return "".join(sign for sign in name.lower() if sign not in " _-")
