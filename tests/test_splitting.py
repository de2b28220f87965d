"""The cuts in time: equal to the oracle, blind to what comes later, and without a row lost."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from recsys_polars.labelling import label_interactions
from recsys_polars.splitting import SPLITS, assign_parts, deduplicate_interactions, history
from recsys_polars.tables import CUTS, PARTS, Interactions, Labelled, Repeats, check
from tests.oracles import time_split as oracle

DAY_0 = datetime(2020, 1, 1, tzinfo=UTC)
PAIR = ["user_id", "item_id"]
HISTORY = [*PAIR, "rating", "event_time", "label"]
Row = tuple[str, str, float | None, int]
Tables = dict[str, pl.DataFrame]


def interactions_of(*rows: Row) -> pl.DataFrame:
    """Rows of (user_id, item_id, rating, day)."""
    timed = [(*row, DAY_0 + timedelta(days=day)) for *row, day in rows]
    return pl.DataFrame(timed, schema=Interactions.create_empty().schema, orient="row")


def tables_of(parted: pl.LazyFrame) -> Tables:
    """The oracle's tables, by the product's steps, from rows with their part."""
    pairs = label_interactions(deduplicate_interactions(parted.collect()).lazy()).collect()
    labelled = pairs.filter(~pl.col("is_repeat")).select(Labelled.column_names())
    repeats = pairs.filter("is_repeat").select(Repeats.column_names())
    check(Labelled, labelled, name="labelled")
    check(Repeats, repeats, name="repeats")
    tables = {part: labelled.filter(part=part) for part in PARTS}
    tables |= {f"repeats_{part}": repeats.filter(part=part) for part in CUTS}
    for before in CUTS:
        tables[f"history_{before}"] = history(labelled.lazy(), repeats.lazy(), before=before).collect()
    return {name: table.select(HISTORY).sort(PAIR) for name, table in tables.items()}


def assert_tables_equal(left: Tables, right: Tables, names: list[str] | None = None) -> None:
    for name in names or left:
        assert_frame_equal(left[name], right[name])


def cut_interactions(interactions: pl.DataFrame, **cut: object) -> pl.LazyFrame:
    """Rows with their part, collected: the plan of all steps in one takes seconds to optimise."""
    return assign_parts(interactions.lazy(), **cut).collect().lazy()


def oracle_tables(interactions: pl.DataFrame, **cut: object) -> Tables:
    found = oracle.split(interactions.to_pandas(), **cut)
    tables = {name: from_pandas(table) for name, table in found.items()}
    tables["history_valid"], tables["history_test"] = tables["train"], tables.pop("history")
    return tables


def from_pandas(table: pd.DataFrame) -> pl.DataFrame:
    empty = Labelled.create_empty().select(HISTORY)
    return empty if table.empty else pl.from_pandas(table[HISTORY], nan_to_null=True).cast(empty.schema)


def short(table: pl.DataFrame) -> str:
    """`u a 3 1`: user u, item a, day 3, label 1; rows divided by commas."""
    rows = table.select(*PAIR, (pl.col("event_time") - DAY_0).dt.total_days(), "label").rows()
    return ", ".join(" ".join(map(str, row)) for row in rows)


# Six days for up to thirty rows of at most 4 x 5 pairs: nearly every time ties and most pairs repeat.
frames = st.lists(
    st.tuples(
        st.sampled_from("uvwx"), st.sampled_from("abcdé"), st.sampled_from([None, 1, 3.5, 4, 5]), st.integers(0, 5)
    ),
    max_size=30,
).map(lambda rows: interactions_of(*rows))
fractions = st.sampled_from([0.1, 0.2, 0.25, 0.5, 0.9]) | st.floats(0.001, 0.999)
cuts = st.fixed_dictionaries(
    {"split": st.sampled_from(SPLITS), "test_fraction": fractions, "valid_fraction": fractions}
    | {"test_n": st.integers(1, 4)}
)


@settings(max_examples=70, deadline=None)
@given(frames, cuts)
def test_every_table_equals_the_oracle(interactions, cut) -> None:
    parted = cut_interactions(interactions, **cut)
    assert_tables_equal(tables_of(parted), oracle_tables(interactions, **cut))


@pytest.mark.parametrize("split", SPLITS)
def test_every_table_of_real_data_equals_the_oracle(real_interactions, split) -> None:
    cut = {"split": split, "test_fraction": 0.1, "valid_fraction": 0.2, "test_n": 2}
    if split != "global-time":  # the oracle takes milliseconds a user
        some_users = real_interactions["user_id"].unique().sort()[:150]
        real_interactions = real_interactions.filter(pl.col("user_id").is_in(some_users.implode()))
    parted = cut_interactions(real_interactions, **cut)
    assert_tables_equal(tables_of(parted), oracle_tables(real_interactions, **cut))


@settings(max_examples=40, deadline=None)
@given(frames, cuts, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_plays_no_part(interactions, cut, chance) -> None:
    places = list(range(interactions.height))
    chance.shuffle(places)
    shuffled = cut_interactions(interactions[places], **cut)
    assert_tables_equal(tables_of(shuffled), tables_of(cut_interactions(interactions, **cut)))


@settings(max_examples=40, deadline=None)
@given(frames, cuts)
def test_every_row_has_exactly_one_part_and_every_pair_of_a_part_one_row(interactions, cut) -> None:
    parted = cut_interactions(interactions, **cut).collect()
    rows = [*PAIR, "rating", "event_time"]
    assert_frame_equal(parted.select(rows).sort(rows), interactions.sort(rows))
    assert parted["part"].is_in(PARTS).all()
    pairs = deduplicate_interactions(parted)
    assert_frame_equal(pairs.select(*PAIR, "part"), parted.select(*PAIR, "part").unique(), check_row_order=False)
    merged = parted.join(pairs, on=[*rows, "part"], how="anti", nulls_equal=True)
    kept = parted.join(pairs, on=[*rows, "part"], how="semi", nulls_equal=True)
    assert kept.height + merged.height == interactions.height
    assert kept.unique().height == pairs.height


@settings(max_examples=40, deadline=None)
@given(frames, cuts)
def test_no_pair_stands_in_two_parts_unless_as_a_repeat(interactions, cut) -> None:
    pairs = deduplicate_interactions(cut_interactions(interactions, **cut).collect())
    assert not pairs.filter(~pl.col("is_repeat")).select(PAIR).is_duplicated().any()
    assert not pairs.select(*PAIR, "part").is_duplicated().any()


@settings(max_examples=40, deadline=None)
@given(frames, cuts)
def test_without_the_rows_after_a_cut_all_before_it_is_the_same(interactions, cut) -> None:
    parted = cut_interactions(interactions, **cut)
    tables = tables_of(parted)
    no_test = tables_of(parted.filter(pl.col("part") != "test"))
    assert_tables_equal(tables, no_test, ["train", "valid", "repeats_valid", "history_valid", "history_test"])
    only_train = tables_of(parted.filter(pl.col("part") == "train"))
    assert_tables_equal(tables, only_train, ["train", "history_valid"])


def rewrite_after(part: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Other ratings and, but for `last-n`, other items for the rows from a part on; their times are the cut."""
    changed = pl.col("part").is_in(PARTS[PARTS.index(part) :])

    def rewrite(parted: pl.DataFrame, *, items: bool) -> pl.DataFrame:
        other = parted.with_columns(rating=pl.when(~changed).then("rating"))
        renamed = pl.when(changed).then(pl.col("item_id") + "?").otherwise("item_id")
        return other.with_columns(item_id=renamed if items else "item_id").drop("part")

    return rewrite


