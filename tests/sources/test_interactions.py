"""Each format of interactions, in five rows at most."""

import datetime as dt
import gzip
import json
from pathlib import Path

import polars as pl
import pytest

from recsys_polars import tables
from recsys_polars.sources import read_interactions
from recsys_polars.sources.interactions import ParsedInteractions

NOON = dt.datetime(2011, 2, 12, 12, tzinfo=dt.UTC)
REVIEW = {"reviewerID": "u1", "asin": "i1", "overall": 5.0, "unixReviewTime": 1297512000}


def parsed(found: ParsedInteractions) -> pl.DataFrame:
    return pl.concat([file.rows.collect() for file in found.files])


def accepted(found: ParsedInteractions) -> list[tuple[object, ...]]:
    rows = parsed(found).filter(pl.col("rule").is_null()).select(tables.Interactions.column_names())
    return tables.check(tables.Interactions, rows, name="interactions").rows()


def rejects(found: ParsedInteractions) -> list[tuple[object, ...]]:
    return parsed(found).filter(pl.col("rule").is_not_null()).select("line", "rule", "found").rows()


def lines(*rows: dict[str, object]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_amazon_2018_reviews_are_json_lines(write, suffix):
    path = write("reviews.json" + suffix, lines(REVIEW | {"verified": True}))
    found = read_interactions(path)
    assert found.format == "amazon-2018"
    assert not found.implicit
    assert accepted(found) == [("u1", "i1", 5.0, NOON)]


def test_amazon_2014_reviews_are_told_by_their_helpful_votes(write):
    found = read_interactions(write("reviews.json", lines(REVIEW | {"helpful": [0, 1]})))
    assert found.format == "amazon-2014"
    assert accepted(found) == [("u1", "i1", 5.0, NOON)]


def test_amazon_2014_ratings_have_the_user_first_and_those_of_2018_the_item(write):
    first = read_interactions(write("a.csv", "A1KLRMWW2FWPL4,0000031887,5.0,1297512000\n"))
    second = read_interactions(write("b.csv", "0000031887,A1KLRMWW2FWPL4,5.0,1297512000\n"))
    assert (first.format, second.format) == ("amazon-2014", "amazon-2018")
    assert accepted(first) == accepted(second) == [("A1KLRMWW2FWPL4", "0000031887", 5.0, NOON)]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_amazon_2023_ratings_count_milliseconds(write, suffix):
    found = read_interactions(
        write("r.csv" + suffix, "user_id,parent_asin,rating,timestamp\nu1,i1,4.0,1297512000250\n")
    )
    assert found.format == "amazon-2023"
    assert accepted(found) == [("u1", "i1", 4.0, NOON.replace(microsecond=250_000))]


def test_amazon_2023_reviews_go_by_the_parent(write):
    review = {"rating": 1.0, "asin": "child", "parent_asin": "i1", "user_id": "u1", "timestamp": 1297512000000}
    assert accepted(read_interactions(write("r.jsonl", lines(review)))) == [("u1", "i1", 1.0, NOON)]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("u.data", "1\t2\t3\t1297512000\n"),
        ("ratings.dat", "1::2::3::1297512000\n"),
        ("ratings.csv", "userId,movieId,rating,timestamp\r\n1,2,3.0,1297512000\r\n"),
    ],
)
def test_movielens_ratings_of_every_release(write, name, text, suffix):
    found = read_interactions(write(name + suffix, text))
    assert found.format == "movielens"
    assert accepted(found) == [("1", "2", 3.0, NOON)]


def test_movielens_parquet_has_whole_numbers_as_ids(tmp_path):
    frame = pl.DataFrame({"userId": [1], "movieId": [2], "rating": [0.5], "timestamp": [1297512000]})
    frame.write_parquet(tmp_path / "ratings.parquet")
    assert accepted(read_interactions(str(tmp_path))) == [("1", "2", 0.5, NOON)]


