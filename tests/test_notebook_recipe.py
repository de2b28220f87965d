"""`--recipe notebook`, step by step, against the notebook's pandas (`tests/oracles/notebook.py`) on the same raw files.

Two shops: one whose items bring CLIP columns (Parquet), one with texts alone (CSV), where TF-IDF takes their place. The
notebook gets its vectors for those from the store, as it has no other definition of them.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pytest
from catboost import CatBoostClassifier, Pool

from recsys_polars.api.evaluate import evaluate
from recsys_polars.examples import observed_examples
from recsys_polars.knowledge import Knowledge, user_vectors, vector_columns_of
from recsys_polars.models import catboost
from recsys_polars.models.mlp import notebook_blocks
from recsys_polars.models.protocol import FitSettings
from recsys_polars.models.training import Training
from recsys_polars.recipes import history_before, knowledge_before
from recsys_polars.recipes.build import BuildSettings, build_features
from recsys_polars.recipes.rank import rank
from recsys_polars.recipes.sides import RankSettings
from recsys_polars.recipes.train import load_model, train
from recsys_polars.store import Store
from tests.oracles import notebook, time_split

K = 10
N_TREES = 40
KINDS = ("popularity", "catboost", "mlp")
WIDTH = 8


def raw_interactions():
    """3,000 events of 220 users. Pairs repeat, times tie; ten users like nothing, and ten others come after the cut."""
    rng = np.random.default_rng(7)
    users, items = rng.integers(0, 220, 3000), (100 * rng.beta(1, 3, 3000)).astype(int)
    ratings = np.where(users < 200, np.clip(rng.integers(1, 7, 3000), 1, 5), rng.integers(1, 3, 3000))
    late = users >= 210
    times = np.where(late, rng.integers(2450, 2500, 3000), rng.integers(0, 2500, 3000))
    return pd.DataFrame(
        {
            "user_id": [f"user {user:03d}" for user in users],
            "item_id": [f"B{item:03d}" for item in items],
            "rating": np.where(late, 5, ratings).astype(float),
            "timestamp": 1_600_000_000 + 600 * times,
        }
    )


def raw_items(*, with_clip):
    """110 items, ten of them never seen, each with up to 30 brands and 13 categories; some come twice."""
    rng = np.random.default_rng(8)
    words = np.array(["red", "blue", "tea", "cup", "Größe", "2 in 1", "No. 7", "box", "steel", "cotton", "日本"])

    def text(most):
        return " ".join(rng.choice(words, rng.integers(1, most)))

    items = pd.DataFrame(
        {
            "item_id": [f"B{item:03d}" for item in range(110)],
            "title": [None if item % 17 == 0 else text(6) for item in range(110)],
            "description": [None if item % 5 == 0 else text(30) for item in range(110)],
            "brand": [None if b == 0 else "Unknown" if b == 1 else f"brand {b:02d}" for b in rng.integers(0, 30, 110)],
            "category": [None if c == 0 else f"category {c:02d}" for c in rng.integers(0, 13, 110)],
            "price": np.where(rng.random(110) < 0.3, np.nan, rng.integers(100, 9000, 110) / 100),
        }
    )
    if with_clip:
        for block in ("clip_text", "clip_img"):
            columns = [f"{block}_{place}" for place in range(WIDTH)]
            items[columns] = rng.normal(size=(110, WIDTH)).astype(np.float32)
    return items


class Shop(NamedTuple):
    store: Store
    known: Knowledge
    interactions: pd.DataFrame  # with event_time
    train_df: pd.DataFrame  # the notebook's train rows: one per pair before the test cut, labelled
    truth: dict[str, set[str]]
    items: pd.DataFrame  # one row per item, sorted by item_id
    known_items: set[str]
    item_vectors: pd.DataFrame  # the notebook's, float64, by item_id


def open_shop(folder, *, with_clip):
    interactions, items = raw_interactions(), raw_items(with_clip=with_clip)
    repeated = pd.concat([items, items.iloc[10:20]])
    write = pd.DataFrame.to_parquet if with_clip else pd.DataFrame.to_csv
    files = [folder / f"{name}.{'parquet' if with_clip else 'csv'}" for name in ("interactions", "items")]
    for frame, file in zip((interactions, repeated), files, strict=True):
        write(frame, file, index=False)
    store = build_features(BuildSettings(str(files[0]), str(files[1]), format="generic"), folder / "store")
    known = knowledge_before(store, "test")

    interactions["event_time"] = pd.to_datetime(interactions["timestamp"], unit="s", utc=True)
    parts = time_split.split(interactions, split="global-time")
    liked = parts["test"][parts["test"]["label"] == 1]
    truth = {user: set(own["item_id"]) for user, own in liked.groupby("user_id")}
    known_items = set(parts["history"]["item_id"])
    numbers = notebook.scaled_numeric(notebook.item_table(items, known_items), known_items)
    vectors = items.set_index("item_id").filter(like="clip_") if with_clip else tfidf_of(known)
    item_vectors = pd.concat([vectors, numbers], axis=1)
    return Shop(store, known, interactions, parts["history"], truth, items, known_items, item_vectors)


def tfidf_of(known):
    tfidf = known.item_vectors[:, known.blocks["tfidf"]]
    names = [f"tfidf_{place}" for place in range(tfidf.shape[1])]
    return pd.DataFrame(tfidf, index=known.item_ids.to_list(), columns=names)


@pytest.fixture(scope="module", params=["clip", "text"])
def shop(request, tmp_path_factory):
    return open_shop(tmp_path_factory.mktemp(request.param), with_clip=request.param == "clip")


class Ranked(NamedTuple):
    manifest: dict
    figures: dict
    lists: dict[str, list[str]]
    scores: dict[str, list[float]]


@pytest.fixture(scope="module")
def ranked(shop):
    """Each model trained, ranked and read back."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(catboost.NOTEBOOK, "iterations", N_TREES)
        for kind in KINDS:
            manifest = train(shop.store.path, kind, FitSettings(recipe="notebook", device="cpu"))
            file = shop.store.path.parent / f"{kind}.parquet"
            figures = rank(shop.store.path, file, RankSettings(kind=kind, k=K, device="cpu"))
            predictions = pl.read_parquet(file).group_by("user_id", maintain_order=True).agg("item_id", "score")
            users, lists, scores = predictions
            found[kind] = Ranked(
                manifest, figures, dict(zip(users, lists.to_list(), strict=True)), dict(zip(users, scores, strict=True))
            )
    return found