@settings(max_examples=40, deadline=None)
@given(frames, cuts, st.sampled_from(CUTS))
def test_what_was_rated_after_a_cut_changes_nothing_before_it(interactions, cut, part) -> None:
    parted = cut_interactions(interactions, **cut).collect()
    rewritten = rewrite_after(part)(parted, items=cut["split"] != "last-n")
    before = ["train", "history_valid"]
    if part == "test":
        before += ["valid", "repeats_valid", "history_test"]
    again = tables_of(cut_interactions(rewritten, **cut))
    assert_tables_equal(tables_of(parted.lazy()), again, before)


@settings(max_examples=40, deadline=None)
@given(frames, st.sampled_from(SPLITS[:2]), fractions)
def test_the_valid_cut_is_the_test_cut_again_on_what_comes_before(interactions, split, fraction) -> None:
    parted = assign_parts(interactions.lazy(), split=split, test_fraction=0.3, valid_fraction=fraction).collect()
    before_test = parted.filter(pl.col("part") != "test")
    again = assign_parts(before_test.drop("part").lazy(), split=split, test_fraction=fraction, valid_fraction=0)
    expected = before_test.with_columns(part=pl.col("part").replace("valid", "test"))
    assert_frame_equal(again.collect(), expected, check_row_order=False)


@pytest.mark.parametrize("split", SPLITS[:2])
def test_a_test_fraction_of_zero_means_no_test_part(split) -> None:
    rows = interactions_of(("u", "a", 5, 0), ("u", "b", 5, 1), ("v", "c", 5, 1))
    parted = assign_parts(rows.lazy(), split=split, test_fraction=0, valid_fraction=0).collect()
    assert parted["part"].to_list() == ["train"] * 3


