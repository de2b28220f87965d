"""The development data, against plain parsing with the standard library."""

import ast
import csv
import gzip
import json
from datetime import UTC, datetime

import polars as pl
from polars.testing import assert_frame_equal

from recsys_polars import tables
from recsys_polars.sources import read_interactions, read_items


def json_rows(path) -> list[dict[str, object]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_amazon_2018_reviews_equal_plain_parsing(real_data):
    folder = real_data / "amazon-2018-gift-cards"
    found = read_interactions(str(folder))
    rows = found.files[0].rows.collect()
    assert found.format == "amazon-2018"
    assert rows["rule"].null_count() == rows.height == 2_972
    expected = [
        (raw["reviewerID"], raw["asin"], raw["overall"], datetime.fromtimestamp(raw["unixReviewTime"], UTC), line)
        for line, raw in enumerate(json_rows(folder / "Gift_Cards_5.json.gz"), start=1)
    ]
    assert rows.select("user_id", "item_id", "rating", "event_time", "line").rows() == expected
    tables.check(tables.Interactions, rows, name="interactions")


def first_of(value: object) -> str | None:
    value = ast.literal_eval(value) if isinstance(value, str) and value.startswith("[") else value
    value = (value or [None])[0] if isinstance(value, list) else value
    return value or None


def dollars(text: str) -> float | None:
    return float(text.strip("$").replace(",", "")) if text.startswith("$") else None


def test_amazon_2018_metadata_equals_plain_parsing(real_data):
    folder = real_data / "amazon-2018-gift-cards"
    raw = json_rows(folder / "meta_Gift_Cards.json.gz")
    items = read_items(str(folder)).files[0].rows.collect()
    assert items["rule"].null_count() == items.height == len(raw)
    assert items["item_id"].to_list() == [row["asin"] for row in raw]
    assert items["price"].to_list() == [dollars(row["price"]) for row in raw]
    assert items["category"].to_list() == [first_of(row["category"]) for row in raw]
    assert items["image_url"].to_list() == [first_of(row["image"]) for row in raw]
    plain = [" ".join(row["title"].split()) if "&" not in row["title"] else None for row in raw]
    assert all(expected in {None, title} for title, expected in zip(items["title"], plain, strict=True))
    assert [text is None for text in items["description"]] == [not "".join(row["description"]) for row in raw]
    for name in ("title", "description", "brand", "category"):
        assert items[name].str.contains(r"</?(?:div|br|p|a|b|span)\b|&(?:amp|#\d+|quot|nbsp);|\s\s").any() is False


def test_amazon_2023_mixed_keeps_its_values(real_data):
    folder = real_data / "amazon-2023-mixed"
    raw = pl.read_parquet(folder / "interactions.parquet")
    rows = read_interactions(str(folder)).files[0].rows.collect()
    assert rows["rule"].null_count() == rows.height == 25_023
    assert_frame_equal(rows.select("user_id", "item_id"), raw.select("user_id", "item_id"))
    assert rows["rating"].to_list() == raw["rating"].to_list()
    assert (rows["event_time"].dt.epoch("s") == raw["timestamp"]).all()
    found = read_items(str(folder), item_features=["has_image"])
    assert found.left_out == ["avg_rating", "n_ratings"]
    items, raw_items = found.files[0].rows.collect(), pl.read_parquet(folder / "items.parquet")
    assert_frame_equal(items.select("item_id", "category", "price"), raw_items.select("item_id", "category", "price"))
    assert items["has_image"].to_list() == [float(flag) for flag in raw_items["has_image"]]


def test_movielens_small_is_the_same_as_parquet_csv_and_dat(real_data, tmp_path):
    raw = pl.read_parquet(real_data / "movielens-small" / "ratings.parquet").head(5_000)
    raw.write_csv(tmp_path / "ratings.csv.gz", compression="gzip")
    lines = ("::".join(map(str, row)) for row in raw.iter_rows())
    (tmp_path / "ratings.dat").write_text("\n".join(lines))
    expected = read_interactions(str(real_data / "movielens-small")).files[0].rows.head(5_000).collect()
    assert expected["rule"].null_count() == 5_000
    for file in read_interactions(str(tmp_path)).files:
        rows = file.rows.collect()
        assert_frame_equal(rows.drop("file", "line"), expected.drop("file", "line"))
    with gzip.open(tmp_path / "ratings.csv.gz", "rt") as file:
        plain = [(row["userId"], row["movieId"], float(row["rating"])) for row in csv.DictReader(file)]
    assert expected.select("user_id", "item_id", "rating").rows() == plain


def test_movielens_small_movies_have_genres(real_data):
    items = read_items(str(real_data / "movielens-small"), item_features=["year"]).files[0].rows.collect()
    assert items.height == 9_066
    assert items.filter(item_id="1").select("title", "description", "category", "year").row(0) == (
        "Toy Story",
        "Adventure, Animation, Children, Comedy, Fantasy",
        "Adventure",
        1995.0,
    )
    assert not items["category"].is_in(["(no genres listed)"]).any()
