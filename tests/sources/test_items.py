"""Each format of items, in five rows at most."""

import json

import polars as pl
import pytest

from recsys_polars import tables
from recsys_polars.errors import InputError
from recsys_polars.sources import read_items
from recsys_polars.sources.items import ParsedItems


def parsed(found: ParsedItems) -> pl.DataFrame:
    return pl.concat([file.rows.collect() for file in found.files])


def row(found: ParsedItems) -> dict[str, object]:
    frame = parsed(found)
    tables.check(tables.Items, frame, name="items")
    return {name: value for name, value in frame.row(0, named=True).items() if name in tables.Items.column_names()}


META_2014 = {
    "asin": "i1",
    "title": "Girls&#39; Tutu",
    "description": "Soft <b>tulle</b>.",
    "brand": "Coxlures",
    "categories": [["Clothing &amp; Shoes", "Girls"], ["Sports"]],
    "price": 3.17,
    "imUrl": "http://x/1.jpg",
    "salesRank": {"Toys": 1},
}


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize("printed", [repr, json.dumps])
def test_amazon_2014_metadata_is_printed_python_or_json(write, printed, suffix):
    found = read_items(write("meta.json" + suffix, printed(META_2014) + "\n"))
    assert found.format == "amazon-2014"
    assert found.left_out == ["salesRank"]
    assert row(found) == {
        "item_id": "i1",
        "title": "Girls' Tutu",
        "description": "Soft tulle.",
        "brand": "Coxlures",
        "category": "Clothing & Shoes",
        "image_url": "http://x/1.jpg",
        "price": 3.17,
    }


META_2018 = {
    "asin": "i1",
    "title": " A  title\n",
    "description": ["<div>One", "", "two</div>"],
    "brand": "by\n    \n    Apple",
    "category": ["Gift Cards", "</span>"],
    "price": "$1,299.00",
    "image": ["http://x/1.jpg", "http://x/2.jpg"],
    "also_buy": [],
}


@pytest.mark.parametrize("change", [lambda v: v, str])
def test_amazon_2018_lists_may_be_printed_as_text(write, change):
    meta = {name: change(value) if isinstance(value, list) else value for name, value in META_2018.items()}
    found = read_items(write("meta.json.gz", json.dumps(meta)))
    assert found.format == "amazon-2018"
    assert row(found) == {
        "item_id": "i1",
        "title": "A title",
        "description": "One two",
        "brand": "Apple",
        "category": "Gift Cards",
        "image_url": "http://x/1.jpg",
        "price": 1299.0,
    }


def test_empty_texts_and_lists_of_2018_are_null(write):
    meta = {"asin": "i1", "title": "", "description": [], "brand": " ", "category": "[]", "price": "", "image": []}
    values = row(read_items(write("meta.json", json.dumps(meta))))
    assert values.pop("item_id") == "i1"
    assert set(values.values()) == {None}


def test_the_best_image_of_2018_is_taken_first(write):
    meta = META_2018 | {"imageURL": ["http://x/s.jpg"], "imageURLHighRes": []}
    assert row(read_items(write("meta.json", json.dumps(meta))))["image_url"] == "http://x/s.jpg"


def test_amazon_2023_metadata_joins_description_and_features(write):
    meta = {
        "parent_asin": "i1",
        "title": "Howard",
        "description": ["First.", "Second."],
        "features": ["Third."],
        "store": "Unknown",
        "main_category": "All Beauty",
        "price": "from 14.99",
        "images": [{"thumb": "http://x/t.jpg", "large": "http://x/l.jpg", "hi_res": None}],
        "average_rating": 4.8,
    }
    found = read_items(write("meta.jsonl", json.dumps(meta)))
    assert found.format == "amazon-2023"
    assert found.left_out == ["average_rating"]
    assert row(found) == {
        "item_id": "i1",
        "title": "Howard",
        "description": "First. Second. Third.",
        "brand": "Unknown",
        "category": "All Beauty",
        "image_url": "http://x/l.jpg",
        "price": 14.99,
    }


