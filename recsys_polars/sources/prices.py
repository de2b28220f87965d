"""Prices as the dumps write them -> Float64."""

import polars as pl

from recsys_polars.sources.raw import RawFile
from recsys_polars.sources.values import as_text, number

_NUMBER = r"(?:\d[\d.,]*(?:[eE][+-]?\d+)?|\.\d+)"
_CURRENCY = r"(?:[A-Z]{2,3}\s?[$£€¥₹]?|[$£€¥₹])?"
_AMOUNT = rf"{_CURRENCY}\s*({_NUMBER})\s*{_CURRENCY}"
_PRICE = rf"(?i)^\s*(?:from\s+)?{_AMOUNT}(?:\s*(?:-|–|—|to)\s*{_AMOUNT})?\s*$"
_POINT = r"^\d*(?:\.\d+)?(?:[eE][+-]?\d+)?$|^\d+\.$"
_COMMAS_GROUP = r"^\d{1,3}(?:,\d{3})+(?:\.\d+)?$"
_COMMA_IS_POINT = r"^(?:\d+|\d{1,3}(?:\.\d{3})+),\d{1,2}$"


def price(raw: RawFile, name: str) -> pl.Expr:
    """Return prices; null where there is none that can be read: a price is never a reason to reject an item.

    `$1,299.00` is 1299, `EUR 5,99` is 5.99, `1.299,00` is 1299; of a range, `$5 - $10`, the lower bound; the currency
    is dropped. Zero stands for an unknown price in the dumps and is null, as are negative and infinite ones and HTML.
    """
    dtype = raw.type_of(name)
    value = number(raw, name) if dtype.is_numeric() else _from_text(as_text(raw, name))
    return pl.when(value.is_finite() & (value > 0)).then(value)


def _from_text(text: pl.Expr) -> pl.Expr:
    amount = text.str.extract(_PRICE, 1)
    plain = (
        pl.when(amount.str.contains(_COMMAS_GROUP))
        .then(amount.str.replace_all(",", "", literal=True))
        .when(amount.str.contains(_COMMA_IS_POINT))
        .then(amount.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True))
        .when(amount.str.contains(_POINT))
        .then(amount)
    )
    return plain.cast(pl.Float64, strict=False)
