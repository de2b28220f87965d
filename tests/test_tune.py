"""The search for parameters: the valid part alone judges, a stopped search goes on as if it had not been stopped."""

import importlib
from types import SimpleNamespace

import polars as pl
import pytest

from recsys_polars.errors import ArtefactError, InputError
from recsys_polars.guards import locked
from recsys_polars.models.protocol import FitSettings
from recsys_polars.recipes import train as training
from recsys_polars.recipes import tune as tuning
from recsys_polars.recipes.build import BuildSettings, build_features
from recsys_polars.recipes.tuned import (
    SPACES,
    Numbers,
    Trial,
    Tuned,
    read_tuned,
    tuned_path,
    with_parameters,
    write_tuned,
)
from recsys_polars.sealing import seal

CPU = FitSettings(device="cpu")


@pytest.fixture(scope="module")
def rows():
    place = pl.int_range(400, dtype=pl.Int64)
    user, item = (place * 7) % 23, (place * place) % 31
    columns = {"user_id": user.cast(pl.String), "item_id": item.cast(pl.String), "rating": 1.0 + (place * 3) % 5}
    return pl.select(**columns, timestamp=1_600_000_000 + 3600 * place)


@pytest.fixture
def store(rows, tmp_path):
    return build(rows, tmp_path)


def build(rows, folder, **settings):
    rows.write_parquet(folder / "events.parquet")
    return build_features(BuildSettings(str(folder / "events.parquet"), **settings), folder / "store")


@pytest.fixture
def judged(monkeypatch):
    """The settings of every trial; a high learning rate and few negatives are judged best."""
    seen = []

    def judge(store, cls, settings, progress):
        seen.append(settings)
        figure = settings.parameters.get("learning_rate", 1e-3) / (1 + settings.parameters.get("n_negatives", 4))
        return 3, {"rounds": 3, "users": 11, "curve": [{"validation": 0.0}, {"validation": figure}]}

    monkeypatch.setattr(tuning, "choose_rounds", judge)
    return seen


@pytest.mark.parametrize("kind", SPACES)
def test_a_search_is_the_same_for_a_seed_and_keeps_its_best_trial(kind, store, judged):
    first = tuning.tune(store.path, kind, CPU, n_trials=14)
    tuned_path(store, kind).unlink()
    assert tuning.tune(store.path, kind, CPU, n_trials=14) == first
    assert first.best.map == max(trial.map for trial in first.trials)
    assert (len(first.trials), first.trials[0].parameters, first.users) == (14, {}, 11)
    assert tuning.tune(store.path, kind, FitSettings(device="cpu", seed=1), n_trials=14).trials != first.trials


@pytest.mark.parametrize("kind", SPACES)
def test_a_killed_search_goes_on_as_if_it_had_not_been(kind, store, judged, monkeypatch):
    whole = tuning.tune(store.path, kind, CPU, n_trials=14)
    tuned_path(store, kind).unlink()
    judge = tuning.choose_rounds

    def killed(*arguments):
        if len(judged) == 14 + 12:
            raise KeyboardInterrupt
        return judge(*arguments)

    monkeypatch.setattr(tuning, "choose_rounds", killed)
    with pytest.raises(KeyboardInterrupt):
        tuning.tune(store.path, kind, CPU, n_trials=14)
    assert len(read_tuned(store, kind).trials) == 12
    monkeypatch.setattr(tuning, "choose_rounds", judge)
    assert tuning.tune(store.path, kind, CPU, n_trials=14) == whole
    assert len(judged) == 14 + 12 + 2


def test_a_search_that_has_its_trials_trains_nothing_more(store, judged):
    first = tuning.tune(store.path, "mlp", CPU, n_trials=3)
    assert tuning.tune(store.path, "mlp", CPU, n_trials=2) == first
    assert len(judged) == 3


def test_two_searches_do_not_write_over_each_other(store, judged):
    with locked(store.models_folder), pytest.raises(ArtefactError, match="another run is writing there"):
        tuning.tune(store.path, "mlp", CPU, n_trials=1)
    assert judged == []


def test_another_seed_or_another_generation_begins_anew(rows, store, judged, tmp_path):
    tuning.tune(store.path, "mlp", CPU, n_trials=3)
    tuning.tune(store.path, "mlp", FitSettings(device="cpu", seed=1), n_trials=2)
    assert len(judged) == 5
    rebuilt = build(rows, tmp_path, test_fraction=0.2)
    tuned = tuning.tune(store.path, "mlp", FitSettings(device="cpu", seed=1), n_trials=2)
    assert (len(judged), tuned.store) == (7, rebuilt.identity)


