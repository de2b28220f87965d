"""What manifests say of a training becomes charts; what they might say beside is left out."""

from dataclasses import replace
from typing import Any

import pytest

from recsys_polars.reporting.contents import Contents
from recsys_polars.reporting.training import trainings
from tests.reporting.conftest import training


def told(contents: Contents, manifest: dict[str, Any] | None) -> str:
    name = contents.models[0]
    return trainings(replace(contents, models=[name], trainings={} if manifest is None else {name: manifest}))


def test_rounds_are_told_with_what_they_were_chosen_by(contents: Contents) -> None:
    text = told(contents, training())
    assert "2 rounds were chosen, by MAP@10 of 1,234 users of the valid part" in text
    assert "MAP@10 of the valid part of popularity by epoch: to choose the rounds from 0.01 to 0.03" in text
    assert "the last training from 0.65 to 0.55" in text


def test_trees_are_counted_as_trees(contents: Contents) -> None:
    curve = [{"trees": 25, "validation": 0.01}, {"trees": 50, "validation": 0.02}]
    text = told(contents, {**training(), "choice": {"users": 5, "curve": curve}, "training": {}})
    assert "by trees: to choose the rounds from 0.01 to 0.02" in text
    assert '<th scope="row">50</th>' in text


def test_the_contenders_of_auto_are_told_best_first(contents: Contents) -> None:
    contest = {"by": "trees", "validation": {"popular": 0.01, "trees": 0.05, "ease": 0.03}}
    text = told(contents, {"choice": {"known": contest, "catalogue": contest}, "training": {}})
    assert "`recsys-polars explain --help` says what each is" in text
    assert "MAP@10 among known items: trees 0.0500; ease 0.0300; popular 0.0100" in text
    assert "MAP@10 among all items: trees" in text


def test_folds_are_told(contents: Contents) -> None:
    assert "0.0123" in told(contents, {"choice": {}, "training": {}, "folds": training()["folds"]})


def test_a_model_that_is_gone_is_told_to_be(contents: Contents) -> None:
    assert "not in the store (any more)" in told(contents, None)


@pytest.mark.parametrize(
    "odd",
    [
        {"choice": None, "training": [], "folds": 3},
        {"choice": {"curve": "steep"}, "training": {"curve": [1, None, {"loss": "low"}]}},
        {"choice": {"curve": [{"validation": float("nan")}]}, "training": {"curve": [{"loss": True}]}},
        {"choice": {"known": {"validation": {"<b>": "high"}}}, "training": {}, "folds": {"figures": [{}]}},
    ],
)
def test_what_is_no_number_is_left_out(contents: Contents, odd: dict[str, Any]) -> None:
    assert "<svg" not in told(contents, odd)
    assert "Nothing of its training was written down" in told(contents, odd)


def test_a_single_round_is_a_point(contents: Contents) -> None:
    text = told(contents, {"choice": {"users": 1, "curve": [{"validation": 0.5}]}, "rounds": 1, "training": {}})
    assert text.count("<circle") == 2, "one in the chart, one that says what it stands for"
