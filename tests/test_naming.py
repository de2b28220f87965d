"""Whom or what somebody may have meant by an id that the store doesn't know."""

import polars as pl
import pytest

from recsys_polars.errors import InputError
from recsys_polars.recipes.naming import find_item, find_user

AMAZON = ("A1B2C3D4E5", "A1B2C3D4F6", "AZ9", "B00004", "C1")


def meant(ids: list[str], word: str) -> list[str]:
    with pytest.raises(InputError) as refused:
        find_user(pl.Series(sorted(ids), dtype=pl.String), word)
    return str(refused.value).partition("; did you mean:\n  ")[2].split("\n  ")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("A1B2C3D4E", ["A1B2C3D4E5"]),
        ("A1B2C3D4E55", ["A1B2C3D4E5"]),
        ("A1B2C3D4EO", ["A1B2C3D4E5"]),
        ("AlB2C3D4E5", ["A1B2C3D4E5"]),
        ("A1B2C3D45E", ["A1B2C3D4E5"]),
        ("a1b2c3d4e5", ["A1B2C3D4E5"]),
        (" A1B2C3D4E5 ", ["A1B2C3D4E5"]),
        ("A1B2", ["A1B2C3D4E5", "A1B2C3D4F6"]),
        ("B000004", ["B00004"]),
        ("c1", ["C1"]),
        *((word, [""]) for word in ("A9Z9Z9", "K9999", "B1", "2C3D4E5", "", " ", "x" * 10**6)),
    ],
)
def test_an_id_that_begins_like_the_word_or_is_one_sign_off_was_meant(word: str, expected: list[str]) -> None:
    assert meant([*AMAZON], word) == expected


@pytest.mark.parametrize("word", ["10", "u", "u99999", "u0001"])
def test_where_many_ids_are_near_none_was_meant(word: str) -> None:
    assert meant([*map(str, range(1000, 2000)), *(f"u{n:05}" for n in range(1000))], word) == [""]


def test_the_ids_of_items_go_before_their_titles_and_an_id_is_no_title() -> None:
    titles = pl.DataFrame({"item_id": ["A001", "B01", "C1"], "title": ["A001", "A0 lamp, 10 W", "A lamp"]})
    for word, expected in (("A0", ["A001: A001"]), ("lamp", ["C1: A lamp", "B01: A0 lamp, 10 W"]), ("amp", [])):
        with pytest.raises(InputError) as refused:
            find_item(titles, word)
        assert str(refused.value).partition("found")[2].split("\n  ")[1:] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("man", ["Spider-Man", "(Man) of La Mancha", "A Man Apart"]),
        ("(man", ["(Man) of La Mancha"]),
        ("c++", ["Learn C++"]),
        ("spider-m", ["Spider-Man"]),
        *((text, []) for text in ("pider", ".*", "[a", "x" * 10**6, "", "\udcff")),
    ],
)
def test_a_word_of_a_title_begins_after_any_sign_that_is_no_letter(text: str, expected: list[str]) -> None:
    names = ["Spider-Man", "(Man) of La Mancha", "A Man Apart", "Batman", "Learn C++"]
    titles = pl.DataFrame({"item_id": [f"i{n}{n}{n}{n}{n}" for n in range(5)], "title": names})
    with pytest.raises(InputError) as refused:
        find_item(titles, text)
    found = str(refused.value).partition("did you mean:\n  ")[2].split("\n  ")
    assert [line.partition(": ")[2] for line in found if line] == sorted(expected, key=len)


def test_an_id_that_is_no_utf8_is_none_of_the_ids() -> None:
    with pytest.raises(InputError, match=r"^user: expected one of 5 user ids, found 'AZ9\?'; did you mean:\n  AZ9$"):
        find_user(pl.Series(sorted(AMAZON)), "AZ9\udcff")
    titles = pl.DataFrame({"item_id": ["AZ9"], "title": ["A lamp"]})
    with pytest.raises(InputError, match=r"^item: expected one of 1 item ids, found 'AZ9\?'; did you mean:\n  AZ9"):
        find_item(titles, "AZ9\udcff")