def test_a_folder_gives_ratings_and_leaves_movies_and_tags(tmp_path):
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,2,3.0,1297512000\n")
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n2,Heat,Action\n")
    (tmp_path / "tags.csv").write_text("userId,movieId,tag,timestamp\n1,2,dull,1297512000\n")
    assert [file.path.name for file in read_interactions(str(tmp_path)).files] == ["ratings.csv"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.csv", "user_id,item_id,rating,event_time\nu1,i1,-7.5,2011-02-12T12:00:00Z\n"),
        ("x.tsv", "user_id\titem_id\trating\tevent_time\nu1\ti1\t-7.5\t2011-02-12 12:00\n"),
        ("x.csv.zst", "userId;itemId;stars;date\nu1;i1;-7.5;2011-02-12T13:00+01:00\n"),
        ("x.jsonl.gz", '{"user": "u1", "product_id": "i1", "score": "-7.5", "time": "1297512000"}\n'),
        ("x.txt", '\ufeffuser_id|item_id|rating|event_time\n"u1"|i1|-7.5|1297512000000000\n'),
    ],
)
def test_generic_files_take_usual_names_and_any_finite_rating(write, name, text):
    found = read_interactions(write(name, text))
    assert found.format == "generic"
    assert accepted(found) == [("u1", "i1", -7.5, NOON)]


def test_a_mapping_wins_over_usual_names_and_says_that_it_matched(write):
    path = write("x.csv", "who,user_id,asin,when\nu1,not me,i1,1297512000\n")
    found = read_interactions(path, columns={"user_id": "who", "event_time": "when", "price": "cost", "rating": "none"})
    assert found.mapped == {"user_id", "event_time"}
    assert accepted(found) == [("u1", "i1", None, NOON)]


def test_a_rating_may_have_a_decimal_comma_but_not_what_could_be_thousands(write):
    rows = "".join(f"u;i;{rating};1297512000\n" for rating in ("4,5", " 3,75 ", "1,299", ",5", "4,"))
    found = read_interactions(write("x.csv", "user_id;item_id;rating;event_time\n" + rows))
    assert [row[2] for row in accepted(found)] == [4.5, 3.75]
    assert [line for line, _, _ in rejects(found)] == [4, 5, 6]


def test_without_a_rating_column_all_is_implicit(write):
    found = read_interactions(write("x.csv", "user_id,item_id,event_time\nu1,i1,1297512000\n"))
    assert found.implicit
    assert accepted(found) == [("u1", "i1", None, NOON)]


def test_implicit_leaves_ratings_out_even_bad_ones(write):
    text = "user_id,item_id,rating,event_time\nu1,i1,5,1297512000\nu2,i1,x,1297512000\n"
    found = read_interactions(write("x.csv", text), implicit=True)
    assert accepted(found) == [("u1", "i1", None, NOON), ("u2", "i1", None, NOON)]


def test_files_of_one_glob_may_be_packed_differently(write, tmp_path):
    header = "user_id,item_id,rating,event_time\n"
    write("part-1.csv.gz", header + "u1,i1,1,1297512000\n")
    write("part-2.csv.zst", header + "u2,i1,2,1297512000\n")
    write("part-3.csv", header + "u3,i1,3,1297512000\n")
    found = read_interactions(str(tmp_path / "part-*"))
    assert [row[0] for row in accepted(found)] == ["u1", "u2", "u3"]
    assert parsed(found)["file"].to_list() == [str(file.path) for file in found.files]


def test_archives_glued_together_are_read_to_the_end(tmp_path):
    part = gzip.compress(lines(REVIEW).encode())
    (tmp_path / "r.json.gz").write_bytes(part + part)
    assert len(accepted(read_interactions(str(tmp_path / "r.json.gz")))) == 2


def test_ids_are_kept_to_the_letter(write):
    ids = [" a ", 'say "hi"', "it's, so", "😀\u200d🔥", "two\nlines"]
    path = write("x.jsonl", lines(*({"user_id": i, "item_id": i, "event_time": 1297512000} for i in ids)))
    assert [row[0] for row in accepted(read_interactions(path))] == ids


def test_whole_numbers_as_ids_keep_all_their_digits(write):
    path = write("x.jsonl", '{"user_id": 123456789012345678901234, "item_id": 7, "event_time": 1297512000}\n')
    assert accepted(read_interactions(path))[0][:2] == ("123456789012345678901234", "7")


def test_columns_named_like_ours_do_no_harm(write):
    path = write("x.csv", "line,rule,found,file,user_id,item_id,date\na,b,c,d,u1,i1,2011-02-12\n")
    assert accepted(read_interactions(path)) == [("u1", "i1", None, NOON.replace(hour=0))]