def test_the_shops_have_what_the_notebook_stumbles_over(shop):
    train_users, fans = set(shop.train_df["user_id"]), set(shop.train_df.query("label == 1")["user_id"])
    assert shop.interactions.duplicated(["user_id", "item_id"]).any()
    assert train_users - fans, "users without a positive in train: their rows vanish from the pairs"
    assert set(shop.truth) - train_users, "cold truth users"
    assert len(shop.known_items) < len(shop.items), "items never seen before the cut"
    assert shop.items["price"].isna().any()


def test_labels_are_the_notebook_s(shop):
    ours = history_before(shop.store, "test").select("user_id", "item_id", "label").collect().sort("user_id", "item_id")
    wanted = notebook.label(shop.train_df)[["user_id", "item_id", "label"]]
    assert ours.rows() == list(wanted.itertuples(index=False, name=None))


def test_truth_is_what_was_liked_after_the_cut(shop):
    liked = shop.store.scan("labelled").filter((pl.col("part") == "test") & (pl.col("label") == 1)).collect()
    assert {user: set(own["item_id"]) for (user,), own in liked.group_by("user_id")} == shop.truth


def test_the_item_table_is_the_notebook_s(shop):
    wanted = notebook.item_table(shop.items, shop.known_items)
    ours = pd.DataFrame(shop.known.item_table.select(wanted.columns.to_list()).to_dict(as_series=False))
    ours[["brand", "category"]] = ours[["brand", "category"]].fillna("")
    pd.testing.assert_frame_equal(ours, wanted, check_dtype=False)


def test_the_numeric_block_is_the_notebook_s_scaled_numbers(shop):
    wanted = notebook.scaled_numeric(notebook.item_table(shop.items, shop.known_items), shop.known_items)
    ours = shop.known.item_vectors[:, shop.known.blocks["numeric"]]
    np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-6)


def columns_of(shop):
    return vector_columns_of(shop.known, notebook_blocks(tuple(shop.known.blocks)))


def test_item_vectors_are_the_notebook_s_blocks_side_by_side(shop):
    assert shop.known.item_ids.to_list() == shop.item_vectors.index.to_list()
    np.testing.assert_allclose(shop.known.item_vectors[:, columns_of(shop)], shop.item_vectors, rtol=0, atol=1e-6)


