"""A trained CatBoost model, its trees taken apart by side, scores as CatBoost itself does."""

import copy

import catboost
import numpy as np
import pytest

from recsys_polars.errors import ArtefactError
from recsys_polars.models.catboost_trees import export_json, leaf_bits, split_trees
from recsys_polars.ranking import TreeScorer, rank_blocks

SIDES = ("user", "user", "item", "item", "item", "item")
CATEGORICAL = (3, 5)  # "brand", by CTRs, and "sold" with two values, one-hot
NAMES = ["mean_price", "mean_rating", "price", "brand", "rating", "sold"]


def rows(users, items):
    return [[*map(float, u), float(p), str(b), float(r), str(s)] for u, (p, b, r, s) in zip(users, items, strict=True)]


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(0)
    users = rng.normal(size=(12, 2))
    brands, sold = rng.integers(0, 15, 90), rng.integers(0, 2, 90)
    items = list(zip(rng.normal(size=90), brands, rng.normal(size=90), sold, strict=True))
    u, i = rng.integers(0, 12, 3000), rng.integers(0, 90, 3000)
    prices = np.array([item[0] for item in items])
    target = users[u, 0] * prices[i] + (brands[i] % 3 == 0) + 0.3 * sold[i] > 0.4
    model = catboost.CatBoostClassifier(
        iterations=60,
        depth=5,
        max_ctr_complexity=1,
        one_hot_max_size=2,
        thread_count=2,
        random_seed=0,
        verbose=0,
        allow_writing_files=False,
    )
    table = rows(users[u], [items[b] for b in i])
    model.fit(catboost.Pool(table, target.astype(int), cat_features=CATEGORICAL, feature_names=NAMES))
    return model, users, items


def pool(users, items):
    return catboost.Pool(rows(users, items), cat_features=CATEGORICAL, feature_names=NAMES)


@pytest.fixture(scope="module")
def exported(world):
    return export_json(world[0])


@pytest.fixture(scope="module")
def scorer(world, exported):
    model, users, items = world
    trees = split_trees(exported, SIDES)
    item_bits = leaf_bits(model, pool(np.zeros((len(items), 2)), items), trees.item_mask)

    def user_bits(asked):
        return leaf_bits(model, pool(users[asked], [items[0]] * len(asked)), trees.user_mask)

    return TreeScorer(user_bits, item_bits, trees.leaf_values, n_users=len(users), scale=trees.scale, bias=trees.bias)


def predict(world):
    model, users, items = world
    u, i = np.divmod(np.arange(len(users) * len(items)), len(items))
    raw = model.predict(pool(users[u], [items[j] for j in i]), prediction_type="RawFormulaVal")
    return raw.reshape(len(users), len(items))


def test_the_model_uses_splits_of_every_kind(exported):
    kinds = {split["split_type"] for tree in exported["oblivious_trees"] for split in tree["splits"]}
    assert kinds == {"FloatFeature", "OneHotFeature", "OnlineCtr"}
    trees = split_trees(exported, SIDES)
    assert not trees.user_invariant
    assert not (trees.user_mask & trees.item_mask).any()
    assert [int(u | i) + 1 for u, i in zip(trees.user_mask, trees.item_mask, strict=True)] == list(
        map(len, trees.leaf_values)
    )


def test_scores_from_bits_equal_catboost_s_own_predict(world, scorer):
    wanted = predict(world)
    users, items = np.divmod(np.arange(wanted.size), wanted.shape[1])
    found = scorer.exact(users, items).reshape(wanted.shape)
    assert np.abs(found - wanted).max() <= 1e-12 * np.abs(wanted).max()
    block = scorer.block(np.arange(len(wanted)))
    fast = block.score(slice(0, scorer.n_items)).numpy()
    assert (np.abs(fast - wanted) <= block.bound.numpy()[:, None] + 1e-6 * np.abs(wanted).max()).all()


def test_lists_from_bits_equal_a_sort_of_catboost_s_predict(world, scorer):
    wanted = predict(world)
    (block,) = rank_blocks(scorer, np.arange(len(wanted)), k=10)
    for user, scores in enumerate(wanted):
        stored = scorer.exact(np.full(len(scores), user), np.arange(len(scores))).astype(np.float32)
        assert block.items[block.users == user].tolist() == np.lexsort((np.arange(len(scores)), -stored))[:10].tolist()


def test_a_tree_without_splits_has_one_leaf(exported):
    exported = copy.deepcopy(exported)
    exported["oblivious_trees"] = [{"splits": None, "leaf_values": [0.25]}]
    trees = split_trees(exported, SIDES)
    assert trees.user_invariant
    assert trees.item_mask.tolist() == [0]
    scorer = TreeScorer(None, np.zeros((3, 1), np.uint32), trees.leaf_values, n_users=1, bias=1.0)
    assert scorer.exact(np.zeros(3, int), np.arange(3)).tolist() == [1.25, 1.25, 1.25]


def test_a_model_without_user_splits_is_user_invariant(exported):
    assert split_trees(exported, ("item",) * 6).user_invariant


def test_a_split_on_a_pair_feature_is_an_error_that_names_it(exported):
    with pytest.raises(ArtefactError, match=r"feature mean_price: .* found one of the pair: .* without mean_price"):
        split_trees(exported, ("pair", *SIDES[1:]))


def test_a_ctr_of_both_sides_is_an_error_that_names_its_features(exported):
    exported = copy.deepcopy(exported)
    mixed = {"float_feature_index": 0, "border": 0.5, "combination_element": "float_feature"}
    for ctr in exported["features_info"]["ctrs"]:
        ctr["elements"].append(mixed)
    with pytest.raises(ArtefactError, match=r"CTR of brand, mean_price: .* found both: .* max_ctr_complexity=1"):
        split_trees(exported, SIDES)


def test_a_ctr_of_two_item_features_is_the_item_s(exported):
    changed = copy.deepcopy(exported)
    for ctr in changed["features_info"]["ctrs"]:
        ctr["elements"].append({"cat_feature_index": 1, "combination_element": "cat_feature_value"})
    assert split_trees(changed, SIDES).item_mask.tolist() == split_trees(exported, SIDES).item_mask.tolist()


@pytest.mark.parametrize("grow_policy", ["Depthwise", "Lossguide"])
def test_trees_that_are_not_symmetric_are_an_error(grow_policy):
    model = catboost.CatBoostRegressor(iterations=2, grow_policy=grow_policy, verbose=0, allow_writing_files=False)
    model.fit(np.arange(40.0).reshape(20, 2), np.arange(20.0))
    with pytest.raises(ArtefactError, match="expected symmetric trees, found another grow_policy"):
        split_trees(export_json(model), ("user", "item"))


def test_several_values_a_leaf_and_a_missing_side_are_errors(exported):
    with pytest.raises(ArtefactError, match="expected one score per row, found 2"):
        split_trees({**exported, "scale_and_bias": [1, [0, 0]]}, SIDES)
    with pytest.raises(ArtefactError, match="expected a side for each of 6 features, found 5"):
        split_trees(exported, SIDES[:5])
