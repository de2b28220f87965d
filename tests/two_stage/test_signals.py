"""Every signal and every column is what its formula says, by plain loops."""

import numpy as np
import polars as pl
import pytest

from recsys_polars.two_stage import signals as product
from recsys_polars.two_stage.candidates import RANKED, Candidates
from tests.oracles import signals as oracle
from tests.two_stage.histories import everything, small_history

DIMENSIONS = 4


@pytest.fixture(autouse=True)
def few_dimensions(monkeypatch):
    """Fewer than the matrix has, so that the oracle's singular vectors and ours span the same space."""
    monkeypatch.setattr(product, "DIMENSIONS", DIMENSIONS)


@pytest.fixture(scope="module", params=[0, 1, 2, 3])
def small(request):
    return small_history(request.param, n_times=[40, 1, 5, 400][request.param])


def features_of(small):
    return everything(Candidates(small.past), len(small.user_ids), len(small.item_ids))


def test_each_signal_of_each_pair_is_that_of_the_oracle(small):
    found = features_of(small)
    for row, user in enumerate(small.user_ids):
        expected = oracle.signals(small.told, user, dimensions=DIMENSIONS)
        for name, of_items in expected.items():
            values = np.array([of_items[item] for item in small.item_ids])
            np.testing.assert_allclose(found[name][row], values, rtol=1e-4, atol=1e-6, err_msg=f"{name} of {user}")


def test_item_and_user_columns_are_those_of_the_oracle(small):
    found = features_of(small)
    for name, of_items in oracle.item_columns(small.told).items():
        values = np.array([of_items[item] for item in small.item_ids])
        for of_user in found[name]:
            np.testing.assert_allclose(of_user, values, rtol=1e-4, err_msg=name)
    for row, user in enumerate(small.user_ids):
        for name, value in oracle.user_columns(small.told, user).items():
            np.testing.assert_allclose(found[name][row], value, rtol=1e-5, err_msg=f"{name} of {user}")


def test_ranks_are_those_within_a_users_candidates(small):
    found = features_of(small)
    for name in (*RANKED, "vector[clip]"):
        for of_user, ranks in zip(found[name], found[f"{name}_rank"], strict=True):
            expected = oracle.ranks(dict(enumerate(of_user.tolist())))
            assert ranks.tolist() == [expected[item] for item in range(len(of_user))]


def test_the_oracle_knows_every_feature_and_none_is_named_twice(small):
    names = Candidates(small.past).names
    known = [
        *oracle.signals(small.told, small.user_ids[2], dimensions=DIMENSIONS),
        *oracle.item_columns(small.told),
        *oracle.user_columns(small.told, small.user_ids[2]),
        *(f"{name}_rank" for name in (*RANKED, "vector[clip]")),
    ]
    assert sorted(names) == sorted(known)


def test_the_histories_hold_what_they_promise():
    told = [small_history(seed, n_times=5).told for seed in range(3)]
    assert all(len(one.events) > len(one.pairs) for one in told)
    assert all({label for *_, label in one.pairs} == {0, 1} for one in told)
    assert any(row["title"] is None and not row["description"] for one in told for row in one.items.values())


@pytest.mark.parametrize("new_id", ["a first", "z last"])
def test_an_item_that_only_comes_later_changes_no_feature_of_the_others(small, new_id):
    found = features_of(small)
    newcomer = pl.DataFrame({"item_id": [new_id]})
    items = pl.concat([small.items, newcomer], how="diagonal").sort("item_id")
    later = features_of(small._replace(items=items))
    others = items["item_id"] != new_id
    assert later.keys() == found.keys()
    for name, values in found.items():
        if not name.endswith("_rank"):  # those count the newcomer, a candidate like the others
            np.testing.assert_array_equal(later[name][:, others.to_numpy()], values, err_msg=name)


def test_no_words_at_all_speak_for_nothing():
    small = small_history(5)
    blank = small._replace(items=small.items.with_columns(title=None, description=None, brand=None, category=None))
    blank = blank._replace(items=blank.items.cast(small.items.schema))
    found = features_of(blank)
    assert not found["text"].any()
    assert not {name for name in found if name.startswith(("title_", "brand_", "category_", "description_"))}
