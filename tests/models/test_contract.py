"""What every model keeps, whatever its kind: see `recsys_polars.models.protocol.Model`."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from recsys_polars.errors import InputError
from recsys_polars.models import KINDS, catboost, model_class
from recsys_polars.models.protocol import FitSettings
from recsys_polars.ranking import SparseRows, rank_blocks
from recsys_polars.recipes import knowledge_before
from recsys_polars.recipes.build import BuildSettings, build_features

CPU = FitSettings(device="cpu")
RECIPES = ("default", "notebook")
OWN = "examples.pure_svd:PureSvd"
"""One that is no part of the package."""
TRAINED = tuple(kind for kind in KINDS if kind != "popularity")
"""The kinds that have something to train, on some device."""

every_kind = pytest.mark.parametrize("kind", [*KINDS, OWN])
every_trained_kind = pytest.mark.parametrize("kind", TRAINED)
every_recipe = pytest.mark.parametrize("recipe", RECIPES)


@pytest.fixture(scope="module", autouse=True)
def few_trees():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(catboost.DEFAULT, "iterations", 12)
        patch.setitem(catboost.NOTEBOOK, "iterations", 12)
        patch.setattr(catboost, "CHOICES", (3, 6, 12))
        yield


def build(folder, rows, items=None, **settings):
    """A store of (user_id, item_id, rating) rows, one second apart."""
    table = pl.DataFrame(rows, schema=["user_id", "item_id", "rating"], orient="row")
    table.with_columns(timestamp=1_600_000_000 + pl.int_range(pl.len())).write_parquet(folder / "interactions.parquet")
    if items is not None:
        items.write_parquet(folder / "items.parquet")
    paths = [str(folder / name) for name in ("interactions.parquet", "items.parquet")]
    return build_features(
        BuildSettings(paths[0], paths[1] if items is not None else None, **settings), folder / "store"
    )


def known_of(folder, rows):
    """All of the rows as history."""
    return knowledge_before(build(folder, rows, test_fraction=0, valid_fraction=0), "test")


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """Before the valid cut: 24 users and 30 items, a user who likes nothing, and one who comes later."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, 22, 400), rng.integers(0, 30, 400)
    likes = (users + items) % 3 == 0
    ratings = np.where(likes ^ (rng.random(400) < 0.1), 5, 2)
    rows = [(f"u{u:02d}", f"i{i:02d}", float(r)) for u, i, r in zip(users, items, ratings, strict=True)]
    rows = [("u22", "i00", 1.0), *rows, ("u23", "i01", 5.0)]
    catalogue = pl.DataFrame(
        {
            "item_id": [f"i{item:02d}" for item in range(30)],
            "title": [f"Thing {'of wood' * (item % 3 == 0)} {item % 5}" for item in range(30)],
            "brand": [f"brand {item % 3}" for item in range(30)],
            "category": [None if item % 4 == 0 else f"category {item % 4}" for item in range(30)],
            "price": [None if item % 5 == 0 else 1.5 + item % 3 for item in range(30)],
        }
    )
    return knowledge_before(build(tmp_path_factory.mktemp("store"), rows, catalogue), "valid")


def pairs(n_users, n_items):
    return np.divmod(np.arange(n_users * n_items), n_items)


def all_scores(model, known, users=None):
    users = np.arange(known.n_users) if users is None else users
    scorer = model.scorer(known, users, device="cpu")
    return scorer.exact(*pairs(len(users), known.n_items)).reshape(len(users), known.n_items)


def lists(model, known):
    users = np.arange(known.n_users)
    blocks = rank_blocks(model.scorer(known, users, device="cpu"), users, seen=SparseRows(*known.seen(users)))
    return [(block.users.tolist(), block.items.tolist(), block.scores.tolist()) for block in blocks]


def likes_told_apart(known):
    """A validate callback: how much higher liked pairs are scored than disliked ones."""

    def validate(model):
        scores = all_scores(model, known)[known.user_rows, known.item_rows]
        return float(scores[known.labels == 1].mean() - scores[known.labels == 0].mean())

    return validate


@pytest.fixture(scope="module")
def fitted(known):
    """One model of each kind and recipe, its rounds chosen by validation."""
    models = {}

    def fit(kind, recipe):
        if (kind, recipe) not in models:
            settings = replace(CPU, recipe=recipe)
            models[kind, recipe] = model_class(kind).fit(known, settings, validate=likes_told_apart(known))
        return models[kind, recipe]

    return fit


@every_recipe
@every_kind
def test_the_same_seed_gives_the_same_scores_to_the_bit(kind, recipe, known, fitted):
    torch.manual_seed(99)
    again = model_class(kind).fit(known, replace(CPU, recipe=recipe), validate=likes_told_apart(known))
    assert again.rounds == fitted(kind, recipe).rounds
    np.testing.assert_array_equal(all_scores(again, known), all_scores(fitted(kind, recipe), known))


