"""What tests of whole trainings share: trees that take a moment, and trees that win."""

import numpy as np
import pytest

from recsys_polars.recipes.train import train
from recsys_polars.two_stage import choosing, trees
from recsys_polars.two_stage.ranker import TREES
from tests.two_stage.shops import FEATURES, FEW, SETTINGS, Shop, build, item_table, log, shop_of


@pytest.fixture(scope="module")
def few_trees():
    """Small trees, so that a test takes a moment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trees, "PARAMETERS", FEW)
        yield


@pytest.fixture
def trees_win(monkeypatch) -> None:
    """Trees are chosen whatever the figures say."""
    monkeypatch.setattr(choosing, "_aps", lambda term, blocks, order: np.array([float(order.by == TREES)]))


@pytest.fixture(scope="module")
def shop(tmp_path_factory, few_trees) -> Shop:
    """A store with an `auto` model of trees."""
    store = build(tmp_path_factory.mktemp("auto"), log(), item_table(), item_features=FEATURES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choosing, "_aps", lambda term, blocks, order: np.array([float(order.by == TREES)]))
        train(store.path, "auto", SETTINGS)
    return shop_of(store)