@pytest.mark.parametrize("kind", SPACES)
def test_every_trial_lies_in_the_space_and_can_be_trained(kind, store, judged):
    tuned = tuning.tune(store.path, kind, CPU, n_trials=25)
    for trial in tuned.trials[1:]:
        in_batch = trial.parameters.get("negatives") == "in-batch"
        assert set(trial.parameters) == set(SPACES[kind]) - ({"loss", "n_negatives"} if in_batch else set())
        assert all(value in SPACES[kind][name] for name, value in trial.parameters.items())
    kinds = {settings.negatives for settings in judged}
    assert kinds == set(SPACES[kind]["negatives"])
    assert all(settings.loss == "softmax" for settings in judged if settings.negatives == "in-batch")


def test_the_search_finds_more_than_chance_does(store, judged):
    tuned = tuning.tune(store.path, "catboost", CPU, n_trials=40)
    by_chance = max(trial.map for trial in tuned.trials[:10])
    assert tuned.best.map > by_chance
    assert tuned.best.map > 0.7 * 0.3 / 2  # the best there is: learning rate 0.3, one negative


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("two-tower", {"negatives": "in-batch", "learning_rate": 0.01}),
        ("catboost", {"depth": 4, "learning_rate": 0.2}),
    ],
)
def test_training_takes_up_what_was_found_and_says_so(kind, parameters, store):
    best = Trial({**parameters, "history": "as-of"}, 0.5, 2)
    tuned = Tuned(store.identity, 42, 7, (Trial({}, 0.25, 1), best), best)
    write_tuned(tuned_path(store, kind), tuned)
    assert read_tuned(store, kind) == tuned
    manifest = training.train(store.path, kind, CPU)
    assert manifest["tuned"] == {"trials": 2, "map": 0.5, "parameters": dict(best.parameters)}
    settings = manifest["settings"]
    assert (settings["history"], settings["parameters"]["learning_rate"]) == ("as-of", parameters["learning_rate"])
    assert settings["negatives"] == parameters.get("negatives", "uniform")
    overruled = training.train(store.path, kind, FitSettings(device="cpu", history="loo", negatives="popular"))
    assert (overruled["settings"]["history"], overruled["settings"]["negatives"]) == ("loo", "popular")
    assert overruled["settings"]["parameters"]["learning_rate"] == parameters["learning_rate"]


def test_tuned_parameters_change_the_model(store):
    untuned = training.train(store.path, "two-tower", CPU)
    best = Trial({"learning_rate": 0.01, "batch": 512}, 0.5, 2)
    write_tuned(tuned_path(store, "two-tower"), Tuned(store.identity, 42, 7, (best,), best))
    tuned = training.train(store.path, "two-tower", CPU)
    assert tuned["training"]["curve"] != untuned["training"]["curve"]
    tuned_path(store, "two-tower").unlink()
    assert training.train(store.path, "two-tower", CPU)["training"] == untuned["training"]


def test_what_was_found_on_another_build_is_left_out_and_that_is_said(rows, store, tmp_path):
    best = Trial({"learning_rate": 0.01}, 0.5, 2)
    write_tuned(tuned_path(store, "two-tower"), Tuned(store.identity, 42, 7, (best,), best))
    build(rows, tmp_path, test_fraction=0.2)
    manifest = training.train(store.path, "two-tower", CPU)
    assert manifest["tuned"] == {"left_out": f"tuned on generation {store.identity}"}
    assert manifest["settings"]["parameters"] == {}


def test_the_notebook_s_recipe_takes_nothing_up(store):
    best = Trial({"learning_rate": 0.01}, 0.5, 2)
    write_tuned(tuned_path(store, "two-tower"), Tuned(store.identity, 42, 7, (best,), best))
    manifest = training.train(store.path, "two-tower", FitSettings(device="cpu", recipe="notebook"))
    assert (manifest["tuned"], manifest["settings"]["parameters"]) == ({}, {})