@every_trained_kind
def test_another_seed_gives_other_scores(kind, known, fitted):
    other = model_class(kind).fit(known, replace(CPU, seed=1), rounds=fitted(kind, "default").rounds)
    assert (all_scores(other, known) != all_scores(fitted(kind, "default"), known)).any()


@every_recipe
@every_kind
def test_a_loaded_model_scores_and_ranks_as_the_saved_one(kind, recipe, known, fitted, tmp_path):
    fitted(kind, recipe).save(tmp_path)
    loaded = model_class(kind).load(tmp_path)
    np.testing.assert_array_equal(all_scores(loaded, known), all_scores(fitted(kind, recipe), known))
    assert lists(loaded, known) == lists(fitted(kind, recipe), known)


@every_recipe
@every_kind
def test_saved_files_are_safetensors_cbm_or_json(kind, recipe, fitted, tmp_path):
    fitted(kind, recipe).save(tmp_path)
    assert {file.suffix for file in tmp_path.iterdir()} <= {".safetensors", ".cbm", ".json"}


@every_recipe
@every_kind
def test_a_pair_has_one_finite_score_whatever_its_batch(kind, recipe, known, fitted):
    scorer = fitted(kind, recipe).scorer(known, np.arange(known.n_users), device="cpu")
    users, items = pairs(known.n_users, known.n_items)
    together = scorer.exact(users, items)
    assert np.isfinite(together).all()
    assert together.dtype == np.float64
    shuffled = np.random.default_rng(0).permutation(len(users))
    np.testing.assert_array_equal(scorer.exact(users[shuffled], items[shuffled]), together[shuffled])
    alone = np.concatenate([scorer.exact(users[j : j + 1], items[j : j + 1]) for j in range(0, len(users), 37)])
    np.testing.assert_array_equal(alone, together[::37])


@every_kind
def test_user_j_of_a_scorer_is_the_jth_user_that_was_asked_for(kind, known, fitted):
    model = fitted(kind, "default")
    asked = np.array([5, 0, 23, 5, 11])
    scorer = model.scorer(known, asked, device="cpu")
    assert (scorer.n_users, scorer.n_items) == (5, known.n_items)
    np.testing.assert_array_equal(all_scores(model, known, asked), all_scores(model, known)[asked])


@every_recipe
@every_kind
def test_a_scorer_says_whether_all_users_have_the_same_scores(kind, recipe, known, fitted):
    model = fitted(kind, recipe)
    scores = all_scores(model, known)
    assert model.scorer(known, np.arange(3), device="cpu").user_invariant == bool((scores == scores[0]).all())
    assert bool((scores == scores[0]).all()) == (kind == "popularity" or (kind, recipe) == ("catboost", "notebook"))


@every_recipe
@pytest.mark.parametrize("kind", KINDS)
def test_the_parts_of_a_score_add_up_to_it(kind, recipe, known, fitted):
    model, items = fitted(kind, recipe), np.array([7, 0, 29, 7])
    scores = all_scores(model, known)
    for user in (0, 5, 22):  # the last likes nothing
        parts = model.parts(known, user, items)
        assert {part.shape for part in parts.values()} == {(4,)}
        np.testing.assert_allclose(sum(parts.values()), scores[user, items], rtol=0, atol=1e-6)


@every_recipe
@every_kind
def test_no_users_are_a_scorer_too(kind, recipe, known, fitted):
    scorer = fitted(kind, recipe).scorer(known, np.array([], dtype=np.int64), device="cpu")
    assert scorer.n_users == 0
    assert list(rank_blocks(scorer, np.array([], dtype=np.int64))) == []


@every_recipe
@every_trained_kind
def test_a_model_trains_the_rounds_that_it_is_told_to(kind, recipe, known):
    assert model_class(kind).fit(known, replace(CPU, recipe=recipe), rounds=4).rounds == 4


@every_trained_kind
def test_a_training_that_is_told_of_is_the_same_and_is_told_of_to_its_end(kind, known):
    heard = []
    silent, told = (
        model_class(kind).fit(known, CPU, rounds=3, told=told) for told in (None, lambda *news: heard.append(news))
    )
    np.testing.assert_array_equal(all_scores(told, known), all_scores(silent, known))
    done, totals, units = zip(*heard, strict=True)
    assert list(done) == sorted(done)
    assert (done[-1], len(set(totals)), len(set(units))) == (totals[0], 1, 1)
    assert units[0] == ("trees" if kind == "catboost" else "rows")


def test_popularity_has_no_rounds(known):
    model = model_class("popularity").fit(known, CPU, rounds=4)
    assert (model.rounds, model.validates) == (0, False)


@every_trained_kind
def test_the_rounds_that_validate_best_are_kept_and_a_refit_repeats_them(kind, known, fitted):
    best = fitted(kind, "default")
    validation = {one.get("trees", number): one["validation"] for number, one in enumerate(best.facts["curve"], 1)}
    assert validation[best.rounds] == max(validation.values())
    assert likes_told_apart(known)(best) == pytest.approx(max(validation.values()), abs=1e-9)
    refit = model_class(kind).fit(known, CPU, rounds=best.rounds)
    np.testing.assert_allclose(all_scores(refit, known), all_scores(best, known), rtol=0, atol=1e-9)


