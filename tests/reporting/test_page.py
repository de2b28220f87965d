"""The page: well-formed, told apart from data, readable without seeing it, and with no way out."""

import base64
import hashlib
import re
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from itertools import pairwise

import polars as pl
import pytest

from recsys_polars.reporting.contents import Card, Contents, Shelf
from recsys_polars.reporting.examples import image_origins, origin_of
from recsys_polars.reporting.html import name_of
from recsys_polars.reporting.page import page
from recsys_polars.reporting.rejects import rejects_in_words
from recsys_polars.reporting.words import group_start
from tests.reporting.conftest import HOSTILE

VOID = {"meta"}


class Reader(HTMLParser):
    """Elements with their attributes and text; fails where one is closed that isn't open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def of(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.found if tag in tags]


@pytest.fixture(scope="module")
def read(contents: Contents) -> Reader:
    return Reader(page(contents))


def policy_of(read: Reader) -> dict[str, str]:
    [policy] = [meta["content"] for meta in read.of("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    return dict(rule.split(" ", 1) for rule in (policy or "").split("; "))


def hash_of(text: str, tag: str) -> str:
    inner = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    assert inner
    return f"'sha256-{base64.b64encode(hashlib.sha256(inner[1].encode()).digest()).decode()}'"


def test_the_same_contents_give_the_same_bytes(contents: Contents) -> None:
    assert page(contents) == page(contents)


def test_nothing_out_of_data_becomes_an_element(read: Reader) -> None:
    assert read.of("img") == []
    assert len(read.of("script")) == 1
    assert {name for _, attributes in read.found for name in attributes if name.startswith("on")} == set()
    assert any(HOSTILE in text for text in read.texts), "titles are shown as they are"


def test_signs_that_change_how_others_are_read_are_not_shown(harmless: Contents) -> None:
    shelf = Shelf("u", [Card("good\u202eevil\x00\x1b[31m")], [], {}, 1, 0)
    text = page(replace(harmless, shelves=[shelf]))
    assert "good evil  [31m" in text
    assert re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x1b]", text) is None


def test_an_id_is_shown_beside_the_title_that_needs_one(harmless: Contents) -> None:
    shelf = Shelf("u", [Card("Hamlet", item_id="i7"), Card("Macbeth")], [], {}, 2, 0)
    texts = "|".join(Reader(page(replace(harmless, shelves=[shelf]))).texts)
    assert "Liked|Hamlet| |i7|Macbeth|" in texts


def test_a_list_that_is_cut_says_of_how_many(read: Reader) -> None:
    assert "Liked (the latest 1 of 12)" in read.texts
    assert "Took next" in read.texts, "all of it is shown"


def test_a_title_of_a_million_signs_is_cut(harmless: Contents) -> None:
    shelf = Shelf("u" * 10**6, [Card("t" * 10**6)], [], {}, 1, 0)
    assert len(page(replace(harmless, shelves=[shelf]))) < len(page(harmless)) + 10_000


def test_the_policy_forbids_all_but_what_the_page_brings(harmless: Contents) -> None:
    text = page(harmless)
    assert policy_of(Reader(text)) == {
        "default-src": "'none'",
        "style-src": hash_of(text, "style"),
        "script-src": "'none'",
        "img-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert "<script" not in text


def test_images_come_from_the_origins_of_the_page_alone_once_they_are_asked_for(
    contents: Contents, read: Reader
) -> None:
    policy = policy_of(read)
    assert policy["img-src"] == "https://images.example"
    assert policy["script-src"] == hash_of(page(contents), "script")
    [button] = read.of("button")
    assert "hidden" in button


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Images.Example/a.jpg", "https://images.example"),
        ("http://images.example:8080/a.jpg?x=1;script-src *", "http://images.example:8080"),
        *(
            (url, None)
            for url in (
                None,
                "",
                "a.jpg",
                "//images.example/a.jpg",
                "javascript:alert(1)",
                "data:image/png;base64,AAAA",
                "file:///etc/passwd",
                "ftp://images.example/a.jpg",
                "https://",
                "https://user:password@images.example/a.jpg",
                "https://images.example;script-src */a.jpg",
                "https://images.example'/a.jpg",
                "https://*/a.jpg",
                "https://images.example:port/a.jpg",
                "https://images.example:99999/a.jpg",
                "https://[::1]/a.jpg",
                "https://bücher.example/a.jpg",
                "https://good.example\\@evil.example/a.jpg",
            )
        ),
    ],
)
def test_an_image_lies_at_a_plain_http_address_or_is_none(url: str | None, origin: str | None) -> None:
    assert origin_of(url) == origin


def test_what_is_no_image_makes_no_place_for_one(harmless: Contents) -> None:
    shelf = Shelf("u", [Card("t", "javascript:alert(1)")], [], {}, 1, 0)
    shown = replace(harmless, shelves=[shelf])
    assert image_origins(shown) == []
    assert "javascript:" not in page(shown)
    assert "<button" not in page(shown)


def test_headings_go_down_one_level_at_a_time_from_one_title(read: Reader) -> None:
    levels = [int(tag[1]) for tag, _ in read.found if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_chart_says_what_it_shows(read: Reader) -> None:
    charts = [svg for svg in read.of("svg") if svg.get("aria-hidden") != "true"]
    assert len(charts) > 10
    assert [svg for svg in charts if svg.get("role") != "img" or len(svg.get("aria-label") or "") < 20] == []


def test_every_table_has_a_caption_and_headers_with_a_scope(read: Reader) -> None:
    assert len(read.of("table")) == len(read.of("caption"))
    assert {header.get("scope") for header in read.of("th")} == {"col", "row"}
    regions = [div for div in read.of("div") if div.get("class") == "scroll"]
    assert [div for div in regions if div.get("tabindex") != "0" or not div.get("aria-label")] == []


def test_ids_are_unique_and_every_link_within_the_page_leads_somewhere(read: Reader) -> None:
    ids = [attributes["id"] for _, attributes in read.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [link["href"] for link in read.of("a")]
    assert [link for link in links if not (link or "").startswith("#") or (link or "")[1:] not in ids] == []
    assert {f"#{section['id']}" for section in read.of("section") if "id" in section} <= set(links)
    labels = [name for _, attributes in read.found if (name := attributes.get("aria-labelledby"))]
    assert set(labels) <= set(ids)


def test_no_element_has_a_style_of_its_own(read: Reader) -> None:
    assert [tag for tag, attributes in read.found if "style" in attributes] == []


def test_the_figures_of_the_table_are_those_of_the_evaluation(contents: Contents, read: Reader) -> None:
    for value, low, high in contents.figures.drop_nulls().select("value", "low", "high").iter_rows():
        assert f"{value:.4f}" in read.texts
        assert f"{low:.4f} to {high:.4f}" in read.texts


def test_a_group_is_called_by_where_it_begins_on_an_axis_and_by_its_range_in_a_table(read: Reader) -> None:
    assert {"30*", "Items liked before the cut, up to the next mark", "30–99*"} <= set(read.texts)
    assert [group_start(lowest) for lowest in (0, 1, 30, 3000, 10**7)] == ["0", "1", "30", "3k", "10M"]


@pytest.mark.parametrize(("lowest", "told"), [(0, "No user judged is warm."), (1, "No user judged is cold.")])
def test_cold_users_alone_or_warm_ones_alone_are_not_all_users_again(
    contents: Contents, read: Reader, lowest: int, told: str
) -> None:
    caption = "Cold against warm users, with 95 % intervals"
    assert caption in read.texts
    texts = Reader(page(replace(contents, by_warmth=contents.by_warmth.filter(lowest=lowest)))).texts
    assert told in texts
    assert caption not in texts


def test_groups_of_few_users_are_shown_and_marked(read: Reader) -> None:
    assert "n=1" in read.texts
    assert "30–99*" in read.texts
    assert "no interval" in read.texts


@pytest.mark.parametrize(
    ("value", "low", "high", "sign"), [(0.2, 0.1, 0.3, " ▲"), (-0.2, -0.3, -0.1, " ▼"), (0.2, -0.1, 0.3, "")]
)
def test_a_difference_is_marked_where_its_whole_interval_lies_on_one_side(
    contents: Contents, value: float, low: float, high: float, sign: str
) -> None:
    differences = contents.differences.with_columns(value=pl.lit(value), low=pl.lit(low), high=pl.lit(high))
    texts = Reader(page(replace(contents, differences=differences))).texts
    number = f"{value:+.4f}".replace("-", "−")
    assert f"{number}{sign}" in texts
    assert any("chance alone could have made it" in text for text in texts) == (sign == "")


@pytest.mark.parametrize(("low", "high", "is_sure"), [(-0.3, -0.1, True), (-0.3, 0.1, False), (None, None, False)])
def test_a_first_model_that_is_best_is_said_to_be_so_by_chance_where_it_may_be(
    contents: Contents, low: float | None, high: float | None, is_sure: bool
) -> None:
    figures = contents.figures.with_columns(value=pl.when(name=contents.models[0]).then(1.0).otherwise(0.5))
    ends = (pl.lit(end, dtype=pl.Float64).alias(name) for name, end in (("low", low), ("high", high)))
    text = page(replace(contents, figures=figures, differences=contents.differences.with_columns(ends)))
    told = f"Chance alone could have put it before <bdi>{escape(HOSTILE)}</bdi>." in text
    assert told != is_sure


def test_items_shown_are_of_those_of_their_tenth(contents: Contents) -> None:
    text = page(contents)
    assert "the most popular first: popularity 100.0 %, 50.0 %, 0.0 %" in text


def test_rows_of_the_build_and_times_are_told(read: Reader) -> None:
    assert {"1,234", "1,230", "90.0 s", "30,000 ms a user", "3 users, 10 items"} <= set(read.texts)
    assert {"60.5 s", "2.5 GB", "3.0 GB"} <= set(read.texts)


def test_rejected_rows_are_told_with_the_first_of_them(contents: Contents, read: Reader) -> None:
    assert f"{HOSTILE}.csv, line 7: {HOSTILE!r}" in read.texts
    assert "Rejected rows" not in page(replace(contents, rejects=[]))


@pytest.mark.parametrize(
    ("rejects", "told"),
    [
        (
            {
                "items": {
                    "rules": {"r": 1200, "s": 1},
                    "first": [{"rule": "r", "file": "f", "line": 7000, "found": "x"}],
                }
            },
            [["items", "1,200", "r", "f, line 7,000: 'x'"], ["items", "1", "s", ""]],
        ),
        ({"filtered": {"rules": {"r": 1}}}, [["filtered", "1", "r", ""]]),
        *((odd, []) for odd in (None, [], {"items": 5}, {"items": {"rules": ["r"], "first": 5}})),
        ({"i": {"rules": {"r": "<b>"}, "first": [5, {"rule": ["r"]}, {"rule": "r", "line": "<i>"}]}}, []),
    ],
)
def test_a_manifest_is_believed_of_its_rejects_as_far_as_it_makes_sense(rejects: object, told: list[list[str]]) -> None:
    assert rejects_in_words(rejects) == told


def test_the_notebooks_times_are_told_to_be_of_another_machine(read: Reader) -> None:
    text = " ".join(read.texts)
    assert "17 h 44 min" in text
    assert "85,083 users and 67,706 items" in text
    assert "of another machine and of that data set" in text
    assert "without the start of Python and its libraries" in text


def test_the_notebooks_times_are_folded_away(contents: Contents) -> None:
    shown = re.sub("<details>.*?</details>", "", page(contents))
    assert "Time and memory of each run" in shown
    assert "notebook" not in shown


def test_an_id_stays_in_one_piece_and_a_title_does_not() -> None:
    assert name_of("978-1754135362") == '<bdi class="word">978-1754135362</bdi>'
    assert name_of("The Last Door") == "<bdi>The Last Door</bdi>"


def test_one_model_alone_has_nothing_to_differ_from(contents: Contents) -> None:
    only = contents.models[0]
    frames = {
        name: frame.filter(pl.col("name").is_in([only, "taken next"]))
        for name, frame in vars(contents).items()
        if isinstance(frame, pl.DataFrame) and "name" in frame.columns
    }
    text = page(replace(contents, **{**frames, "models": [only], "differences": pl.DataFrame(), "shelves": []}))
    assert "One model alone was judged" in text
