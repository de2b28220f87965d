"""A few users: what they had liked, what each model gives them, what they took next. Images only once asked for."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from recsys_polars.reporting.contents import Card, Contents, Shelf
from recsys_polars.reporting.html import Html, element, join, name_of
from recsys_polars.reporting.words import cut_short

_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


def examples(contents: Contents) -> Html:
    """Return the users, and a button for the images if there are some."""
    if not contents.shelves:
        return element("p", "No user has liked items on both sides of the cut.")
    told = "Users at random. ✓ marks what a user took next. An id stands beside a title that several items have."
    return join(element("p", told), _permission(contents), *map(_user, contents.shelves))


def image_origins(contents: Contents) -> list[str]:
    """Return where the images of the page lie: `https://host` or `http://host:port`, each once, sorted."""
    origins = (origin_of(card.image_url) for card in _cards(contents))
    return sorted({origin for origin in origins if origin is not None})


def origin_of(url: str | None) -> str | None:
    """Return scheme, host and port of an http(s) address, which fit into a policy as they are; None for any other."""
    try:
        parts = urlsplit(url or "")
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or parts.username is not None or not _HOST.fullmatch(host):
        return None
    return f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")


def _permission(contents: Contents) -> Html:
    origins = image_origins(contents)
    if not origins:
        return Html()
    n_images = sum(origin_of(card.image_url) is not None for card in _cards(contents))
    told = (
        f"The page has loaded nothing from elsewhere. Its {n_images:,} images lie at {', '.join(origins)}, which would "
        "learn that someone looks at them. "
    )
    button = element("button", "Load the images", type="button", id="load-images", hidden="")
    return element("p", told, button, element("span", id="images-loaded", role="status"), class_="permission")


def _user(shelf: Shelf) -> Html:
    liked = cut_short("Liked", len(shelf.liked), shelf.n_liked, which="the latest ")
    taken = cut_short("Took next", len(shelf.taken), shelf.n_taken)
    lists = [(liked, shelf.liked), *shelf.given.items(), (taken, shelf.taken)]
    columns = [_list(name, cards) for name, cards in lists]
    return element("article", element("h3", "User ", name_of(shelf.user_id)), element("div", *columns, class_="shelf"))


def _list(name: str, cards: list[Card]) -> Html:
    items = element("ol", *map(_card, cards)) if cards else element("p", "nothing")
    return element("section", element("h4", name_of(name)), items)


def _card(card: Card) -> Html:
    address = card.image_url if origin_of(card.image_url) is not None else None
    image = element("span", class_="cover", data_image=address) if address else ""
    hit = element("span", "✓ ", element("span", "taken next: ", class_="unseen")) if card.is_hit else ""
    id_ = join(" ", element("span", name_of(card.item_id), class_="id")) if card.item_id is not None else ""
    return element("li", hit, name_of(card.title), id_, image, class_="hit" if card.is_hit else None)


def _cards(contents: Contents) -> Iterator[Card]:
    for shelf in contents.shelves:
        for cards in (shelf.liked, shelf.taken, *shelf.given.values()):
            yield from cards