@every_kind
def test_users_without_a_positive_have_one_and_the_same_finite_score_for_an_item(kind, known, fitted):
    cold = np.flatnonzero(known.n_positives == 0)
    assert known.user_ids.gather(cold).to_list() == ["u22", "u23"]
    scores = all_scores(fitted(kind, "default"), known, cold)
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(scores[0], scores[1])


@every_recipe
@every_kind
def test_one_user_with_a_positive_is_enough(kind, recipe, tmp_path):
    known = known_of(tmp_path, [("u1", "a", 5), ("u2", "b", 1), ("u2", "c", 1), ("u3", "a", 2)])
    model = model_class(kind).fit(known, replace(CPU, recipe=recipe), rounds=2)
    assert np.isfinite(all_scores(model, known)).all()


@every_recipe
@every_kind
def test_one_item_is_enough(kind, recipe, tmp_path):
    known = known_of(tmp_path, [("u1", "a", 5), ("u2", "a", 1), ("u3", "a", 4)])
    model = model_class(kind).fit(known, replace(CPU, recipe=recipe), rounds=2)
    assert np.isfinite(all_scores(model, known)).all()


@every_recipe
@pytest.mark.parametrize("kind", ["popularity", "mlp", "two-tower"])
def test_one_user_and_one_item_are_enough(kind, recipe, tmp_path):
    known = known_of(tmp_path, [("u1", "a", 5)])
    model = model_class(kind).fit(known, replace(CPU, recipe=recipe), rounds=2)
    assert np.isfinite(all_scores(model, known)).all()


@every_recipe
def test_catboost_says_that_likes_alone_teach_it_nothing(recipe, tmp_path):
    known = known_of(tmp_path, [("u1", "a", 5)])
    with pytest.raises(
        InputError, match="liked and disliked pairs to learn from before the cut, found 1 liked and 0 disliked"
    ):
        model_class("catboost").fit(known, replace(CPU, recipe=recipe))


@pytest.mark.parametrize("kind", KINDS)
@every_recipe
def test_an_item_without_a_vector_of_its_own_spoils_no_score(kind, recipe, tmp_path):
    clip = pl.DataFrame({"item_id": ["a", "b"], "clip_text_0": [1.0, 2.0], "clip_text_1": [0.5, 0.25]})
    rows = [("u1", "a", 5.0), ("u2", "b", 1.0), ("u2", "only in the log", 5.0), ("u3", "a", 2.0)]
    known = knowledge_before(build(tmp_path, rows, clip, test_fraction=0, valid_fraction=0), "test")
    model = model_class(kind).fit(known, replace(CPU, recipe=recipe), rounds=2)
    assert np.isfinite(all_scores(model, known)).all()


@every_recipe
@every_trained_kind
def test_nothing_known_before_the_cut_is_an_input_error(kind, recipe, known):
    nobody = replace(
        known,
        user_rows=known.user_rows[:0],
        item_rows=known.item_rows[:0],
        labels=known.labels[:0],
        times=known.times[:0],
        offsets=known.offsets * 0,
        means=known.means[:0],
        mean_rows=np.full(known.n_users, -1),
        n_positives=known.n_positives * 0,
    )
    with pytest.raises(InputError, match="before the cut"):
        model_class(kind).fit(nobody, replace(CPU, recipe=recipe))


@every_trained_kind
def test_a_store_without_a_block_of_the_model_is_an_error_that_names_it(kind, known, fitted):
    start = known.blocks["tfidf"].stop
    without = replace(known, blocks={"numeric": slice(0, 6)}, item_vectors=known.item_vectors[:, start:])
    with pytest.raises(InputError, match="vector blocks: expected tfidf, found numeric"):
        fitted(kind, "default").scorer(without, np.arange(2), device="cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@every_trained_kind
def test_cuda_without_a_gpu_is_an_input_error_in_training_and_in_ranking(kind, known, fitted):
    with pytest.raises(InputError, match="--device cuda: expected a CUDA device, found none"):
        model_class(kind).fit(known, FitSettings(device="cuda"))
    with pytest.raises(InputError, match="--device cuda: expected a CUDA device, found none"):
        fitted(kind, "default").scorer(known, np.arange(2), device="cuda")


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_knows_its_kind(kind):
    assert model_class(kind).kind == kind


def test_an_unknown_kind_is_an_error_that_lists_the_known_ones():
    with pytest.raises(
        InputError, match="model: expected one of popularity, catboost, mlp, two-tower, auto, or MODULE:CLASS"
    ):
        model_class("svd")


def test_naming_the_kinds_imports_neither_catboost_nor_torch():
    program = (
        "import sys; from recsys_polars.models import KINDS; print({'torch', 'catboost'} & set(sys.modules), *KINDS)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["set()", *KINDS]
