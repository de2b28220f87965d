"""Text as people read it: out of lists and HTML, entities unescaped, whitespace squeezed, nothing left is null.

The patterns run in Polars, whose time is linear in the text: hostile markup can't stall them.
"""

import html
import json
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl

from recsys_polars.sources.json_lines import parse_loosely
from recsys_polars.sources.raw import rewrite

_TAGS = (
    "a|abbr|address|area|article|aside|audio|b|big|blockquote|body|br|button|caption|center|cite|code|col|colgroup|dd|del|div"
    "|dl|dt|em|embed|fieldset|figure|font|footer|form|frame|h[1-6]|head|header|hr|html|i|iframe|img|input|ins|label|legend|li"
    "|link|main|map|meta|nav|noscript|object|ol|optgroup|option|p|param|pre|q|s|script|section|select|small|source|span"
    "|strike|strong|style|sub|sup|svg|table|tbody|td|textarea|tfoot|th|thead|title|tr|tt|u|ul|var|video"
)
_UNSEEN = r"(?is)<(?:script|style)\b[^>]*>.*?(?:</(?:script|style)\s*>|\z)|<!--.*?-->|<!doctype[^>]*>"
_INLINE = r"(?i)</?(?:b|i|em|strong|u|sub|sup|font)(?:\s[^<>]*)?/?>"
_TAG = rf"(?i)</?(?:{_TAGS})(?:[\s/][^<>]*)?>"
_CUT_OFF = rf"(?i)</?(?:{_TAGS})(?:\s+[a-z:-]+\s*=[^<>]*)?\z"
"""A tag that the text ends in the middle of: dumps cut descriptions anywhere."""
_CODE = r"(?is)^\s*(?:var\s+\w+\s*=|function\s*\w*\s*\(|window\.\w|[.#@][\w-][^{}]{0,200}\{[^{}]*:)|\bgetTime\(\)"
"""Script or style sheets that stand where a text should, as in the 2018 dumps, without a tag around them."""


def cleaned(text: pl.Expr) -> pl.Expr:
    """Return readable text: no tags, scripts or comments, entities unescaped once, single spaces; null if none is left.

    Only real tags go: `5 < 6` and `<3` stay. A text that is script or a style sheet is null.
    """
    tagless = text.str.replace_all(_UNSEEN, " ").str.replace_all(_INLINE, "").str.replace_all(_TAG, " ")
    words = tagless.str.replace(_CUT_OFF, "").map_batches(_unescaped, return_dtype=pl.String, is_elementwise=True)
    return pl.when(text.str.contains(_CODE).not_()).then(squeezed(words))


def squeezed(text: pl.Expr) -> pl.Expr:
    """Return the text with single spaces and none at its ends; null if nothing is left."""
    single = text.str.replace_all(r"\s+", " ").str.strip_chars()
    return pl.when(single != "").then(single)


def _unescaped(texts: pl.Series) -> pl.Series:
    return rewrite(texts, texts.str.contains("&", literal=True), html.unescape)


def joined(text: pl.Expr) -> pl.Expr:
    """Return the texts of a list, or of its printed form, joined by spaces; text that is no list as it is."""
    return _of_lists(text, lambda value: " ".join(_leaves(value)))


def first(text: pl.Expr) -> pl.Expr:
    """Return the first text within a list of any depth, or within its printed form; text that is no list as it is."""
    return _of_lists(text, lambda value: next((leaf for leaf in _leaves(value) if leaf.strip()), None))


def first_url(text: pl.Expr) -> pl.Expr:
    """Return the address of the first image: of a text, a list, or objects with `large`, `hi_res` or `thumb`."""
    return _of_lists(text, lambda value: next((url for url in _leaves(value, _IMAGE_SIZES) if url.strip()), None))


_IMAGE_SIZES = ("large", "hi_res", "thumb")


def _of_lists(text: pl.Expr, function: Callable[[Any], str | None]) -> pl.Expr:
    def of_list(value: str) -> str | None:
        parsed = parse_loosely(value)
        return function(parsed) if isinstance(parsed, list | dict) else value

    def of_lists(texts: pl.Series) -> pl.Series:
        return rewrite(texts, texts.str.contains(r"^\s*[\[{]"), of_list)

    return text.map_batches(of_lists, return_dtype=pl.String, is_elementwise=True)


def _leaves(value: Any, keys: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the texts in nested lists, in order; of an object the values of `keys`, or all where none are given."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting.extend(item.get(key) for key in reversed(keys or tuple(item)))
        elif isinstance(item, list):
            waiting.extend(reversed(item))
        elif isinstance(item, str):
            yield item
        elif item is not None:
            yield json.dumps(item)
