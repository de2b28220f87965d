"""`tune`: a search for the parameters that rank the valid part best; `train` takes them up."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from recsys_polars.errors import InputError
from recsys_polars.guards import locked
from recsys_polars.models import model_class
from recsys_polars.models.options import settle
from recsys_polars.models.protocol import FitSettings
from recsys_polars.recipes import Progress, silent
from recsys_polars.recipes.train import choose_rounds
from recsys_polars.recipes.tuned import (
    SPACES,
    Numbers,
    Space,
    Trial,
    Tuned,
    read_tuned,
    tuned_path,
    with_parameters,
    write_tuned,
)
from recsys_polars.store import Store, open_store


def tune(path: Path, kind: str, settings: FitSettings, *, n_trials: int, progress: Progress = silent) -> Tuned:
    """Search the parameters of a kind of model by its MAP@10 on the valid part; write the search after each trial.

    The first trial has the model's own parameters, the others are proposed by a tree-structured Parzen estimator. A
    trial depends on the seed and on the trials before it alone, so that a search that was stopped goes on as if it had
    not been. One of another seed or of another generation of the store is begun anew.

    Args:
        path: of the store.
        kind: of the model.
        settings: of each training; `seed` is that of the search too.
        n_trials: trials that the search shall have, those of earlier runs included.
        progress: told of each trial.

    Raises:
        InputError: no optuna, a kind that has nothing to tune, or no valid part to rank.
        ArtefactError: no store there, a damaged search, or another one at work.
    """
    if kind not in SPACES:
        raise InputError(f"--model: expected one of {', '.join(SPACES)}, found {kind}, which has nothing to tune")
    optuna = _optuna()
    store = open_store(path)
    with locked(store.models_folder):
        tuned = read_tuned(store, kind)
        if tuned is None or (tuned.store, tuned.seed) != (store.identity, settings.seed):
            tuned = None
        trials = list(tuned.trials) if tuned else []
        while len(trials) < n_trials:
            progress(f"tune {kind}", len(trials), n_trials, "trials")
            parameters = _propose(optuna, SPACES[kind], trials, settings.seed) if trials else {}
            trial, users = _try(store, kind, settings, parameters)
            trials.append(trial)
            best = max(trials, key=lambda one: one.map)
            tuned = Tuned(store.identity, settings.seed, users, tuple(trials), best)
            write_tuned(tuned_path(store, kind), tuned)
            progress(f"tune {kind}", len(trials), n_trials, "trials")
    if tuned is None:
        raise InputError(f"--trials: expected at least one, found {n_trials}")
    return tuned


def _optuna() -> Any:
    try:
        optuna = importlib.import_module("optuna")
    except ModuleNotFoundError as error:
        raise InputError("tune: expected optuna, found none; pip install 'recsys-polars[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _try(store: Store, kind: str, settings: FitSettings, parameters: dict[str, Any]) -> tuple[Trial, int]:
    settled = settle(kind, with_parameters(settings, parameters))
    rounds, choice = choose_rounds(store, model_class(kind), settled, silent)
    if rounds is None:
        raise InputError(f"{store.path}: expected a valid part to rank, found that {choice['why_no_choice']}")
    return Trial(parameters, max(epoch["validation"] for epoch in choice["curve"]), rounds), choice["users"]


def _propose(optuna: Any, space: Space, trials: list[Trial], seed: int) -> dict[str, Any]:
    """The parameters to try next: of the seed, the number of the trial and the trials before it."""
    of_trial = int(np.random.SeedSequence([seed, len(trials)]).generate_state(1)[0])
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=of_trial))
    for trial in trials:
        known = {name: _distribution(optuna, space[name]) for name in trial.parameters}
        study.add_trial(optuna.trial.create_trial(params=dict(trial.parameters), distributions=known, value=trial.map))
    asked, found = study.ask(), dict[str, Any]()
    for name, values in space.items():
        if found.get("negatives") == "in-batch" and name in {"loss", "n_negatives"}:
            continue
        found[name] = _suggest(asked, name, values)
    return found


def _suggest(trial: Any, name: str, values: Any) -> Any:
    if not isinstance(values, Numbers):
        return trial.suggest_categorical(name, values)
    if values.whole:
        return trial.suggest_int(name, values.low, values.high)
    return trial.suggest_float(name, values.low, values.high, log=True)


def _distribution(optuna: Any, values: Any) -> Any:
    if not isinstance(values, Numbers):
        return optuna.distributions.CategoricalDistribution(values)
    if values.whole:
        return optuna.distributions.IntDistribution(values.low, values.high)
    return optuna.distributions.FloatDistribution(values.low, values.high, log=True)
