"""Elements of a page. A string is text: it is escaped, and loses the signs that would change how others are read."""

from html import escape

LONGEST_NAME = 120
"""Signs of a title, an id or a name that a page shows."""


class Html(str):
    """Markup, made here or written by us; any other string is text."""

    __slots__ = ()


def element(name: str, *children: str, **attributes: str | float | None) -> Html:
    """Return an element.

    Args:
        name: of the element.
        children: `Html`, or text to be escaped.
        attributes: `class_` is written class, `aria_label` aria-label; None leaves one out, numbers have two decimals.
    """
    written = "".join(f' {_attribute(key)}="{_value(value)}"' for key, value in attributes.items() if value is not None)
    return Html(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: str) -> Html:
    """Return children one after the other, text escaped."""
    return Html("".join(child if isinstance(child, Html) else escape(_visible(child)) for child in children))


def name_of(text: str) -> Html:
    """Return a title, an id or a name out of data, cut to what fits, so that its direction stays its own.

    One without a blank is of the class `word`: an id stays in one piece where there is room for it.
    """
    shown = text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"
    return element("bdi", shown, class_=None if " " in shown else "word")


def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _value(value: str | float) -> str:
    return escape(_visible(value)) if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def _visible(text: str) -> str:
    return "".join(sign if sign.isprintable() else " " for sign in text)
