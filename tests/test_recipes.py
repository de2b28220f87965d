"""From a trained model to lists and figures: whom, what, in which order; and what is refused."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recsys_polars.api.evaluate import evaluate
from recsys_polars.errors import ArtefactError, InputError, TableError
from recsys_polars.models.protocol import FitSettings
from recsys_polars.models.two_tower import TwoTower
from recsys_polars.ranking import DotScorer
from recsys_polars.recipes import history_before, knowledge_before
from recsys_polars.recipes import rank as rank_recipe
from recsys_polars.recipes.build import BuildSettings, build_features
from recsys_polars.recipes.rank import rank
from recsys_polars.recipes.sides import RankSettings
from recsys_polars.recipes.train import load_model, train
from recsys_polars.store import Store, open_store
from recsys_polars.tables import Predictions, check
from tests.odd_ids import ODD_IDS

CPU = FitSettings(device="cpu")
KINDS = ("popularity", "two-tower")


def write_interactions(path, rows):
    table = pl.DataFrame(rows, schema=["user_id", "item_id", "rating", "timestamp"], orient="row")
    table.with_columns(pl.col("timestamp") + 1_600_000_000).write_parquet(path)


def raw_rows():
    """60 users and 40 items; users 50 to 59 come late, 48 and 49 like nothing, and some ids are odd."""
    rng = np.random.default_rng(5)
    users = np.where(rng.random(900) < 0.95, rng.integers(0, 50, 900), rng.integers(50, 60, 900))
    items = np.minimum(rng.geometric(0.06, 900), 40) - 1
    times = np.where(users < 50, rng.integers(0, 1000, 900), rng.integers(960, 1000, 900))
    ratings = np.where((users == 48) | (users == 49), 1.0, rng.integers(3, 6, 900))
    user_ids = [*ODD_IDS, *(f"user {user:02d}" for user in range(60))][:60]
    item_ids = [*ODD_IDS, *(f"item {item:02d}" for item in range(40))][:40]
    columns = zip(users, items, ratings, times, strict=True)
    return [(user_ids[user], item_ids[item], float(rating), int(time)) for user, item, rating, time in columns]


class Shop(NamedTuple):
    store: Store
    history: pl.DataFrame
    seen: dict[str, set[str]]
    fans: set[str]  # users with a positive before the test cut
    popular: list[str]  # all items, the most liked first, ties by id


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    write_interactions(folder / "interactions.parquet", raw_rows())
    catalogue = pl.DataFrame({"item_id": [*ODD_IDS, "never seen"], "title": [*map(repr, ODD_IDS), "Of the catalogue"]})
    catalogue.write_parquet(folder / "items.parquet")
    paths = (str(folder / "interactions.parquet"), str(folder / "items.parquet"))
    store = build_features(BuildSettings(*paths), folder / "store")
    for kind in KINDS:
        train(store.path, kind, CPU)
    history = history_before(store, "test").collect()
    liked = history.filter(pl.col("label") == 1)
    likes = dict(liked.group_by("item_id").len().iter_rows())
    items = store.scan("items").select("item_id").collect()["item_id"].to_list()
    return Shop(
        store,
        history,
        {user: set(own["item_id"]) for (user,), own in history.group_by("user_id")},
        set(liked["user_id"]),
        sorted(items, key=lambda item: (-likes.get(item, 0), item)),
    )


def ranked(shop, out, **settings):
    figures = rank(shop.store.path, out, RankSettings(device="cpu", **settings))
    return pl.read_parquet(out), figures


def lists_of(predictions):
    return dict(predictions.group_by("user_id", maintain_order=True).agg("item_id").iter_rows())


def users_of_test(shop):
    return set(shop.store.scan("labelled").filter(pl.col("part") == "test").collect()["user_id"])


def all_users(shop):
    return set(shop.store.scan("labelled").collect()["user_id"])


@pytest.mark.parametrize("kind", KINDS)
class TestLists:
    def test_predictions_keep_their_contract_and_their_order(self, kind, shop, tmp_path):
        predictions, _ = ranked(shop, tmp_path / "p.parquet", kind=kind, users="all")
        check(Predictions, predictions, name="predictions")
        assert_frame_equal(predictions, predictions.sort("user_id", "rank"))
        by_score = predictions.sort("user_id", -pl.col("score"), "item_id")
        assert_frame_equal(predictions, by_score)

    def test_every_user_has_k_items(self, kind, shop, tmp_path):
        predictions, figures = ranked(shop, tmp_path / "p.parquet", kind=kind, users="all", k=7)
        assert set(map(len, lists_of(predictions).values())) == {7}
        assert lists_of(predictions).keys() == all_users(shop)
        assert predictions["rank"].to_list() == list(range(1, 8)) * len(all_users(shop))
        assert (figures["users"], figures["k"]) == (len(all_users(shop)), 7)

    def test_test_users_are_those_of_the_test_part(self, kind, shop, tmp_path):
        predictions, figures = ranked(shop, tmp_path / "p.parquet", kind=kind)
        assert lists_of(predictions).keys() == users_of_test(shop)
        assert figures["cold_users"] == len(users_of_test(shop) - shop.fans) > 0

    def test_seen_items_are_left_out_unless_they_are_asked_for(self, kind, shop, tmp_path):
        without, _ = ranked(shop, tmp_path / "p.parquet", kind=kind, users="all", k=50)
        including, _ = ranked(shop, tmp_path / "q.parquet", kind=kind, users="all", k=50, exclude_seen=False)
        every_item = set(shop.popular)
        for user, items in lists_of(without).items():
            assert set(items) == every_item - shop.seen.get(user, set())
        assert {frozenset(items) for items in lists_of(including).values()} == {frozenset(every_item)}
        both = including.join(without, on=["user_id", "item_id"], suffix="_without")
        assert (both["score"] == both["score_without"]).all()

    def test_cold_users_get_the_popular_items_that_they_have_not_seen(self, kind, shop, tmp_path):
        predictions, figures = ranked(shop, tmp_path / "p.parquet", kind=kind, users="all", k=5)
        cold = {user: items for user, items in lists_of(predictions).items() if user not in shop.fans}
        assert len(cold) == figures["cold_users"] > 2
        assert any(shop.seen.get(user) for user in cold), "a user who likes nothing has seen something all the same"
        for user, items in cold.items():
            assert items == [item for item in shop.popular if item not in shop.seen.get(user, ())][:5]

    def test_warm_users_are_ranked_by_the_model(self, kind, shop, tmp_path):
        predictions, _ = ranked(shop, tmp_path / "p.parquet", kind=kind, users="all", k=50)
        warm = predictions.filter(pl.col("user_id").is_in(list(shop.fans)))
        known = knowledge_before(shop.store, "test")
        model = load_model(shop.store, kind)[0]
        scorer = model.scorer(known, np.arange(known.n_users), device="cpu")
        rows = known.user_ids.search_sorted(warm["user_id"]), known.item_ids.search_sorted(warm["item_id"])
        exact = scorer.exact(*(row.to_numpy().astype(np.int64) for row in rows))
        assert warm["score"].to_list() == exact.astype(np.float32).tolist()

    def test_candidates_of_train_are_the_items_with_an_interaction_before_the_cut(self, kind, shop, tmp_path):
        predictions, figures = ranked(
            shop, tmp_path / "p.parquet", kind=kind, users="all", k=50, candidates="train", exclude_seen=False
        )
        known_items = set(shop.history["item_id"])
        assert set(predictions["item_id"]) == known_items < set(shop.popular)
        assert figures["items"] == len(known_items)

    @pytest.mark.parametrize("suffix", ["txt", "csv", "parquet"])
    def test_candidates_of_a_file_are_all_that_is_shown(self, kind, suffix, shop, tmp_path):
        wanted = ["😀", 'a "quote"', "never seen", "two words"]
        file = write_ids(tmp_path / f"ids.{suffix}", "item_id", [*wanted, "no such item", wanted[0]])
        predictions, figures = ranked(shop, tmp_path / "p.parquet", kind=kind, candidates=file, exclude_seen=False)
        assert {frozenset(items) for items in lists_of(predictions).values()} == {frozenset(wanted)}
        assert figures["items"] == len(wanted)

    def test_a_user_who_has_seen_all_candidates_has_no_list(self, kind, shop, tmp_path):
        user, items = next((user, items) for user, items in sorted(shop.seen.items()) if user in shop.fans)
        file = write_ids(tmp_path / "items.parquet", "item_id", sorted(items))
        predictions, figures = ranked(shop, tmp_path / "p.parquet", kind=kind, users="all", candidates=file)
        assert user not in lists_of(predictions)
        assert figures["users"] == len(all_users(shop))

    @pytest.mark.parametrize("suffix", ["txt", "csv", "parquet"])
    def test_users_of_a_file_may_be_unknown(self, kind, suffix, shop, tmp_path):
        fan = min(user for user in shop.fans if user.startswith("user"))
        file = write_ids(tmp_path / f"ids.{suffix}", "user_id", ["who?", fan, " padded ", fan, "~"])
        predictions, figures = ranked(shop, tmp_path / "p.parquet", kind=kind, users=file, k=4)
        lists = lists_of(predictions)
        assert list(lists) == sorted({"who?", fan, " padded ", "~"})
        assert lists["who?"] == lists["~"] == shop.popular[:4]
        assert figures["users"] == 4
        everyone, _ = ranked(shop, tmp_path / "all.parquet", kind=kind, users="all", k=4)
        assert lists[fan] == lists_of(everyone)[fan]

    def test_blocks_of_users_and_memory_change_no_row(self, kind, shop, tmp_path, monkeypatch):
        wanted, _ = ranked(shop, tmp_path / "p.parquet", kind=kind, users="all")
        for users_at_once, memory_bytes in ((3, 2 << 30), (1, 1 << 16), (8192, 1)):
            monkeypatch.setattr(rank_recipe, "USERS_AT_ONCE", users_at_once)
            found, _ = ranked(shop, tmp_path / "q.parquet", kind=kind, users="all", memory_bytes=memory_bytes)
            assert_frame_equal(found, wanted)

    def test_odd_ids_come_out_as_they_went_in(self, kind, shop, tmp_path):
        predictions, _ = ranked(shop, tmp_path / "p.parquet", kind=kind, users="all", k=50, exclude_seen=False)
        assert set(ODD_IDS) <= set(predictions["user_id"])
        assert set(ODD_IDS) <= set(predictions["item_id"])


def write_ids(path, column, ids):
    table = pl.DataFrame({column: ids, "another": range(len(ids))})
    if path.suffix == ".parquet":
        table.write_parquet(path)
    elif path.suffix == ".csv":
        table.write_csv(path)
    else:
        path.write_text("\n".join([*ids, ""]), encoding="utf-8")
    return str(path)


def test_ids_with_line_breaks_can_be_given_in_csv_and_parquet(shop, tmp_path):
    for suffix in ("csv", "parquet"):
        file = write_ids(tmp_path / f"ids.{suffix}", "user_id", list(ODD_IDS))
        predictions, _ = ranked(shop, tmp_path / "p.parquet", users=file)
        assert lists_of(predictions).keys() == set(ODD_IDS)


def test_a_line_of_a_text_file_is_one_id(shop, tmp_path):
    ids = ["a\u2028b", "c\x85d", "e\x0cf"]
    predictions, _ = ranked(shop, tmp_path / "p.parquet", users=write_ids(tmp_path / "ids.txt", "user_id", ids))
    assert lists_of(predictions).keys() == set(ids)


def test_the_model_trained_last_ranks_unless_another_is_named(shop, tmp_path):
    train(shop.store.path, "popularity", CPU)
    assert ranked(shop, tmp_path / "p.parquet")[1]["model"] == "popularity"
    train(shop.store.path, "two-tower", CPU)
    assert ranked(shop, tmp_path / "p.parquet")[1]["model"] == "two-tower"
    assert ranked(shop, tmp_path / "p.parquet", kind="popularity")[1]["model"] == "popularity"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 0}, "k: expected 1 or more, found 0"),
        ({"users": "no-such-file"}, "--users no-such-file: expected test, all or a file of ids, found no such file"),
        ({"candidates": "no-such-file"}, "--candidates no-such-file: expected catalogue, train or a file of ids"),
        ({"kind": "svd"}, "model: expected one of popularity"),
    ],
)
def test_bad_settings_are_named_and_leave_no_file(settings, message, shop, tmp_path):
    with pytest.raises(InputError, match=message):
        ranked(shop, tmp_path / "p.parquet", **settings)
    assert list(tmp_path.iterdir()) == []


def test_files_of_ids_without_the_column_or_without_ids_are_named(shop, tmp_path):
    wrong = write_ids(tmp_path / "wrong.csv", "item_id", ["a"])
    with pytest.raises(InputError, match=r"--users .*wrong.csv: expected ids in a column user_id, found none"):
        ranked(shop, tmp_path / "p.parquet", users=wrong)
    blank = write_ids(tmp_path / "blank.txt", "user_id", [" ", ""])
    with pytest.raises(InputError, match=r"--users .*blank.txt: expected ids, found none"):
        ranked(shop, tmp_path / "p.parquet", users=blank)
    with pytest.raises(InputError, match=r"--candidates .*: expected ids of the catalogue, found none among 1"):
        ranked(shop, tmp_path / "p.parquet", candidates=write_ids(tmp_path / "odd.txt", "item_id", ["nothing"]))


def test_ids_are_as_good_as_a_file_of_them(shop, tmp_path):
    users, items = [*sorted(all_users(shop))[:7], "nobody", *sorted(all_users(shop))[:2]], shop.popular[:9]
    files = {
        "users": write_ids(tmp_path / "u.csv", "user_id", users),
        "candidates": write_ids(tmp_path / "i.csv", "item_id", items),
    }
    of_files, figures = ranked(shop, tmp_path / "p.parquet", **files)
    of_ids, figures_of_ids = ranked(shop, tmp_path / "q.parquet", users=users, candidates=items)
    assert_frame_equal(of_ids, of_files)
    assert figures_of_ids | {"rank_seconds": 0} == figures | {"rank_seconds": 0}
    assert (figures["users"], figures["unknown_users"], figures["items"]) == (8, 1, 9)


def test_no_ids_are_an_error(shop, tmp_path):
    with pytest.raises(InputError, match="--users: expected ids, found none"):
        ranked(shop, tmp_path / "p.parquet", users=[])


class TestFailure:
    @pytest.fixture(params=[RuntimeError, KeyboardInterrupt])
    def failure(self, request, monkeypatch):
        """The third block of users fails."""
        monkeypatch.setattr(rank_recipe, "USERS_AT_ONCE", 10)
        block, blocks = DotScorer.block, []

        def failing(self, users):
            blocks.append(users)
            if len(blocks) == 3:
                raise request.param("the power went out")
            return block(self, users)

        monkeypatch.setattr(DotScorer, "block", failing)
        return request.param

    def left(self, failure):
        """An interrupted ranking can go on: it leaves its parts. One that fails leaves nothing."""
        return {".p.parquet.parts"} if failure is KeyboardInterrupt else set()

    def test_a_failed_ranking_leaves_no_file(self, failure, shop, tmp_path):
        with pytest.raises(failure, match="the power went out"):
            ranked(shop, tmp_path / "p.parquet", kind="two-tower", users="all")
        assert {entry.name for entry in tmp_path.iterdir()} == self.left(failure)

    def test_a_failed_ranking_leaves_an_older_file_as_it_was(self, failure, shop, tmp_path):
        out = tmp_path / "p.parquet"
        ranked(shop, out, kind="popularity")
        before = out.read_bytes()
        with pytest.raises(failure):
            ranked(shop, out, kind="two-tower", users="all")
        assert out.read_bytes() == before
        assert {entry.name for entry in tmp_path.iterdir()} == {out.name} | self.left(failure)


@pytest.fixture
def own_store(tmp_path):
    """A small store of one's own to build again, with a two-tower trained on it."""
    folder = tmp_path / "shop"
    folder.mkdir()
    write_interactions(folder / "interactions.parquet", raw_rows()[:300])
    settings = BuildSettings(str(folder / "interactions.parquet"), text="none")
    store = build_features(settings, folder / "store")
    train(store.path, "popularity", CPU)
    return settings, store