def test_every_broken_rule_has_a_name_and_the_text_that_breaks_it(write):
    rows = [
        {"reviewerID": "", "asin": None, "overall": 9, "unixReviewTime": 1},
        REVIEW | {"asin": None},
        REVIEW | {"overall": "five"},
        REVIEW | {"overall": None},
        REVIEW | {"overall": float("nan")},
        REVIEW | {"overall": float("inf")},
        REVIEW | {"overall": 0.5},
        REVIEW | {"overall": 5.5},
        REVIEW | {"unixReviewTime": 0},
        REVIEW | {"unixReviewTime": 4102444800},
        REVIEW | {"unixReviewTime": "02 12, 2011"},
        REVIEW | {"unixReviewTime": ""},
    ]
    assert rejects(read_interactions(write("r.json", lines(REVIEW, *rows)))) == [
        (2, "user_id: missing", ""),
        (3, "item_id: missing", None),
        (4, "rating: not a number", "five"),
        (5, "rating: missing", None),
        (6, "rating: missing", None),
        (7, "rating: not finite", "Infinity"),
        (8, "rating: below 1", "0.5"),
        (9, "rating: above 5", "5.5"),
        (10, "event_time: before 1990", "0"),
        (11, "event_time: after tomorrow", "4102444800"),
        (12, "event_time: not a time", "02 12, 2011"),
        (13, "event_time: missing", ""),
    ]


def test_broken_json_lines_are_rejects_and_the_others_stay(write):
    text = lines(REVIEW) + '{"reviewerID": "u\n\n[1]\n' + lines(REVIEW) + "\n"
    found = read_interactions(write("r.json", text))
    assert [row[0] for row in accepted(found)] == ["u1", "u1"]
    assert rejects(found) == [
        (2, "line: not JSON", '{"reviewerID": "u'),
        (3, "line: blank", ""),
        (4, "line: not a JSON object", "[1]"),
    ]


def test_printed_python_dicts_are_read_and_hostile_ones_rejected(write):
    text = lines(REVIEW) + f"{REVIEW | {'helpful': None}}\n" + "{'a': __import__('os')}\n" + "{'a':" * 3_000 + "\n"
    found = read_interactions(write("r.json", text))
    assert len(accepted(found)) == 2
    assert [row[:2] for row in rejects(found)] == [(3, "line: not JSON"), (4, "line: not JSON")]


def test_rows_with_fields_too_many_or_too_few_are_rejects(write):
    text = "user_id,item_id,rating,event_time\nu1,i1,5,1297512000,x\nu1,i1\n\nu1,i1,5,1297512000\n"
    found = read_interactions(write("x.csv", text))
    assert len(accepted(found)) == 1
    assert rejects(found) == [(2, "line: too many fields", "x"), (3, "rating: missing", None), (4, "line: blank", None)]
    dat = read_interactions(write("r.dat", "1::2::3::1297512000\n1::2::3\n"))
    assert rejects(dat) == [(2, "line: wrong number of fields", "1::2::3")]


def test_a_reject_keeps_two_hundred_characters(write):
    found = read_interactions(write("r.json", lines(REVIEW, REVIEW | {"overall": "x" * 1_000})))
    assert rejects(found) == [(2, "rating: not a number", "x" * 200)]


def test_a_rating_beyond_float32_is_not_finite(write):
    text = "user_id,item_id,rating,event_time\nu1,i1,1e300,1297512000\n"
    assert rejects(read_interactions(write("x.csv", text))) == [(2, "rating: not finite", "1e300")]


def test_nothing_is_read_before_it_is_collected(write):
    path = write("x.csv", "user_id,item_id,event_time\nu1,i1,1297512000\n")
    found = read_interactions(path)
    Path(path).write_text("user_id,item_id,event_time\nu2,i2,1297512000\n")
    assert accepted(found) == [("u2", "i2", None, NOON)]


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.dat"])
def test_only_a_blank_line_at_the_very_end_is_no_row_whatever_is_asked_of_the_rows(write, name):
    good = {
        "x.jsonl": '{"user_id": 1, "item_id": 2, "rating": 3, "date": 1297512000}\n',
        "x.csv": "1,2,3,1297512000\n",
        "x.dat": "1::2::3::1297512000\n",
    }[name]
    header = "user_id,item_id,rating,event_time\n" if name == "x.csv" else ""
    rows = read_interactions(write(name, header + good + "\n" + good + "\n\n")).files[0].rows
    assert rows.collect()["rule"].to_list() == [None, "line: blank", None, "line: blank"]
    assert rows.filter(pl.col("rule").is_not_null()).collect().height == 2
    assert rows.filter(pl.col("rule").is_null()).select("user_id").collect().height == 2
    assert rows.select(pl.len()).collect().item() == 4
    assert rows.head(2).collect().height == 2
    assert rows.collect(engine="in-memory").height == 4