def test_last_n_does_not_use_the_test_fraction() -> None:
    rows = interactions_of(("u", "a", 5, 0), ("u", "b", 5, 1), ("u", "c", 5, 2))
    tables = tables_of(cut_interactions(rows, split="last-n", test_fraction=0, test_n=1))
    assert short(tables["test"]) == "u c 2 1"


@pytest.mark.parametrize("split", SPLITS)
def test_a_valid_fraction_of_zero_means_no_valid_part(split) -> None:
    rows = interactions_of(("u", "a", 5, 0), ("u", "b", 5, 1), ("u", "c", 5, 2))
    tables = tables_of(cut_interactions(rows, split=split, valid_fraction=0))
    assert (short(tables["valid"]), short(tables["train"])) == ("", short(tables["history_test"]))


def test_a_late_dislike_between_the_cuts_changes_the_history_of_test_alone() -> None:
    rows = interactions_of(("u", "a", 5, 0), ("u", "b", 4, 1), ("u", "a", 1, 2), ("v", "c", 5, 3), ("v", "d", 2, 4))
    # test: index floor(4 * 0.75) = 3, day 3. valid: of days 0, 1, 2 index floor(2 * 0.5) = 1, day 1.
    tables = tables_of(cut_interactions(rows, split="global-time", test_fraction=0.25, valid_fraction=0.5))
    assert short(tables["train"]) == short(tables["history_valid"]) == "u a 0 1"
    assert short(tables["valid"]) == "u b 1 1"
    assert short(tables["repeats_valid"]) == "u a 2 0"
    assert short(tables["history_test"]) == "u a 2 0, u b 1 1"


def test_a_repeat_after_the_test_cut_is_counted_as_a_repeat_and_no_test_row() -> None:
    rows = interactions_of(("u", "a", 5, 0), ("u", "b", 5, 1), ("u", "a", 1, 2), ("u", "a", 2, 3), ("u", "c", 5, 4))
    # index floor(4 * 0.5) = 2, day 2: of the two later rows of a the latest is the repeat.
    tables = tables_of(cut_interactions(rows, split="user-time", test_fraction=0.5, valid_fraction=0))
    assert short(tables["test"]) == "u c 4 1"
    assert short(tables["repeats_test"]) == "u a 3 0"
    assert short(tables["history_test"]) == "u a 0 1, u b 1 1"


def test_a_row_at_the_cut_lies_after_it() -> None:
    rows = interactions_of(("u", "a", 5, 0), ("v", "b", 5, 1), ("u", "c", 5, 1), ("v", "d", 5, 1), ("v", "e", 5, 2))
    # index floor(4 * 0.5) = 2 is the second of three rows of day 1.
    tables = tables_of(cut_interactions(rows, split="global-time", test_fraction=0.5, valid_fraction=0))
    assert short(tables["train"]) == "u a 0 1"


@pytest.mark.parametrize("split", SPLITS)
def test_a_user_with_one_row_has_it_in_test(split) -> None:
    tables = tables_of(cut_interactions(interactions_of(("u", "a", 5, 0)), split=split))
    assert {name: short(table) for name, table in tables.items() if table.height} == {"test": "u a 0 1"}


def test_in_user_time_each_user_has_a_cut_of_their_own() -> None:
    rows = interactions_of(("u", "a", 5, 0), ("u", "b", 5, 9), ("v", "c", 5, 1), ("v", "d", 5, 2), ("w", "e", 5, 0))
    # fraction 0.4: of two rows index floor(1 * 0.6) = 0 is the cut, so all is after it.
    assert short(tables_of(cut_interactions(rows, split="user-time", test_fraction=0.4))["history_test"]) == ""


def test_last_n_takes_the_lower_item_id_as_later_among_equal_times() -> None:
    rows = interactions_of(("u", "d", 5, 1), ("u", "b", 5, 1), ("u", "a", 5, 0), ("u", "c", 1, 1))
    tables = tables_of(cut_interactions(rows, split="last-n", test_n=1))
    assert (short(tables["test"]), short(tables["valid"])) == ("u b 1 1", "u c 1 0")


def test_of_rows_of_equal_time_the_higher_rating_wins_and_a_missing_one_loses() -> None:
    rows = interactions_of(("u", "a", 2, 0), ("u", "a", 3, 0), ("u", "a", None, 0))
    assert deduplicate_interactions(rows.with_columns(part=pl.lit("train")))["rating"].to_list() == [3]


def test_history_knows_no_cut_but_two() -> None:
    with pytest.raises(ValueError, match="before: expected one of"):
        history(pl.LazyFrame(), pl.LazyFrame(), before="train")