def test_a_model_of_an_older_generation_is_refused(own_store, tmp_path):
    settings, store = own_store
    build_features(settings, store.path)
    message = (
        r"models/popularity: expected a model of generation 000002-.* of the store, found one of 000001-.*; "
        r"run recsys-polars train --model popularity again"
    )
    with pytest.raises(ArtefactError, match=message):
        rank(store.path, tmp_path / "p.parquet", RankSettings())
    assert not (tmp_path / "p.parquet").exists()


def test_predictions_of_an_older_generation_are_refused(own_store, tmp_path):
    settings, store = own_store
    rank(store.path, tmp_path / "p.parquet", RankSettings())
    build_features(settings, store.path)
    with pytest.raises(ArtefactError, match=r"p.parquet: expected .* generation 000002-.* found 000001-.*; rank again"):
        evaluate([tmp_path / "p.parquet"], store.path)


def test_predictions_of_another_store_are_refused(own_store, shop, tmp_path):
    _, store = own_store
    rank(store.path, tmp_path / "p.parquet", RankSettings())
    with pytest.raises(ArtefactError):
        evaluate([tmp_path / "p.parquet"], shop.store.path)


def test_a_store_without_a_model_says_what_to_run(own_store, tmp_path):
    _, store = own_store
    with pytest.raises(
        ArtefactError, match=r"two-tower: expected a trained model, found none; run recsys-polars train --model"
    ):
        rank(store.path, tmp_path / "p.parquet", RankSettings(kind="two-tower"))
    (store.models_folder / "CURRENT").unlink()
    with pytest.raises(
        ArtefactError, match="expected a trained model, found none; run recsys-polars train --model KIND first"
    ):
        rank(store.path, tmp_path / "p.parquet", RankSettings())


