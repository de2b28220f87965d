"""`explain --model auto`: the list of `rank`, which signals proposed it, and what its scores are made of."""

import re
import shutil

import numpy as np
import polars as pl
import pytest
from catboost import Pool

from recsys_polars.models import AUTO
from recsys_polars.recipes.explain import explain
from recsys_polars.recipes.sides import RankSettings
from recsys_polars.recipes.trained import find_model, publish_model
from recsys_polars.store import open_store
from recsys_polars.two_stage.candidates import PROPOSERS
from recsys_polars.two_stage.ranker import Order, load_orders, save_orders
from tests.two_stage.shops import (
    invoke,
    proposed_by,
    rank_with,
)

pytestmark = pytest.mark.usefixtures("few_trees")


def test_the_list_is_that_of_rank_and_its_parts_add_up_to_what_catboost_predicts(tmp_path, shop) -> None:
    ranked = rank_with(shop.store, tmp_path / "p.parquet", "--users", "all", "-k", 7)
    trees = load_orders(find_model(shop.store, AUTO)[0])["catalogue"].trees
    candidates = proposed_by(shop.store)
    users = sorted(shop.store.scan("labelled").collect()["user_id"].unique())
    for user in sorted(shop.warm)[:6]:
        found = explain(shop.store.path, user, RankSettings(kind=AUTO, k=7)).reasons
        expected = ranked.filter(pl.col("user_id") == user).select("rank", "item_id", "score").rows()
        assert [(reason.rank, reason.item_id, reason.score) for reason in found] == expected
        (pairs,) = candidates.blocks(
            np.array([users.index(user)]),
            seen=None,
            allowed=np.array([item not in shop.seen[user] for item in shop.items]),
            n_least=7,
        )
        for reason in found:
            (place,) = np.flatnonzero(pairs.items == shop.items.index(reason.item_id))
            pool = Pool(pairs.features[[place]], feature_names=candidates.names)
            predicted = sum(one.predict(pool, prediction_type="RawFormulaVal")[0] for one in trees)
            assert sum(reason.parts.values()) == pytest.approx(predicted, abs=1e-9)
            assert {"base", "popularity", "cosine", "vector[clip_img]", "given[maker]", "item", "user"} <= set(
                reason.parts
            )


def test_proposers_are_the_signals_that_have_the_item_among_their_best(shop) -> None:
    reasons = explain(shop.store.path, min(shop.warm), RankSettings(kind=AUTO, k=5)).reasons
    names = set(proposed_by(shop.store).proposers)
    assert all(reason.proposers and set(reason.proposers) <= names for reason in reasons)
    assert all(1 <= rank <= 100 for reason in reasons for rank in reason.proposers.values())


def test_an_item_after_the_list_is_found_by_its_name_and_one_that_was_had_is_not(tmp_path, shop) -> None:
    user = min(shop.warm)
    last = explain(shop.store.path, user, RankSettings(kind=AUTO, k=9)).reasons[-1]
    (found,) = explain(shop.store.path, user, RankSettings(kind=AUTO, k=1), item_id=last.item_id).reasons
    assert (found.rank, found.score, found.parts) == (9, last.score, last.parts)
    (had,) = explain(shop.store.path, user, RankSettings(kind=AUTO), item_id=min(shop.seen[user])).reasons
    assert (had.rank, had.score, had.had, had.parts, had.proposers) == (None, None, True, {}, {})


def test_an_order_by_one_signal_is_that_signal(tmp_path, shop) -> None:
    shutil.copytree(shop.store.path, tmp_path / "store")
    store = open_store(tmp_path / "store")
    orders = {"known": Order("cosine"), "catalogue": Order("text")}
    facts = {"settings": {"recipe": "default"}, "seconds": 0}
    publish_model(store, AUTO, lambda folder: save_orders(orders, folder), facts)
    (first, *_) = explain(store.path, min(shop.warm), RankSettings(kind=AUTO)).reasons
    assert first.parts == {"text": first.score}
    assert first.proposers["text"] == 1


def test_a_rank_is_told_to_be_among_what_signals_propose(shop) -> None:
    found = explain(shop.store.path, min(shop.warm), RankSettings(kind=AUTO), item_id=shop.items[0])
    (item,) = [
        reason.item_id for reason in explain(shop.store.path, min(shop.warm), RankSettings(kind=AUTO, k=1)).reasons
    ]
    told = invoke("explain", min(shop.warm), "--model", "auto", "--store", shop.store.path, "--item", item).stderr
    assert f"item {item} at rank 1 of the {found.searched} items that signals propose; " in told


def test_help_tells_what_every_proposer_is() -> None:
    told = invoke("explain", "--help").stdout
    names = {re.sub("_recent|_lately|_[0-9.]+", "", name) for name in (*PROPOSERS, "vector[NAME]")}
    assert {name for name in names if f" {name} " not in told.replace(";", " ")} == set()


def test_proposers_are_printed_the_best_three(shop) -> None:
    result = invoke("explain", min(shop.warm), "--model", "auto", "--store", shop.store.path, "-k", 2)
    assert result.exit_code == 0
    head, _, first, *_ = result.stdout.splitlines()
    assert head.endswith("  proposed by")
    assert re.search(r"  \S+ \d+, \S+ \d+, \S+ \d+, \d+ more$", first)
