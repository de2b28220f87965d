import time

import polars as pl
import pytest

from recsys_polars.sources import read_items
from recsys_polars.sources.texts import cleaned


def clean(text: str | None) -> str | None:
    return pl.select(cleaned(pl.lit(text, pl.String))).item()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("", None),
        (" \n\t\u00a0", None),
        ("Unknown", "Unknown"),
        ("  two   words\n", "two words"),
        ("5 < 6 and 7 > 3", "5 < 6 and 7 > 3"),
        ("I <3 you", "I <3 you"),
        ("a <b and c", "a <b and c"),
        ("<p>one</p><p>two</p>", "one two"),
        ("H<sub>2</sub>O, <B>bold</B>", "H2O, bold"),
        ('<img src="x.jpg" alt="y"/>text<br />more', "text more"),
        ("</span></span>", None),
        ('cut <div class="two-third-col', "cut"),
        ("Brown &amp; Blue &lt;tin&gt; caf&eacute;", "Brown & Blue <tin> café"),
        ("&amp;lt;b&amp;gt;", "&lt;b&gt;"),
        ("<style>.a{color:red}</style>kept<script>if (a < b) {}</script>", "kept"),
        ("kept <script>never closed", "kept"),
        ("<!-- a > b -->kept", "kept"),
        ("var aPageStart = (new Date()).getTime(); var ue_t0=1", None),
        (".a-box-inner{background-color:#fff}#aloha .selected{color:red}", None),
        (".com domains: a guide {2nd edition}", ".com domains: a guide {2nd edition}"),
        ("#1 Dad: the mug", "#1 Dad: the mug"),
    ],
)
def test_texts_lose_their_markup_and_nothing_else(text, expected):
    assert clean(text) == expected


@pytest.mark.parametrize(
    "text", ["<style" * 200_000, "<a " * 300_000, "<!--" * 200_000, "[" * 900_000, ".a{" * 300_000]
)
def test_hostile_markup_takes_no_time(text, write):
    started = time.monotonic()
    path = write("x.csv", f'item_id,title\ni,"{text}"\n')
    read_items(path).files[0].rows.collect()
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$1,299.00", 1299.0),
        ("$5 - $10", 5.0),
        ("$5.99-$10.50", 5.99),
        ("12", 12.0),
        (" 1e2 ", 100.0),
        (".99", 0.99),
        ("EUR 5,99", 5.99),
        ("5,99 €", 5.99),
        ("€1.299,00", 1299.0),
        ("1,299", 1299.0),
        ("US$ 7.50", 7.5),
        ("from 14.99", 14.99),
        ("", None),
        ("0", None),
        ("$0.00", None),
        ("-5", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("1,2,3", None),
        ("free", None),
        ("—", None),
        ("$5 per ounce", None),
        ('<div class="a-section">$5</div>', None),
        (".a-box-inner{background-color:#fff}", None),
    ],
)
def test_a_price_is_read_or_null(write, text, expected):
    escaped = text.replace('"', '""')
    found = read_items(write("x.csv", f'item_id,price\ni,"{escaped}"\n')).files[0].rows.collect()
    assert found.select("price", "rule").row(0) == (expected, None)


def test_prices_that_are_numbers_stay_but_for_impossible_ones(tmp_path):
    values = [3.5, 0.0, -1.0, float("nan"), float("inf"), None]
    pl.DataFrame({"item_id": range(6), "price": values}).write_parquet(tmp_path / "x.parquet")
    found = read_items(str(tmp_path / "x.parquet")).files[0].rows.collect()
    assert found["price"].to_list() == [3.5, None, None, None, None, None]
    assert found["found"].to_list() == [None, None, "-1.0", None, "inf", None]


@pytest.mark.parametrize(
    "text", ["free", "-5", "--", "1,2,3", "inf", "$5 per ounce", '["5"]', "null and void", "x\ny", "é" * 300]
)
def test_a_price_that_cannot_be_read_is_kept_as_found_and_breaks_no_rule(write, text):
    quoted = text.replace('"', '""')
    found = read_items(write("x.csv", f'item_id,price\ni," \n{quoted} "\n')).files[0].rows.collect()
    assert found.select("price", "rule", "found").row(0) == (None, None, text[:200])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "0",
        "$0.00",
        "nan",
        "NaN",
        " None ",
        "null",
        "N/A",
        "n/a",
        "-",
        "–",
        " — ",
        "[]",
        "{}",
        "4.5",
        "$5 - $10",
    ],
)
def test_a_price_that_is_read_or_says_that_there_is_none_is_not_found_wrong(write, text):
    found = read_items(write("x.csv", f'item_id,price\ni,"{text}"\n')).files[0].rows.collect()
    assert found.select("rule", "found").row(0) == (None, None)


def test_what_a_reject_shows_is_what_broke_its_rule_and_not_its_price(write):
    found = read_items(write("x.csv", "item_id,price\n,free\ni,free,more\n")).files[0].rows.collect()
    assert found.select("rule", "found").rows() == [("item_id: missing", None), ("line: too many fields", "more")]


@pytest.mark.parametrize("title", ["[Sealed] disc", "{not json", "()", "[REC]", "[1"])
def test_a_title_that_only_looks_like_a_list_is_a_title(write, title):
    found = read_items(write("x.csv", f'item_id,title\ni,"{title}"\n')).files[0].rows.collect()
    assert found["title"].to_list() == [title]
