"""The recipe of a build, where its steps meet."""

import polars as pl
import pytest

from recsys_polars.errors import InputError
from recsys_polars.recipes import history_before, knowledge_before
from recsys_polars.recipes.build import build_features
from recsys_polars.recipes.raw import BuildSettings

HEADER = "user_id,item_id,rating,timestamp\n"


@pytest.fixture
def log(tmp_path):
    """Users a to d meet items 0 to 5 in turn; user e meets item 9 alone, early, and again late."""
    rows = [(user, item, 5, 1_300_000_000 + 100 * item + ord(user)) for user in "abcd" for item in range(6)]
    rows += [("e", 9, 5, 1_299_999_000), ("e", 9, 1, 1_300_000_450), ("a", 0, 2, 1_400_000_000)]
    path = tmp_path / "log.csv"
    path.write_text(HEADER + "".join(f"{user},i{item},{rating},{time}\n" for user, item, rating, time in rows))
    return path


def test_filtered_pairs_are_seen_but_not_learnt_from(log, tmp_path) -> None:
    settings = BuildSettings(interactions=str(log), min_user_interactions=2)
    store = build_features(settings, tmp_path / "store")
    assert store.scan("filtered").collect().select("user_id", "item_id").rows() == [("e", "i9")]
    for cut in ("valid", "test"):
        assert history_before(store, cut).filter(pl.col("user_id") == "e").collect().is_empty()
        known = knowledge_before(store, cut)
        (e,) = known.rows_of_users(pl.Series(["e"]))
        _, items = known.seen(known.rows_of_users(pl.Series(["e"])))
        assert known.item_ids.gather(items).to_list() == ["i9"]
        assert known.n_positives[e] == 0
        assert known.item_counts[items].tolist() == [0]


def test_a_repeat_after_the_test_cut_stays_on_record_when_its_pair_is_filtered(log, tmp_path) -> None:
    with log.open("a") as file:
        file.write("e,i9,5,1400000001\n")
    store = build_features(BuildSettings(interactions=str(log), min_user_interactions=2), tmp_path / "store")
    repeats = store.scan("repeats").filter(pl.col("user_id") == "e").collect()
    assert repeats.select("item_id", "part").rows() == [("i9", "test")]


def test_filtered_pairs_stand_in_the_ledger_and_in_the_rejects(log, tmp_path) -> None:
    store = build_features(BuildSettings(interactions=str(log), min_item_interactions=2), tmp_path / "store")
    (step,) = [step for step in store.manifest["steps"] if step["name"] == "filter train"]
    assert step["rows_in"] - step["rows_out"] == step["rejected"] == store.scan("filtered").collect().height
    rejects = pl.read_parquet(tmp_path / "store" / "rejects" / "filtered-000001.parquet")
    assert rejects["rule"].unique().to_list() == ["user with fewer than 1 pairs, or item with fewer than 2"]


def test_a_filter_that_leaves_nothing_names_its_options(log, tmp_path) -> None:
    settings = BuildSettings(interactions=str(log), min_user_interactions=1000)
    with pytest.raises(InputError, match="--min-user-interactions, --min-item-interactions: expected some liked pairs"):
        build_features(settings, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_the_same_files_and_settings_give_the_same_tables(log, tmp_path) -> None:
    first, second = (build_features(BuildSettings(interactions=str(log)), tmp_path / name) for name in ("a", "b"))
    assert first.manifest["files"] == second.manifest["files"]
