"""The whole page: one HTML file whose policy lets it load nothing, but for images that its reader asks for."""

import base64
import hashlib
from collections.abc import Callable
from importlib.resources import files

from recsys_polars.reporting import comparison, examples, groups, lists, training, work
from recsys_polars.reporting.contents import Contents
from recsys_polars.reporting.html import Html, element, join

Section = tuple[str, str, bool, Callable[[Contents], Html]]
_SECTIONS: tuple[Section, ...] = (
    ("models", "Models side by side", False, comparison.models),
    ("differences", "Differences to the first model", False, comparison.differences),
    ("history", "By what users had liked", True, groups.by_history),
    ("popularity", "By how popular the items are", True, groups.by_popularity),
    ("over-k", "Down the list", True, lists.over_k),
    ("long-tail", "Coverage and the long tail", True, lists.long_tail),
    ("training", "Training", False, training.trainings),
    ("time", "Time and memory", False, work.times),
    ("rows", "Rows of the build", False, work.rows_of_build),
    ("examples", "Example users", False, examples.examples),
)
"""Id, title, whether the marks of models want a legend, and what makes it."""
_READING_SECTION = ("reading", "How to read it")
_READING = (
    (
        "Interval",
        "95 %, by a bootstrap over users (coverage: a jackknife). Differences are over the same draws of users.",
    ),
    ("P@k, recall@k", "Hits / k, and hits / liked items of the test part. A user without a list scores 0."),
    (
        "MAP@k",
        "Mean over users of AP: the precision at each hit's place, summed, / the smaller of k and the liked items.",
    ),
    ("NDCG@k", "Gain 1 a hit, discounted by log2(place + 1), / what the best list would have."),
    ("Hit rate, MRR", "Whether there was a hit; 1 / the place of the first one."),
    ("Novelty", "How surprising the shown items are: the mean of -log2 of the share of users who had liked them."),
    ("Coverage", "Distinct items shown / items of the catalogue. It grows with the number of users."),
    ("Likes", "Pairs that count as liked: rated at least as the build was told, or all of a log without ratings."),
)


def page(contents: Contents) -> str:
    """Return the page. The same contents give the same bytes."""
    origins = examples.image_origins(contents)
    style, script = _own("style.css"), _own("script.js") if origins else ""
    title = f"Report on {', '.join(contents.models)}"
    head = join(
        Html('<meta charset="utf-8">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{_policy(style, script, origins)}">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<meta name="referrer" content="no-referrer">'),
        Html('<meta name="color-scheme" content="light dark">'),
        element("title", title[:200]),
        element("style", Html(style)),
    )
    body = join(
        element("a", "Skip to the figures", href="#models", class_="skip"),
        _header(contents),
        element("main", *(_section(contents, *section) for section in _SECTIONS), _how_to_read()),
        element("script", Html(script)) if script else "",
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def _policy(style: str, script: str, origins: list[str]) -> str:
    """Nothing may be loaded and nothing sent; our own style and script run by their hashes, images come by origin."""
    rules = {
        "default-src": "'none'",
        "style-src": _hash(style),
        "script-src": _hash(script) if script else "'none'",
        "img-src": " ".join(origins) or "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _own(name: str) -> str:
    return (files("recsys_polars.reporting") / name).read_text(encoding="utf-8")


def _header(contents: Contents) -> Html:
    facts = [element("div", element("dt", what), element("dd", told)) for what, told in contents.data.items()]
    sections = [*((id_, title) for id_, title, *_ in _SECTIONS), _READING_SECTION]
    entries = [element("li", element("a", title, href=f"#{id_}")) for id_, title in sections]
    return element(
        "header",
        element("h1", "How good are the lists?"),
        comparison.headline(contents),
        element("dl", *facts, class_="facts"),
        element("nav", element("ul", *entries), aria_label="Sections"),
    )


def _section(contents: Contents, id_: str, title: str, with_legend: bool, made: Callable[[Contents], Html]) -> Html:
    legend = comparison.legend(contents) if with_legend else ""
    heading = element("h2", title, id=f"{id_}-title")
    return element("section", heading, legend, made(contents), id=id_, aria_labelledby=f"{id_}-title")


def _how_to_read() -> Html:
    entries = [join(element("dt", what), element("dd", told)) for what, told in _READING]
    id_, title = _READING_SECTION
    heading = element("h2", title, id=f"{id_}-title")
    return element("section", heading, element("dl", *entries), id=id_, aria_labelledby=f"{id_}-title")