def test_no_test_part_is_an_error_that_says_so(own_store, tmp_path):
    settings, store = own_store
    build_features(replace(settings, test_fraction=0), store.path)
    train(store.path, "popularity", CPU)
    with pytest.raises(InputError, match="--users test: expected users in the test part, found none; use --users all"):
        rank(store.path, tmp_path / "p.parquet", RankSettings())
    rank(store.path, tmp_path / "p.parquet", RankSettings(users="all"))
    with pytest.raises(InputError, match="expected liked pairs in the test part to judge by, found none"):
        evaluate([tmp_path / "p.parquet"], store.path)


class TestEvaluate:
    @pytest.fixture
    def truth(self, shop):
        liked = shop.store.scan("labelled").filter((pl.col("part") == "test") & (pl.col("label") == 1)).collect()
        return {user: set(own["item_id"]) for (user,), own in liked.group_by("user_id")}

    def test_the_summary_counts_truth_and_cold_users(self, shop, truth, tmp_path):
        ranked(shop, tmp_path / "p.parquet")
        found = evaluate([tmp_path / "p.parquet"], shop.store.path)
        assert (found.truth_users, found.cold_users) == (len(truth), len(truth.keys() - shop.fans))
        assert found.cold_users > 0

    def test_a_truth_user_without_a_list_scores_zero(self, shop, truth, tmp_path):
        predictions, _ = ranked(shop, tmp_path / "p.parquet", users="all")
        kept = sorted(truth)[::2]
        few = predictions.filter(pl.col("user_id").is_in(kept))
        few.write_parquet(tmp_path / "few.parquet")
        found = evaluate([tmp_path / "few.parquet"], shop.store.path)
        hits = sum(len(truth[user] & set(items)) for user, items in lists_of(few).items())
        assert found.truth_users == len(truth)
        assert figure(found, "few", "precision") == pytest.approx(hits / 10 / len(truth))
        assert found.runs["few"]["users_without_list"] == len(truth) - len(kept)

    def test_warm_users_are_those_with_a_positive_before_the_cut(self, shop, truth, tmp_path):
        predictions, _ = ranked(shop, tmp_path / "p.parquet", kind="two-tower")
        found = evaluate([tmp_path / "p.parquet"], shop.store.path, users="warm")
        warm = truth.keys() & shop.fans
        assert (found.truth_users, found.cold_users) == (len(warm), 0)
        hits = sum(len(truth[user] & set(lists_of(predictions)[user])) for user in warm)
        assert figure(found, "two-tower", "precision") == pytest.approx(hits / 10 / len(warm))

    def test_a_shorter_k_judges_the_head_of_the_lists(self, shop, truth, tmp_path):
        predictions, _ = ranked(shop, tmp_path / "p.parquet", k=10)
        head, _ = ranked(shop, tmp_path / "q.parquet", k=3)
        assert_frame_equal(predictions.filter(pl.col("rank") <= 3), head)
        found = evaluate([tmp_path / "p.parquet", tmp_path / "q.parquet"], shop.store.path, k=3)
        assert set(found.differences["value"]) == {0.0}

    def test_every_file_has_a_name_of_its_own(self, shop, tmp_path):
        for name in ("p", "q"):
            ranked(shop, tmp_path / f"{name}.parquet", kind="popularity")
        found = evaluate([tmp_path / "p.parquet", tmp_path / "q.parquet", tmp_path / "q.parquet"], shop.store.path)
        assert list(found.runs) == ["p", "q", "q (2)"]
        assert set(found.figures["name"]) == set(found.runs)
        assert set(found.differences["name"]) == set(list(found.runs)[1:])

    def test_figures_of_the_run_come_along(self, shop, tmp_path):
        _, figures = ranked(shop, tmp_path / "p.parquet", kind="two-tower")
        run = evaluate([tmp_path / "p.parquet"], shop.store.path).runs["two-tower"]
        del figures["rank_seconds"]  # no two runs are alike in it, and their files are
        assert figures.items() <= run.items()

    def test_files_that_are_no_predictions_are_named(self, shop, tmp_path):
        with pytest.raises(InputError, match=r"none.parquet: expected predictions, found no such file"):
            evaluate([tmp_path / "none.parquet"], shop.store.path)
        (tmp_path / "text.parquet").write_text("not Parquet")
        with pytest.raises(InputError, match=r"text.parquet: expected a Parquet file of predictions"):
            evaluate([tmp_path / "text.parquet"], shop.store.path)
        pl.DataFrame({"user_id": ["u"], "item_id": ["i"]}).write_parquet(tmp_path / "short.parquet")
        with pytest.raises(TableError, match=r"short.parquet: .* found no rank, score"):
            evaluate([tmp_path / "short.parquet"], shop.store.path)