def test_amazon_2023_parquet_has_lists_and_structs(tmp_path):
    meta = {
        "parent_asin": ["i1"],
        "title": ["T"],
        "description": [["One"]],
        "features": [[]],
        "store": [None],
        "images": [{"large": [None, "http://x/l.jpg"], "thumb": ["http://x/t.jpg", None]}],
    }
    pl.DataFrame(meta, schema_overrides={"features": pl.List(pl.String)}).write_parquet(tmp_path / "m.parquet")
    values = row(read_items(str(tmp_path / "m.parquet")))
    assert (values["description"], values["image_url"]) == ("One", "http://x/l.jpg")


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("u.item", "1|Café (1995)|01-Jan-1995||http://imdb|0|1|0|0|0|1" + "|0" * 13 + "\n"),
        ("movies.dat", "1::Café (1995)::Action|Comedy\n"),
        ("movies.csv", "movieId,title,genres\n1,Café (1995),Action|Comedy\n"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_movielens_items_of_every_release(write, name, content, encoding, suffix):
    if name == "movies.csv" and encoding == "latin-1":
        pytest.skip("newer releases are UTF-8")
    found = read_items(write(name + suffix, content.encode(encoding)))
    assert found.format == "movielens"
    assert row(found) == {
        "item_id": "1",
        "title": "Café (1995)",
        "description": "Action, Comedy",
        "brand": None,
        "category": "Action",
        "image_url": None,
        "price": None,
    }


def test_a_film_without_genres_has_no_category(write):
    values = row(read_items(write("movies.csv", "movieId,title,genres\n1,Heat,(no genres listed)\n")))
    assert (values["category"], values["description"]) == (None, None)


def test_generic_items_take_usual_names_and_mappings(write):
    path = write("x.csv", 'product_id,name,maker,imageUrl,price,weight\n007,"5 < 6",Acme,http://x,"$5 - $10",3\n')
    found = read_items(path, columns={"brand": "maker", "rating": "stars"})
    assert (found.format, found.left_out, found.mapped) == ("generic", ["weight"], {"brand"})
    assert row(found) == {
        "item_id": "007",
        "title": "5 < 6",
        "description": None,
        "brand": "Acme",
        "category": None,
        "image_url": "http://x",
        "price": 5.0,
    }


def test_an_item_without_an_id_is_a_reject_and_repeats_are_not(write):
    found = parsed(read_items(write("x.csv", "item_id,title\n,a\ni1,b\ni1,c\n")))
    assert found.select("item_id", "rule", "line").rows() == [
        (None, "item_id: missing", 2),
        ("i1", None, 3),
        ("i1", None, 4),
    ]


def test_item_features_are_numbers_flags_or_text(tmp_path):
    frame = pl.DataFrame(
        {"item_id": ["a", "b"], "n": [1, None], "flag": [True, False], "kind": ["x ", ""], "o": [1, 2]}
    )
    frame.write_parquet(tmp_path / "x.parquet")
    frame.write_csv(tmp_path / "x.csv")
    frame.write_ndjson(tmp_path / "x.jsonl")
    for name in ("x.parquet", "x.csv", "x.jsonl"):
        found = read_items(str(tmp_path / name), item_features=["kind", "n", "flag"])
        assert found.left_out == ["o"]
        assert found.item_features == {"kind": pl.String(), "n": pl.Float64(), "flag": pl.Float64()}
        assert parsed(found).select("kind", "n", "flag").rows() == [("x", 1.0, 1.0), (None, None, 0.0)]


def test_text_far_down_a_column_of_numbers_is_a_reject(write):
    rows = "".join(f"i{n},{n}\n" for n in range(1_500))
    found = parsed(read_items(write("x.csv", "item_id,n\n" + rows + "j,many\n"), item_features=["n"]))
    assert found.filter(pl.col("rule").is_not_null()).select("line", "rule", "found").rows() == [
        (1502, "n: not a number", "many")
    ]


def test_missing_item_features_are_named_with_their_nearest_neighbour(write):
    path = write("x.csv", "item_id,year\ni,1995\n")
    with pytest.raises(InputError, match=r"yeer: expected a column of .*x\.csv, found none: did you mean year\?"):
        read_items(path, item_features=["yeer"])
    with pytest.raises(InputError, match="price: expected a column outside the contract"):
        read_items(path, item_features=["price"])


def test_reviews_are_no_items(write):
    path = write("x.json", '{"reviewerID": "u", "asin": "i", "overall": 5, "unixReviewTime": 1}\n')
    with pytest.raises(InputError, match="found no title"):
        read_items(path, format="amazon-2018")
