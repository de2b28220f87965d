import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from recsys_polars.counting import find_core, popularity
from recsys_polars.splitting import deduplicate_interactions
from recsys_polars.tables import Labelled
from tests.oracles import counting as oracle

PAIR = ["user_id", "item_id"]


def pairs_of(*rows: tuple[str, str, int]) -> pl.DataFrame:
    """`Labelled` rows of (user_id, item_id, label)."""
    frame = pl.DataFrame(rows, schema=[*PAIR, "label"], orient="row").with_columns(
        rating=None, event_time=pl.datetime(2020, 1, 1), part=pl.lit("train")
    )
    empty = Labelled.create_empty()
    return frame.select(empty.columns).cast(empty.schema)


pairs = st.dictionaries(
    st.tuples(st.sampled_from("uvwxyz"), st.sampled_from("abcdefé")), st.integers(0, 1), max_size=40
).map(lambda labels: pairs_of(*[(user, item, label) for (user, item), label in labels.items()]))


def counts_of(history: pl.DataFrame) -> list[tuple[str, int]]:
    return popularity(history.lazy()).collect().sort("n_positives", "item_id", descending=[True, False]).rows()


def test_popularity_counts_likes_alone() -> None:
    history = pairs_of(("u", "a", 1), ("v", "a", 1), ("v", "b", 1), ("w", "b", 0), ("w", "c", 0))
    assert counts_of(history) == [("a", 2), ("b", 1)]


@settings(deadline=None)
@given(pairs)
def test_popularity_equals_the_oracle(history) -> None:
    liked = history.filter(label=1).to_pandas()
    assert counts_of(history) == oracle.popularity(liked)
    assert popularity(history.lazy()).collect_schema() == {"item_id": pl.String, "n_positives": pl.Int64}


def core_of(history: pl.DataFrame, **limits: int) -> pl.DataFrame:
    """The pairs of the core."""
    core = find_core(history.lazy().select(PAIR), **limits)
    return history if core is None else history.filter(core.has())


def test_a_user_who_goes_takes_an_item_along() -> None:
    chain = pairs_of(("u", "a", 1), ("u", "b", 1), ("v", "b", 1))
    assert_frame_equal(core_of(chain, min_user=2), chain[:2])
    assert core_of(chain, min_user=2, min_item=2).is_empty()


@settings(deadline=None)
@given(pairs, st.integers(0, 4), st.integers(0, 4))
def test_the_k_core_equals_the_oracle(history, min_user, min_item) -> None:
    kept = core_of(history, min_user=min_user, min_item=min_item)
    core = oracle.k_core(history.to_pandas(), min_user=min_user, min_item=min_item)
    assert_frame_equal(kept.sort(PAIR), history[core.index.to_list()].sort(PAIR))


def test_the_k_core_of_real_data_equals_the_oracle(real_interactions) -> None:
    parted = real_interactions.lazy().with_columns(part=pl.lit("train"), label=pl.lit(1, pl.Int8))
    history = deduplicate_interactions(parted.drop("label").collect()).with_columns(label=pl.lit(1, pl.Int8))
    kept = core_of(history.select(Labelled.column_names()), min_user=5, min_item=4)
    core = oracle.k_core(history.select(PAIR).to_pandas(), min_user=5, min_item=4)
    assert sorted(kept.select(PAIR).rows()) == sorted(core.itertuples(index=False, name=None))