def test_user_vectors_are_the_means_of_what_was_liked(shop):
    wanted = notebook.user_vectors(shop.train_df, shop.item_vectors)
    stored = shop.store.scan("user_means").filter(pl.col("before") == "test").collect()
    assert stored["user_id"].to_list() == sorted(wanted)
    means = stored["mean"].to_numpy()[:, columns_of(shop)]
    np.testing.assert_allclose(means, [wanted[user] for user in stored["user_id"]], rtol=0, atol=1e-6)


def test_pairs_are_the_notebook_s_rows_and_the_same_users_drop_out(shop):
    vectors = notebook.user_vectors(shop.train_df, shop.item_vectors)
    X, y, kept = notebook.pairs(shop.train_df, vectors, shop.item_vectors)
    assert 0 < len(kept) < len(shop.train_df)

    examples = observed_examples(shop.known, warm_only=True)
    users, items = shop.known.user_ids.gather(examples.user_rows), shop.known.item_ids.gather(examples.item_rows)
    assert list(zip(users, items, strict=True)) == list(kept[["user_id", "item_id"]].itertuples(index=False, name=None))
    assert examples.labels.tolist() == y.tolist()
    columns = columns_of(shop)
    means, _ = user_vectors(shop.known, examples.user_rows, without=examples.without)
    ours = np.hstack([means[:, columns], shop.known.item_vectors[examples.item_rows][:, columns]])
    np.testing.assert_allclose(ours, X, rtol=0, atol=1e-6)


def test_the_manifest_says_what_the_recipe_did_and_rank_includes_seen(shop, ranked):
    assert {kind: one.manifest["settings"]["recipe"] for kind, one in ranked.items()} == dict.fromkeys(
        KINDS, "notebook"
    )
    assert {kind: one.manifest["rounds"] for kind, one in ranked.items()} == {
        "popularity": 0,
        "catboost": N_TREES,
        "mlp": 10,
    }
    assert not any(one.figures["exclude_seen"] for one in ranked.values())
    curve = ranked["mlp"].manifest["training"]["curve"]
    assert all(0 <= epoch["accuracy"] <= 1 for epoch in curve)
    assert len(curve) == 10


def test_the_recipe_trains_as_the_notebook_did():
    assert catboost.NOTEBOOK == {
        "iterations": 1000,
        "learning_rate": 0.1,
        "depth": 8,
        "l2_leaf_reg": 5,
        "bootstrap_type": "Bayesian",
        "eval_metric": "AUC",
    }
    training = Training.of(FitSettings(recipe="notebook"), rounds=None)
    assert (training.rounds, training.batch, training.learning_rate) == (10, 2048, 1e-3)
    assert (training.sampled, training.holdout) == (False, 0.1)


def test_popularity_shows_everyone_the_notebook_s_list(shop, ranked):
    wanted = notebook.popular(shop.train_df, K)
    assert set(shop.truth) <= ranked["popularity"].lists.keys()
    assert all(shown == wanted for shown in ranked["popularity"].lists.values())
    likes = shop.train_df.query("label == 1")["item_id"].value_counts()
    assert ranked["popularity"].scores[min(shop.truth)].to_list() == likes[wanted].to_list()


def notebook_network(shop):
    """The notebook's class, with the weights that we trained."""
    model, _ = load_model(shop.store, "mlp")
    network = notebook.MatchingMLP(input_dim=2 * shop.item_vectors.shape[1])
    network.model.load_state_dict(model.network.state_dict())
    return model, network


def test_mlp_logits_through_a_sigmoid_are_the_notebook_s_scores(shop, ranked):
    model, network = notebook_network(shop)
    vectors = notebook.user_vectors(shop.train_df, shop.item_vectors)
    users, n_items = sorted(vectors), len(shop.item_vectors)
    scorer = model.scorer(shop.known, shop.known.rows_of_users(pl.Series(users)), device="cpu")
    for place, user in enumerate(users):
        logits = scorer.exact(np.full(n_items, place), np.arange(n_items))
        wanted = notebook.mlp_scores(network, vectors[user], shop.item_vectors.values)
        np.testing.assert_allclose(1 / (1 + np.exp(-logits)), wanted, rtol=0, atol=1e-5)


