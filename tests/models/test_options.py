"""An option that would have no effect is refused; what is left open is filled in."""

import pytest

from recsys_polars.errors import InputError
from recsys_polars.models import KINDS, model_class
from recsys_polars.models.options import NAMES, OPTIONS, settle
from recsys_polars.models.protocol import FitSettings

VALUES = {"history": "as-of", "negatives": "popular", "loss": "bpr"}
DEFAULTS = {"history": "loo", "negatives": "uniform", "loss": "bce"}


def chosen(settings):
    return {name: value for name in NAMES if (value := getattr(settings, name)) is not None}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_left_open_is_the_default_of_each_option_that_the_kind_has(kind):
    assert chosen(settle(kind, FitSettings())) == {name: DEFAULTS[name] for name in OPTIONS[kind]}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_an_option_without_effect_on_a_kind_is_refused(kind, name):
    settings = FitSettings(**{name: VALUES[name]})
    if name in OPTIONS[kind]:
        assert getattr(settle(kind, settings), name) == VALUES[name]
        return
    with pytest.raises(InputError, match=f"--{name}: expected no such option with {kind}, found {VALUES[name]}"):
        settle(kind, settings)


def test_the_default_value_is_refused_too_where_it_has_no_effect():
    with pytest.raises(InputError, match="--loss: expected no such option with catboost, found bce"):
        settle("catboost", FitSettings(loss="bce"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_the_notebook_s_recipe_chooses_by_itself(kind, name):
    with pytest.raises(InputError, match="--recipe notebook, whose choices are its own"):
        settle(kind, FitSettings(recipe="notebook", **{name: DEFAULTS[name]}))
    assert chosen(settle(kind, FitSettings(recipe="notebook"))) == {}


@pytest.mark.parametrize("kind", ["mlp", "catboost"])
def test_in_batch_negatives_are_for_the_two_tower(kind):
    with pytest.raises(InputError, match=f"--negatives: expected uniform or popular for {kind}, found in-batch"):
        settle(kind, FitSettings(negatives="in-batch"))


def test_in_batch_negatives_go_with_softmax_alone():
    assert settle("two-tower", FitSettings(negatives="in-batch")).loss == "softmax"
    for loss in ("bce", "bpr"):
        with pytest.raises(InputError, match=f"--loss: expected softmax with in-batch negatives, found {loss}"):
            settle("two-tower", FitSettings(negatives="in-batch", loss=loss))


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_refuses_before_it_looks_at_anything(kind):
    with pytest.raises(InputError, match="--negatives"):
        model_class(kind).fit(None, FitSettings(negatives="none"))
