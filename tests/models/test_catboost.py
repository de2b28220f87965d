"""CatBoost's scores against its own predict, on rows that pandas builds from the store's tables; its memory bound."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pytest
from catboost import Pool

from recsys_polars.errors import InputError
from recsys_polars.examples import sampled_examples
from recsys_polars.knowledge import META_FEATURES, NOBODY, Knowledge
from recsys_polars.models import catboost, pair_features
from recsys_polars.models.protocol import FitSettings
from recsys_polars.recipes import history_before, knowledge_before
from recsys_polars.recipes.build import BuildSettings, build_features
from recsys_polars.recipes.embedded import embedded_files
from recsys_polars.store import Store
from tests.oracles.earlier import past_mean
from tests.oracles.user_means import user_means

CPU = FitSettings(device="cpu")
RECIPES = ("default", "notebook")
BLOCKS = ["tfidf", "clip_img"]


class World(NamedTuple):
    store: Store
    known: Knowledge
    items: pd.DataFrame  # all that the store says of an item, by item_id; each vector's places as columns
    means: dict[str, tuple[np.ndarray, int]]  # of the blocks of trees, by user_id
    likes: pd.Series  # of each item, by item_id


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """50 users, one of whom likes nothing, and 120 films, with brands, prices, image vectors, a country and an age."""
    folder = tmp_path_factory.mktemp("films")
    ratings, films = (pl.read_parquet(file) for file in embedded_files())
    popular = ratings["movieId"].value_counts().sort("count", "movieId", descending=True).head(120)["movieId"]
    ratings = ratings.filter(pl.col("movieId").is_in(popular.implode()) & (pl.col("userId") <= 50))
    grumpy = pl.when(pl.col("userId") == 7).then(1.0).otherwise("rating")
    films = films.filter(pl.col("movieId").is_in(popular.implode())).sort("movieId")
    chance = np.random.default_rng(3)
    n = films.height
    items = films.select(
        item_id=pl.col("movieId").cast(pl.String),
        title="title",
        category=pl.col("genres").str.split("|").list.first(),
        brand=pl.format("the {}s", pl.col("year") // 10 * 10),
        price=pl.Series(np.where(chance.random(n) < 0.3, np.nan, chance.integers(3, 30, n)), nan_to_null=True),
        age=pl.when(pl.col("movieId") % 7 > 0).then(2016.0 - pl.col("year")),
        country=pl.Series(chance.choice(["fr", "us", "日本", ""], n)).replace("", None),
    ).with_columns(pl.Series(f"clip_img_{place}", chance.normal(size=n)) for place in range(4))
    ratings = ratings.select("timestamp", user_id="userId", item_id="movieId", rating=grumpy)
    ratings.write_parquet(folder / "ratings.parquet")
    items.write_parquet(folder / "items.parquet")
    settings = BuildSettings(
        str(folder / "ratings.parquet"),
        str(folder / "items.parquet"),
        format="generic",
        split="user-time",
        item_features=("age", "country"),
    )
    store = build_features(settings, folder / "store")
    wide = in_pandas(store.scan("item_features").collect())
    history = pd.DataFrame(history_before(store, "test").collect().to_dict(as_series=False))
    vectors = wide[[name for name in wide.columns if name.startswith(tuple(f"{block}_" for block in BLOCKS))]]
    liked = history.query("label == 1")
    likes = liked["item_id"].value_counts().reindex(wide.index, fill_value=0)
    return World(store, knowledge_before(store, "test"), wide, user_means(liked, vectors), likes)


def in_pandas(features):
    arrays = {name: features[name].to_numpy() for name in features.columns if features.schema[name] == pl.Array}
    wide = pd.DataFrame(features.drop(arrays).to_dict(as_series=False)).set_index("item_id")
    blocks = [pd.DataFrame(matrix, wide.index).add_prefix(f"{name}_") for name, matrix in arrays.items()]
    return pd.concat([wide, *blocks], axis=1)


@pytest.fixture(scope="module")
def trained(world):
    return {recipe: fit(world, recipe=recipe) for recipe in RECIPES}


def fit(world, *, recipe, rounds=60, **settings):
    return catboost.CatBoost.fit(world.known, FitSettings(recipe, device="cpu", **settings), rounds=rounds)


def explicit_rows(world, user_id, recipe):
    """The features of one user with each item, as the docstring of CatBoost has them."""
    blocks = BLOCKS if recipe == "default" else ["tfidf"]
    of_blocks = [name for block in blocks for name in world.items.columns if name.startswith(f"{block}_")]
    rows = world.items[[*of_blocks, *META_FEATURES, "age", "price"]].astype("float32")
    if recipe == "default":
        mean, count = world.means.get(user_id, (np.zeros(len(of_blocks)), 0))
        user = pd.DataFrame([[count, *mean]] * len(rows), index=rows.index, dtype="float32")
        user.columns = ["user_count", *(f"user_{name}" for name in of_blocks)]
        rows = pd.concat([user, rows, popularity(world.likes).rename("popularity")], axis=1)
    categories = world.items[["brand", "category", "country"]]
    return pd.concat([rows, categories.astype("object").where(categories.notna(), "")], axis=1)


def popularity(likes):
    """How many times more liked than the average item, each with one like more; as a logarithm."""
    return np.log(len(likes) * (likes + 1) / (likes.sum() + len(likes))).astype("float32")


def features_used(model):
    importances = zip(model.trees.feature_names_, model.trees.feature_importances_, strict=True)
    return {name for name, importance in importances if importance > 0}


@pytest.mark.parametrize("recipe", RECIPES)
def test_scores_are_catboost_s_own_raw_values(recipe, world, trained):
    model, known = trained[recipe], world.known
    scorer = model.scorer(known, np.arange(known.n_users), device="cpu")
    assert (known.n_positives == 0).any(), "a user who likes nothing: zeros, and count 0"
    block = scorer.block(np.arange(known.n_users))
    fast = block.score(slice(0, known.n_items)).numpy()
    for row, user_id in enumerate(known.user_ids):
        rows = explicit_rows(world, user_id, recipe)
        assert model.trees.feature_names_ == rows.columns.to_list()
        pool = Pool(rows, cat_features=["brand", "category", "country"])
        wanted = model.trees.predict(pool, prediction_type="RawFormulaVal")
        found = scorer.exact(np.full(known.n_items, row), np.arange(known.n_items))
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
        assert (np.abs(fast[row] - wanted) <= block.bound[row].item() + 1e-5).all()


def part_of(feature):
    """What a feature of `explicit_rows` tells of."""
    if feature in {"user_count", "popularity"}:
        return feature.replace("_", " ")
    side, name = ("user", feature.removeprefix("user_")) if feature.startswith("user_") else ("item", feature)
    block = next((block for block in BLOCKS if name.startswith(f"{block}_")), None)
    return f"{side} {block or (name if name in {'brand', 'category', 'country'} else 'numbers')}"


@pytest.mark.parametrize("recipe", RECIPES)
def test_parts_add_up_to_catboost_s_own_raw_values_and_each_is_that_of_its_features(recipe, world, trained):
    model, items = trained[recipe], np.array([3, 100, 41])
    rows = explicit_rows(world, world.known.user_ids[5], recipe).iloc[items]
    pool = Pool(rows, cat_features=["brand", "category", "country"])
    parts = model.parts(world.known, 5, items)
    np.testing.assert_allclose(
        sum(parts.values()), model.trees.predict(pool, prediction_type="RawFormulaVal"), rtol=0, atol=1e-5
    )
    values = pd.DataFrame(model.trees.get_feature_importance(pool, type="ShapValues")[:, :-1], columns=rows.columns)
    wanted = values.T.groupby(part_of).sum().T
    assert set(parts) == {"base", *wanted.columns}
    for name in wanted.columns:
        np.testing.assert_allclose(parts[name], wanted[name], rtol=0, atol=1e-5, err_msg=name)


def test_the_trees_look_at_users_numbers_and_categories(trained):
    used = features_used(trained["default"])
    assert {"user_count", "popularity", "price", "age"} <= used
    assert {"brand", "category", "country"} & used
    assert any(name.startswith("user_tfidf") for name in used)
    assert any(name.startswith("clip_img") for name in used)


def test_the_notebook_s_trees_look_at_no_user_and_no_clip(trained):
    assert not [name for name in trained["notebook"].trees.feature_names_ if name.startswith(("user_", "clip_"))]


@pytest.fixture
def pools(monkeypatch):
    """(users, items, without, labels) of every pool that is trained on."""
    built = []
    original = pair_features.PairFeatures.training_pool

    def spy(self, examples, **options):
        built.append((examples.user_rows, examples.item_rows, examples.without, examples.labels))
        return original(self, examples, **options)

    monkeypatch.setattr(pair_features.PairFeatures, "training_pool", spy)
    return built


def test_as_of_rows_show_what_the_user_had_liked_strictly_earlier(world, monkeypatch):
    shown = []
    original = pair_features.PairFeatures._pool
    monkeypatch.setattr(
        pair_features.PairFeatures,
        "_pool",
        lambda self, numbers, *words, **named: shown.append(numbers) or original(self, numbers, *words, **named),
    )
    catboost.CatBoost.fit(world.known, FitSettings(device="cpu", history="as-of", negatives="popular"), rounds=1)
    rows = sampled_examples(world.known, n_negatives=4, seed=42, negatives="popular")
    columns = pair_features.vector_columns_of(world.known, BLOCKS)
    for row in np.random.default_rng(0).choice(len(rows), 60, replace=False):
        mean, count = past_mean(world.known, rows.user_rows[row], rows.times[row])
        wanted = [count, *np.array(mean)[columns]]
        np.testing.assert_allclose(shown[0][row, : len(wanted)], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("recipe", RECIPES)
def test_all_rows_are_trained_on_where_memory_allows_it(recipe, world, pools):
    model = fit(world, recipe=recipe, rounds=2)
    ((rows, *_),) = pools
    assert model.facts == {"rows": len(rows), "fraction_of_rows": 1.0}


@pytest.mark.parametrize("recipe", RECIPES)
def test_little_memory_samples_the_rows_and_says_the_fraction(recipe, world, pools):
    n_all = fit(world, recipe=recipe, rounds=2).facts["rows"]
    n_features = len(explicit_rows(world, "1", recipe).columns)
    memory_bytes = 400_000
    facts = fit(world, recipe=recipe, rounds=2, memory_bytes=memory_bytes).facts
    (all_users, all_items, all_without, _), (users, items, without, labels) = pools
    assert facts == {"rows": len(users), "fraction_of_rows": len(users) / n_all}
    assert 100 < len(users) < n_all
    assert len(users) * n_features * 4 <= memory_bytes
    assert set(labels) == {0, 1}
    rows = list(zip(users, items, without, strict=True))
    assert set(rows) <= set(zip(all_users, all_items, all_without, strict=True))


@pytest.mark.parametrize("recipe", RECIPES)
def test_memory_for_hardly_a_row_is_an_input_error(recipe, world):
    with pytest.raises(InputError, match="memory"):
        fit(world, recipe=recipe, rounds=2, memory_bytes=1000)


def test_a_sample_of_rows_is_the_same_for_a_seed(world, pools):
    for seed in (42, 42, 43):
        fit(world, recipe="notebook", rounds=2, memory_bytes=200_000, seed=seed)
    first, again, other = (pool[1].tolist() for pool in pools)
    assert first == again != other


def test_own_items_are_out_of_the_rows_that_train(world, pools):
    fit(world, recipe="default", rounds=2)
    ((users, items, without, labels),) = pools
    assert (without[labels == 1] == items[labels == 1]).all()
    liked = set(zip(users[labels == 1], items[labels == 1], strict=True))
    of_negatives = zip(users[labels == 0], without[labels == 0], strict=True)
    assert {pair for pair in of_negatives if pair[1] != NOBODY} <= liked


def test_validation_takes_the_first_trees_of_one_training(world, monkeypatch):
    monkeypatch.setattr(catboost, "CHOICES", (5, 10, 20, 90))
    asked = []

    def validate(model):
        asked.append(model)
        return {5: 0.1, 10: 0.3, 20: 0.3}[model.rounds]

    monkeypatch.setitem(catboost.DEFAULT, "iterations", 30)
    model = catboost.CatBoost.fit(world.known, CPU, validate=validate)
    assert [one.rounds for one in asked] == [5, 10, 20]
    assert model.rounds == model.trees.tree_count_ == 10, "the fewer among equals"
    assert model.facts["curve"] == [{"trees": n, "validation": v} for n, v in ((5, 0.1), (10, 0.3), (20, 0.3))]
    rows, items = np.zeros(20, dtype=int), np.arange(20)
    refit = catboost.CatBoost.fit(world.known, CPU, rounds=10)
    scores = [one.scorer(world.known, np.arange(1), device="cpu").exact(rows, items) for one in (model, refit)]
    np.testing.assert_allclose(*scores, rtol=0, atol=1e-12)
