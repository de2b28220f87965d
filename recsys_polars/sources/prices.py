"""Prices as the dumps write them -> Float64."""

import polars as pl

from recsys_polars.sources.raw import RawFile, clipped
from recsys_polars.sources.values import as_text, number

_NUMBER = r"(?:\d[\d.,]*(?:[eE][+-]?\d+)?|\.\d+)"
_CURRENCY = r"(?:[A-Z]{2,3}\s?[$£€¥₹]?|[$£€¥₹])?"
_AMOUNT = rf"{_CURRENCY}\s*({_NUMBER})\s*{_CURRENCY}"
_PRICE = rf"(?i)^\s*(?:from\s+)?{_AMOUNT}(?:\s*(?:-|–|—|to)\s*{_AMOUNT})?\s*$"
_NOTHING = r"(?i)^\s*(?:nan|none|null|n/a|-|–|—|\[\]|\{\})?\s*$"
"""What programs write where there is no value."""
_POINT = r"^\d*(?:\.\d+)?(?:[eE][+-]?\d+)?$|^\d+\.$"
_COMMAS_GROUP = r"^\d{1,3}(?:,\d{3})+(?:\.\d+)?$"
_COMMA_IS_POINT = r"^(?:\d+|\d{1,3}(?:\.\d{3})+),\d{1,2}$"


def price_number(raw: RawFile, name: str) -> pl.Expr:
    """Return the number that stands for a price, whatever it is; null where none can be read.

    `$1,299.00` is 1299, `EUR 5,99` is 5.99, `1.299,00` is 1299; of a range, `$5 - $10`, the lower bound; the currency
    is dropped. HTML is none.
    """
    return number(raw, name) if raw.type_of(name).is_numeric() else _from_text(as_text(raw, name))


def price(value: pl.Expr) -> pl.Expr:
    """Return the numbers that can be prices; null for the others: a price is never a reason to reject an item.

    Zero stands for an unknown price in the dumps and is null, as are negative and infinite ones.
    """
    return pl.when(value.is_finite() & (value > 0)).then(value)


def unread_price(value: pl.Expr, text: pl.Expr) -> pl.Expr:
    """Return the text that stands where there is no price; null also where it says that there is none: zero, `None`."""
    is_price = (value.is_finite() & (value >= 0)).fill_null(value=False)
    return pl.when(~is_price & ~text.str.contains(_NOTHING)).then(clipped(text.str.strip_chars()))


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