def test_mlp_lists_are_the_notebook_s_but_for_near_ties(shop, ranked):
    _, network = notebook_network(shop)
    vectors = notebook.user_vectors(shop.train_df, shop.item_vectors)
    lists = notebook.rank_mlp(network, vectors, shop.item_vectors, ranked["mlp"].lists, K)
    assert set(shop.truth) & vectors.keys() <= lists.keys() < ranked["mlp"].lists.keys()
    clear = 0
    for user, wanted in lists.items():
        scores = pd.Series(
            notebook.mlp_scores(network, vectors[user], shop.item_vectors.values), index=shop.item_vectors.index
        )
        ours = ranked["mlp"].lists[user]
        np.testing.assert_allclose(scores[ours], scores[wanted], rtol=0, atol=1e-6)
        best = np.sort(scores)[::-1][: K + 1]
        if (best[:-1] - best[1:]).min() > 1e-6:
            clear += 1
            assert ours == wanted
    assert clear > len(lists) / 2


def catboost_frame(shop):
    """The notebook's item frame: TF-IDF, the six meta features, price, brand and category; and which are which."""
    tfidf = tfidf_of(shop.known)
    table = notebook.item_table(shop.items, shop.known_items).astype({"price": np.float32})
    frame = pd.concat([table, tfidf.reset_index(drop=True)], axis=1)
    return frame, [*tfidf.columns, *notebook.META_FEATURES, "price", "brand", "category"], ["brand", "category"]


def test_catboost_lists_are_the_notebook_s_with_the_trees_that_we_trained(shop, ranked):
    model, _ = load_model(shop.store, "catboost")
    frame, features, categories = catboost_frame(shop)
    fans = set(shop.train_df.query("label == 1")["user_id"])
    users = [user for user in ranked["catboost"].lists if user in fans]
    lists = notebook.rank_catboost(model.trees, frame, features, categories, users, K)
    chances = model.trees.predict_proba(Pool(frame[features], cat_features=categories))[:, 1]
    chance = pd.Series(chances, index=frame["item_id"])
    for user, wanted in lists.items():
        np.testing.assert_allclose(chance[ranked["catboost"].lists[user]], chance[wanted], rtol=0, atol=1e-6)
    assert len({tuple(ranked["catboost"].lists[user]) for user in users}) == 1


def test_catboost_learns_the_trees_that_the_notebook_would(shop, ranked):
    model, _ = load_model(shop.store, "catboost")
    frame, features, categories = catboost_frame(shop)
    rows = frame.set_index("item_id").loc[shop.train_df["item_id"], features]
    pool = Pool(rows, label=shop.train_df["label"], cat_features=categories)
    parameters = {**catboost.NOTEBOOK, "iterations": N_TREES, "random_seed": 42, "task_type": "CPU"}
    theirs = CatBoostClassifier(**parameters, verbose=False, allow_writing_files=False).fit(pool)
    all_items = Pool(frame[features], cat_features=categories)
    ours, wanted = (one.predict(all_items, prediction_type="RawFormulaVal") for one in (model.trees, theirs))
    np.testing.assert_allclose(ours, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_precision_and_map_are_the_notebook_s_where_every_truth_user_has_a_list(shop, ranked, kind):
    assert shop.truth.keys() <= ranked[kind].lists.keys()
    judged = evaluate([shop.store.path.parent / f"{kind}.parquet"], shop.store.path, k=K)
    assert judged.truth_users == len(shop.truth)
    assert figure(judged, "precision") == pytest.approx(notebook.precision_at_k(ranked[kind].lists, shop.truth, K))
    assert figure(judged, "ap") == pytest.approx(notebook.map_at_k(ranked[kind].lists, shop.truth, K))
    assert figure(judged, "ap") > 0


def test_the_notebook_s_figures_of_its_mlp_are_ours_of_warm_users(shop, ranked):
    _, network = notebook_network(shop)
    vectors = notebook.user_vectors(shop.train_df, shop.item_vectors)
    lists = notebook.rank_mlp(network, vectors, shop.item_vectors, shop.truth, K)
    warm = evaluate([shop.store.path.parent / "mlp.parquet"], shop.store.path, k=K, users="warm")
    assert warm.truth_users == len(lists) < len(shop.truth)
    assert figure(warm, "precision") == pytest.approx(notebook.precision_at_k(lists, shop.truth, K))
    assert figure(warm, "ap") == pytest.approx(notebook.map_at_k(lists, shop.truth, K))


def figure(evaluation, metric):
    return evaluation.figures.filter(pl.col("metric") == metric)["value"].item()