def test_a_loss_that_is_asked_for_takes_the_negatives_that_went_with_another_away():
    found = {"negatives": "in-batch", "history": "as-of", "learning_rate": 0.01}
    settings = with_parameters(FitSettings(loss="bpr"), found)
    assert (settings.negatives, settings.loss, settings.history) == (None, "bpr", "as-of")
    assert settings.parameters == {"learning_rate": 0.01}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"format_version": 2}',
        '{"format_version": NaN}',
        '{"best": {"map": 0.5, "parameters": {}, "rounds": 1}, "format_version": 1}',
    ],
)
def test_a_damaged_file_is_an_error_that_names_it(text, store):
    path = tuned_path(store, "mlp")
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    says = r"mlp\.tuned\.json: expected what tune writes, found .*; remove it, and run recsys-polars tune --model mlp"
    with pytest.raises(ArtefactError, match=says):
        training.train(store.path, "mlp", CPU)
    with pytest.raises(ArtefactError, match=says):
        tuning.tune(store.path, "mlp", CPU, n_trials=1)


@pytest.mark.parametrize(
    "parameters",
    [
        {"learning_rate": "fast"},
        {"learning_rate": 7.0},
        {"n_negatives": 2.5},
        {"n_negatives": True},
        {"batch": 2047},
        {"momentum": 0.9},
        {"loss": "hinge"},
    ],
)
def test_parameters_that_are_not_searched_are_damage(parameters, store):
    path = tuned_path(store, "mlp")
    best = {"parameters": parameters, "map": 0.5, "rounds": 2}
    path.parent.mkdir(exist_ok=True)
    raw = {"format_version": 1, "store": store.identity, "seed": 42, "users": 7, "trials": [best], "best": best}
    path.write_text(seal(raw))
    with pytest.raises(ArtefactError, match=f"parameters outside of what is searched: {next(iter(parameters))}="):
        read_tuned(store, "mlp")


def test_popularity_has_nothing_to_tune(store):
    with pytest.raises(InputError, match="--model: expected one of catboost, mlp, two-tower, found popularity"):
        tuning.tune(store.path, "popularity", CPU, n_trials=1)


def test_without_optuna_one_line_says_what_to_install(store, monkeypatch):
    def none(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(tuning, "importlib", SimpleNamespace(import_module=none))
    with pytest.raises(InputError, match=r"expected optuna, found none; pip install 'recsys-polars\[tune\]'"):
        tuning.tune(store.path, "mlp", CPU, n_trials=1)


def test_a_store_without_a_valid_part_has_nothing_to_judge_by(rows, tmp_path):
    store = build(rows, tmp_path, valid_fraction=0)
    with pytest.raises(InputError, match="expected a valid part to rank"):
        tuning.tune(store.path, "two-tower", CPU, n_trials=1)
    assert not tuned_path(store, "two-tower").exists()


def test_the_test_part_plays_no_role_in_a_search(rows, tmp_path):
    test_begins = rows["timestamp"].sort()[int(399 * 0.9)]
    later = pl.when(pl.col("timestamp") >= test_begins)
    changed = rows.with_columns(rating=later.then(6 - pl.col("rating")).otherwise("rating"))
    trials = []
    for name, these in (("one", rows), ("other", changed)):
        (tmp_path / name).mkdir()
        trials.append(tuning.tune(build(these, tmp_path / name).path, "two-tower", CPU, n_trials=3).trials)
    assert trials[0] == trials[1]


def test_a_search_leaves_json_alone(store):
    tuning.tune(store.path, "two-tower", CPU, n_trials=2)
    assert sorted(path.name for path in store.models_folder.iterdir()) == [".lock", "two-tower.tuned.json"]
    manifest = training.train(store.path, "two-tower", CPU)
    tuned = read_tuned(store, "two-tower")
    chosen = max(epoch["validation"] for epoch in manifest["choice"]["curve"])
    assert (chosen, manifest["rounds"]) == (tuned.best.map, tuned.best.rounds)


def test_what_models_have_by_themselves_lies_in_the_space_that_is_searched():
    catboost = importlib.import_module("recsys_polars.models.catboost")
    own = {name: value for name, value in catboost.DEFAULT.items() if name in SPACES["catboost"]}
    assert set(own) == {"depth", "learning_rate", "l2_leaf_reg"}
    assert all(value in SPACES["catboost"][name] for name, value in own.items())
    networks = importlib.import_module("recsys_polars.models.training").Training(rounds=1, seed=0)
    for name in ("learning_rate", "n_negatives", "batch"):
        assert getattr(networks, name) in SPACES["mlp"][name]


@pytest.mark.parametrize("value", [0, 9, 1.5, "2", None, True, float("nan")])
def test_whole_numbers_from_one_to_eight_hold_no_such_thing(value):
    assert value not in Numbers(1, 8, whole=True)
