"""Small valid files of every format, before something happens to them."""

import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

Rows = Sequence[tuple[int, int, int, int]]
"""User, item, rating, second since 1970."""
START = 1_262_304_000
N_ITEMS = 12
_GENRE_FLAGS = "0|1|" + "|".join("0" * 17)


def log(rng: random.Random, *, n_users: int = 8, each: int = 6) -> Rows:
    """Return what some users did, in no order of time."""
    return [
        (user, item, rng.choice((1, 3, 4, 5, 5)), START + rng.randrange(10**8))
        for user in range(n_users)
        for item in rng.sample(range(N_ITEMS), each)
    ]


def _amazon_user(user: int) -> str:
    return f"A{user:012d}"


def _asin(item: int) -> str:
    return f"B{item:09d}"


def _json_lines(names: Sequence[str], more: Mapping[str, Any] = MappingProxyType({})) -> Callable[[Rows], str]:
    def text(rows: Rows) -> str:
        values = ((_amazon_user(user), _asin(item), rating, time) for user, item, rating, time in rows)
        return "".join(json.dumps({**dict(zip(names, row, strict=True)), **more}) + "\n" for row in values)

    return text


def _table(
    separator: str, header: str = "", *, amazon: bool = False, item_first: bool = False
) -> Callable[[Rows], str]:
    def text(rows: Rows) -> str:
        lines = [header] if header else []
        for user, item, rating, time in rows:
            ids = [_amazon_user(user), _asin(item)] if amazon else [str(user + 1), str(item + 1)]
            lines.append(separator.join([*(reversed(ids) if item_first else ids), f"{rating}.0", str(time)]))
        return "\n".join(lines) + "\n"

    return text


_AMAZON, _OURS = ("reviewerID", "asin", "overall", "unixReviewTime"), ("user_id", "item_id", "rating", "event_time")
INTERACTIONS: Mapping[str, tuple[str, Callable[[Rows], str]]] = {
    "amazon-2014 json": ("reviews.json", _json_lines(_AMAZON, {"helpful": [0, 1], "reviewText": 'good, "very"'})),
    "amazon-2018 json": ("reviews.json", _json_lines(_AMAZON, {"verified": True, "style": {"Size:": " M"}})),
    "amazon-2023 json": (
        "reviews.jsonl",
        _json_lines(("user_id", "parent_asin", "rating", "timestamp"), {"images": []}),
    ),
    "amazon-2014 ratings": ("ratings.csv", _table(",", amazon=True)),
    "amazon-2018 ratings": ("ratings.csv", _table(",", amazon=True, item_first=True)),
    "amazon-2023 csv": ("reviews.csv", _table(",", "user_id,parent_asin,rating,timestamp", amazon=True)),
    "movielens csv": ("ratings.csv", _table(",", "userId,movieId,rating,timestamp")),
    "movielens ::": ("ratings.dat", _table("::")),
    "movielens tab": ("u.data", _table("\t")),
    "generic csv": ("log.csv", _table(",", ",".join(_OURS))),
    "generic tsv": ("log.tsv", _table("\t", "\t".join(_OURS))),
    "generic ;": ("log.csv", _table(";", ";".join(_OURS))),
    "generic |": ("log.txt", _table("|", "|".join(_OURS))),
    "generic json": ("log.jsonl", _json_lines(_OURS)),
}
"""Format -> the name of its file, and its text."""


def _metadata(names: Mapping[str, Any], *, printed: bool = False) -> Callable[[], str]:
    def text() -> str:
        rows = ({name: value(item) for name, value in names.items()} for item in range(N_ITEMS))
        return "".join((repr(row) if printed else json.dumps(row)) + "\n" for row in rows)

    return text


def _lines(lines: Iterable[str]) -> Callable[[], str]:
    text = "".join(f"{line}\n" for line in lines)
    return lambda: text


_META_2014 = {
    "asin": _asin,
    "title": lambda item: f"Title {item} <b>alpha</b> &amp; beta",
    "description": lambda item: f"words {item % 5}",
    "categories": lambda item: [["Toys", f"c{item % 2}"]],
    "price": lambda item: item + 0.5,
    "imUrl": lambda item: f"http://example.org/{item}.jpg",
}
_META_2018 = {
    "asin": _asin,
    "title": lambda item: f"Title {item}",
    "description": lambda item: [f"words {item % 5}", "more"],
    "brand": lambda item: f"by\n\nbrand {item % 3}",
    "category": lambda item: ["Toys", f"c{item % 2}"],
    "price": lambda item: f"${item}.50 - $9,000.00",
    "imageURLHighRes": lambda item: [f"http://example.org/{item}.jpg"],
}
_META_2023 = {
    "parent_asin": _asin,
    "title": lambda item: f"Title {item}",
    "description": lambda item: [f"words {item % 5}"],
    "features": lambda item: ["soft", f"size {item}"],
    "store": lambda item: f"store {item % 3}",
    "main_category": lambda item: f"c{item % 2}",
    "images": lambda item: [{"large": f"http://example.org/{item}.jpg", "variant": "MAIN"}],
    "price": lambda item: str(item),
}
ITEMS: Mapping[str, tuple[str, Callable[[], str]]] = {
    "amazon-2014 meta": ("meta.json", _metadata(_META_2014)),
    "amazon-2014 printed": ("meta.json", _metadata(_META_2014, printed=True)),
    "amazon-2018 meta": ("meta.json", _metadata(_META_2018)),
    "amazon-2023 meta": ("meta.jsonl", _metadata(_META_2023)),
    "movielens movies": (
        "movies.csv",
        _lines(["movieId,title,genres", *(f'{n + 1},"Film, {n} (1999)",Comedy|Drama' for n in range(N_ITEMS))]),
    ),
    "movielens ::": ("movies.dat", _lines(f"{n + 1}::Film {n} (1999)::Comedy|Drama" for n in range(N_ITEMS))),
    "movielens |": (
        "u.item",
        _lines(f"{n + 1}|Film {n}|01-Jan-1999||http://x/{n}|{_GENRE_FLAGS}" for n in range(N_ITEMS)),
    ),
    "generic csv, wide vector": (
        "items.csv",
        _lines(
            ["item_id,title,brand,category,price,clip_0,clip_1,clip_2,stock"]
            + [f"{n + 1},Title {n} alpha,b{n % 3},c{n % 2},{n}.5,0.{n},-{n}.25,1e-3,{n}" for n in range(N_ITEMS)]
        ),
    ),
}
"""Format -> the name of its file, and its text."""
