"""Texts and images of the catalogue -> vectors of pretrained encoders, kept in the store for the next build."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import polars as pl

from recsys_polars.errors import InputError
from recsys_polars.guards import refuse_link
from recsys_polars.recipes.raw import Build, BuildSettings, read_catalogue
from recsys_polars.sources import ParsedFile, ParsedItems
from recsys_polars.tables import Items
from recsys_polars.vectors.clip import check_clip, open_clip
from recsys_polars.vectors.encoding import Encoder, Encodings, encode_contents
from recsys_polars.vectors.images import ImageFile, find_images
from recsys_polars.vectors.minilm import MINILM, check_minilm, open_minilm
from recsys_polars.vectors.tfidf import texts_of

Content = TypeVar("Content")
CACHE = "encoded"
"""Folder of a store beside its generations: vectors by the sha256 of their content."""


def store_catalogue(files: Sequence[ParsedFile], seen_ids: pl.Series, build: Build) -> pl.DataFrame:
    """Write the catalogue with the vectors of encoders into the store; return it. Arguments: see `read_catalogue`."""
    items = encode_items(read_catalogue(files, seen_ids, build), build)
    build.writer.write("items", items, Items)
    return items


def check_encoders(settings: BuildSettings, items: ParsedItems | None) -> None:
    """Look at what was asked of text and images, before anything is read.

    Raises:
        InputError: an option without effect, an extra or a model that is missing, or a block that the items bring.
    """
    if settings.images and not settings.clip:
        raise InputError("--images: expected --clip too, the model that encodes them, found none")
    blocks = settings.encoded
    if settings.text_dim and settings.text == "none" and not blocks:
        raise InputError(f"--text-dim {settings.text_dim}: expected text or --clip, found --text none")
    if blocks and items is None:
        raise InputError("--text minilm, --clip: expected --items too, whose texts are encoded, found none")
    taken = [block for block in blocks if items and block in items.vectors]
    if taken:
        option = "--text minilm" if MINILM in taken else "--clip"
        raise InputError(f"{option}: expected items without {', '.join(taken)}, found that they bring such vectors")
    check_models(settings)


def check_models(settings: BuildSettings) -> None:
    """Find out whether the encoders of a build are there, without loading them.

    Raises:
        InputError: an extra or a model is missing.
    """
    if MINILM in settings.encoded:
        check_minilm()
    if settings.clip:
        check_clip(Path(settings.clip))


def encode_items(items: pl.DataFrame, build: Build) -> pl.DataFrame:
    """Add the vectors of encoders to the catalogue, null where an item has no text or no image.

    Nothing is fitted here: a vector is of its content alone, whatever else there is and whenever it was encoded.

    Raises:
        InputError: no image of any item, or a model that can't be used.
    """
    settings = build.settings
    if MINILM in settings.encoded:
        items = _with_texts(items, texts_of(items), open_minilm(), build)
    if settings.clip:
        clip = open_clip(Path(settings.clip))
        items = _with_texts(items, items["title"], clip.texts, build)
        if settings.images:
            items = _with_images(items, Path(settings.images), clip.images, build)
    return items


def _with_texts(items: pl.DataFrame, texts: pl.Series, encoder: Encoder[str], build: Build) -> pl.DataFrame:
    filled = pl.DataFrame({"item_id": items["item_id"], "text": texts}).filter(pl.col("text").str.strip_chars() != "")
    keys = {text: hashlib.sha256(text.encode()).hexdigest() for text in filled["text"].unique(maintain_order=True)}
    found = _encode(encoder, {key: text for text, key in keys.items()}, build)
    of_items = filled.select("item_id", key=pl.col("text").replace_strict(keys, return_dtype=pl.String))
    return _with_vectors(items, encoder.block, of_items, found)


def _with_images(items: pl.DataFrame, folder: Path, encoder: Encoder[ImageFile], build: Build) -> pl.DataFrame:
    images = find_images(folder, items["item_id"])
    first: dict[str, ImageFile] = {}
    for image in images:
        first.setdefault(image.item_id, image)
    found = _encode(encoder, {image.key: image for image in first.values() if not image.broken}, build)
    rules = {image: image.broken or found.broken.get(image.key) for image in first.values()}
    broken = [(image.item_id, str(image.path), f"image: {rule}") for image, rule in rules.items() if rule]
    if broken and build.settings.strict:
        raise InputError(f"--strict: images: expected none that is broken, found {len(broken):,}: {broken[0][1:]}")
    build.writer.write_rejects("images", pl.LazyFrame(broken, schema=["item_id", "file", "rule"], orient="row"))
    build.ledger.enter(
        "read images",
        rows_in=len(images),
        rows_out=len(first) - len(broken),
        merged=len(images) - len(first),
        rejected=len(broken),
    )
    of_items = pl.DataFrame(
        [(image.item_id, image.key) for image in first.values()], schema=["item_id", "key"], orient="row"
    )
    return _with_vectors(items, encoder.block, of_items, found)


def _encode(encoder: Encoder[Content], contents: dict[str, Content], build: Build) -> Encodings:
    cache = refuse_link(build.writer.stage.folder.parent / CACHE)
    found = encode_contents(encoder, contents, cache, progress=build.progress)
    facts = {"encoder": encoder.fingerprint, "contents": found.vectors.height, "new": found.n_new - len(found.broken)}
    build.writer.stage.facts.setdefault("encoded", {})[encoder.block] = facts
    return found


def _with_vectors(items: pl.DataFrame, block: str, of_items: pl.DataFrame, found: Encodings) -> pl.DataFrame:
    """Add a vector column: `of_items` has item_id and key."""
    vectors = of_items.join(found.vectors, on="key").select("item_id", pl.col("vector").alias(block))
    return items.join(vectors, on="item_id", how="left", maintain_order="left")