def figure(evaluation, name, metric):
    return evaluation.figures.filter((pl.col("name") == name) & (pl.col("metric") == metric))["value"].item()


class TestTrain:
    def test_the_manifest_says_how_the_rounds_were_chosen(self, own_store):
        _, store = own_store
        manifest = train(store.path, "two-tower", CPU)
        assert manifest["rounds"] == manifest["choice"]["rounds"]
        validation = [epoch["validation"] for epoch in manifest["choice"]["curve"]]
        assert manifest["rounds"] == 1 + int(np.argmax(validation))
        assert all("validation" not in epoch for epoch in manifest["training"]["curve"])

    def test_the_same_seed_trains_the_same_files(self, own_store):
        _, store = own_store
        first, again = (train(store.path, "two-tower", CPU)["files"] for _ in range(2))
        assert first == again

    def test_rounds_are_chosen_before_the_valid_cut_and_the_model_knows_all_before_the_test_cut(
        self, own_store, monkeypatch
    ):
        _, store = own_store
        asked = []
        fit = TwoTower.fit.__func__

        def spy(cls, known, settings, **choice):
            asked.append((len(known.user_rows), choice.get("validate") is not None))
            return fit(cls, known, settings, **choice)

        monkeypatch.setattr(TwoTower, "fit", classmethod(spy))
        train(store.path, "two-tower", CPU)
        rows = {cut: history_before(store, cut).collect().height for cut in ("valid", "test")}
        assert asked == [(rows["valid"], True), (rows["test"], False)]

    def test_a_failed_training_leaves_the_older_model(self, own_store, monkeypatch):
        _, store = own_store
        train(store.path, "two-tower", CPU)
        before = sorted((file, file.read_bytes()) for file in store.models_folder.rglob("*") if file.is_file())

        def failing(self, folder):
            (folder / "half").write_text("of it")
            raise OSError("no space left on device")

        monkeypatch.setattr(TwoTower, "save", failing)
        with pytest.raises(OSError, match="no space left"):
            train(store.path, "two-tower", CPU)
        after = sorted((file, file.read_bytes()) for file in store.models_folder.rglob("*") if file.is_file())
        assert after == before

    def test_without_a_valid_part_the_default_rounds_are_trained(self, own_store):
        settings, store = own_store
        build_features(replace(settings, valid_fraction=0), store.path)
        manifest = train(store.path, "two-tower", CPU)
        assert manifest["rounds"] == 20
        assert "no user of the valid part" in manifest["choice"]["why_no_choice"]

    def test_no_store_is_an_error_that_says_what_to_run(self, tmp_path):
        with pytest.raises(ArtefactError, match=r"nowhere: expected a feature store, found none; build one with"):
            train(tmp_path / "nowhere", "popularity", CPU)
        with pytest.raises(ArtefactError):
            open_store(tmp_path / "nowhere")


