import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from recsys_polars.catalogue import complete_catalogue, deduplicate_items
from recsys_polars.tables import Items, check

EMPTY = Items.create_empty()
CLIP = pl.Array(pl.Float32, 2)
rows = st.fixed_dictionaries(
    {"item_id": st.sampled_from(["a", "b", "é", "🙂"])}
    | dict.fromkeys(Items.column_names()[1:-1], st.sampled_from([None, "", "x", "Y", "中"]))
    | {"price": st.sampled_from([None, 0.0, 1.5])}
    | {"clip_text": st.sampled_from([None, [1.0, 2.0], [1.0, 3.0], [1.0, 2.0000002]])}
    | {"pages": st.sampled_from([1.0, 2.0])}
)
frames = st.lists(rows, max_size=12)


def items_of(*items: dict[str, object]) -> pl.DataFrame:
    """`Items` rows with the given fields; fields outside the contract follow."""
    frame = pl.DataFrame(items, infer_schema_length=None, schema_overrides={"clip_text": CLIP} if items else None)
    absent = [pl.lit(None).alias(name) for name in EMPTY.columns if name not in frame.columns]
    others = sorted(name for name in frame.columns if name not in EMPTY.columns)
    return frame.with_columns(absent).select(*EMPTY.columns, *others).cast(dict(EMPTY.schema))


def test_the_fullest_row_of_an_item_wins() -> None:
    items = items_of({"item_id": "a", "title": "A"}, {"item_id": "a", "title": "Z", "price": 1.0}, {"item_id": "a"})
    assert_frame_equal(deduplicate_items(items.lazy()), items[1:2])


def test_of_equally_full_rows_the_lowest_text_wins_a_missing_one_last() -> None:
    items = items_of({"item_id": "a", "brand": "A"}, {"item_id": "a", "title": "Z"}, {"item_id": "a", "title": "B"})
    assert_frame_equal(deduplicate_items(items.lazy()), items[2:3])


def test_of_rows_that_differ_in_vectors_alone_one_wins_whatever_their_order() -> None:
    items = items_of({"item_id": "a", "clip_text": [2.0, 1.0]}, {"item_id": "a", "clip_text": [1.0, 2.0]})
    assert_frame_equal(deduplicate_items(items.lazy()), items[1:2])
    assert_frame_equal(deduplicate_items(items.reverse().lazy()), items[1:2])


def test_items_that_stand_once_are_all_kept_sorted() -> None:
    items = items_of({"item_id": "b", "title": "T"}, {"item_id": "a"}, {"item_id": "c", "clip_text": [1.0, 2.0]})
    assert_frame_equal(deduplicate_items(items.lazy()), items[[1, 0, 2]])


@settings(max_examples=60, deadline=None)
@given(frames, st.randoms(use_true_random=False))
def test_which_row_stays_does_not_depend_on_their_order(items, chance) -> None:
    shuffled = chance.sample(items, len(items))
    found = deduplicate_items(items_of(*shuffled).lazy())
    assert_frame_equal(found, deduplicate_items(items_of(*items).lazy()))
    check(Items, found, name="items")
    assert set(found["item_id"]) == {item["item_id"] for item in items}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"color": "x", "size": None}, {"color": None, "size": "x"}),
        ({"color": "x;y", "size": "z"}, {"color": "x", "size": "y;z"}),
    ],
)
def test_rows_that_differ_in_other_columns_never_tie(first, second) -> None:
    items = items_of({"item_id": "a", **first}, {"item_id": "a", **second})
    assert_frame_equal(deduplicate_items(items.lazy()), deduplicate_items(items.reverse().lazy()))


def test_real_metadata_in_reverse_gives_the_same_catalogue(real_items) -> None:
    assert_frame_equal(deduplicate_items(real_items.lazy()), deduplicate_items(real_items.reverse().lazy()))


def test_items_of_interactions_alone_appear_with_nothing_but_their_id() -> None:
    items = items_of({"item_id": "b", "title": "B", "clip_text": [1.0, 2.0]})
    interactions = pl.LazyFrame({"item_id": ["c", "b", "a", "c"], "user_id": ["u", "u", "u", "v"]})
    only_ids = items_of({"item_id": "a", "clip_text": None}, {"item_id": "c", "clip_text": None})
    assert_frame_equal(complete_catalogue(items, interactions), pl.concat([only_ids[:1], items, only_ids[1:]]))


@settings(max_examples=40, deadline=None)
@given(frames, st.lists(st.sampled_from(["a", "é", "zz", "0"]), max_size=6))
def test_the_catalogue_is_the_union_of_the_ids_sorted(items, seen) -> None:
    metadata = deduplicate_items(items_of(*items).lazy())
    found = complete_catalogue(metadata, pl.LazyFrame({"item_id": seen}, schema={"item_id": pl.String}))
    assert found["item_id"].to_list() == sorted({*metadata["item_id"], *seen}, key=str.encode)
    assert_frame_equal(found.join(metadata, on="item_id", how="semi", maintain_order="left"), metadata)