def test_only_an_mlp_of_many_users_is_ranked_approximately(shop, tmp_path):
    train(shop.store.path, "two-tower", CPU)
    with pytest.raises(InputError, match="expected an mlp, found two-tower"):
        ranked(shop, tmp_path / "p.parquet", kind="two-tower", approx=True)
    train(shop.store.path, "mlp", CPU)
    with pytest.raises(InputError, match="expected 3,584 users or more"):
        ranked(shop, tmp_path / "p.parquet", kind="mlp", approx=True)
    assert not (tmp_path / "p.parquet").exists()


def test_two_stages_order_the_best_of_one_model_by_another(shop, tmp_path):
    first, _ = ranked(shop, tmp_path / "first.parquet", kind="popularity", users="all", k=6)
    whole, _ = ranked(shop, tmp_path / "whole.parquet", kind="two-tower", users="all", k=50)
    both, figures = ranked(
        shop, tmp_path / "both.parquet", kind="two-tower", users="all", k=3, candidates_from="popularity:6"
    )
    assert figures["candidates_from"] == "popularity:6"
    is_warm = pl.col("user_id").is_in(list(shop.fans))
    expected = (
        whole.join(first, on=["user_id", "item_id"], how="semi")
        .sort("user_id", "rank")
        .with_columns(rank=pl.int_range(1, pl.len() + 1).over("user_id").cast(pl.UInt32))
        .filter((pl.col("rank") <= 3) & is_warm)
    )
    assert_frame_equal(both.filter(is_warm), expected)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"candidates_from": "two-tower"}, "expected MODEL:N"),
        ({"candidates_from": "nobody:10"}, "expected MODEL:N"),
        ({"candidates_from": "auto:10"}, "expected MODEL:N"),
        ({"candidates_from": "popularity:0"}, "expected MODEL:N"),
        ({"candidates_from": "popularity:³"}, "expected MODEL:N"),
        ({"candidates_from": "popularity:9"}, "expected at least -k 10 items, found 9"),
        ({"candidates_from": "popularity:20", "approx": True}, "expected one of them, found both"),
    ],
)
def test_stages_that_do_not_fit_are_refused(shop, tmp_path, asked, message):
    with pytest.raises(InputError, match=message):
        ranked(shop, tmp_path / "p.parquet", kind="two-tower", **asked)
    assert list(tmp_path.iterdir()) == []
