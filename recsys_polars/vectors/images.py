"""Images in a folder, found by item id. An id is looked up among the names of files; it never becomes a path."""

import hashlib
import importlib
import os
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl

from recsys_polars.disk import sha256
from recsys_polars.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
"""What may be decoded, whatever a file is called: other decoders run programs, or are hardly looked after."""
MOST_BYTES = 64_000_000
MOST_PIXELS = 64_000_000
MOST_ELONGATED = 100
"""Its shorter edge becomes the encoder's: an image of one row of pixels would become a thousand times larger."""


@dataclass(frozen=True)
class ImageFile:
    """An image of an item.

    Attributes:
        item_id: whose image it is: the file's name without its suffix.
        path: of the file.
        key: sha256 of its bytes; empty where it is `broken`.
        broken: why it can't be used; empty where it can, as far as is known without decoding it.
    """

    item_id: str
    path: Path
    key: str
    broken: str


def find_images(folder: Path, item_ids: pl.Series) -> list[ImageFile]:
    """Return the image files of items in a folder, by item id and name.

    Args:
        folder: its files are listed once. Folders below it are not looked at, no symbolic link is followed.
        item_ids: whose images are wanted.

    Raises:
        InputError: no such folder, or no image of any of the items.
    """
    if not folder.is_dir():
        raise InputError(f"--images {folder}: expected a folder, found {'a file' if folder.exists() else 'none'}")
    ids = set(item_ids)
    with os.scandir(folder) as entries:
        images = [entry for entry in entries if Path(entry.name).suffix.lower() in SUFFIXES]
    found = [_image(entry) for entry in images if Path(entry.name).stem in ids]
    if not found:
        raise InputError(
            f"--images {folder}: expected images named by item id ({', '.join(SUFFIXES)}), found none of the "
            f"{len(ids):,} items among {len(images):,} images"
        )
    return sorted(found, key=lambda image: (image.item_id, image.path.name))


def _image(entry: os.DirEntry[str]) -> ImageFile:
    path, broken, key = Path(entry.path), "", ""
    if entry.is_symlink():
        broken = "a symbolic link"
    elif not entry.is_file():
        broken = "no file"
    elif entry.stat().st_size > MOST_BYTES:
        broken = f"larger than {MOST_BYTES:,} bytes"
    else:
        try:
            key = sha256(path)
        except OSError as error:
            broken = f"can't be read ({error.strerror})"
    return ImageFile(path.stem, path, key, broken)


def open_image(image: ImageFile) -> Any:
    """Decode an image: a Pillow image in RGB.

    Raises:
        InputError: why it can't be used.
    """
    pillow = importlib.import_module("PIL.Image")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Pillow's, about broken images and large ones
        try:
            content = image.path.read_bytes()
            _check_unchanged(content, image.key)
            opened = pillow.open(BytesIO(content), formats=FORMATS)  # reads the head alone
            _check_size(*opened.size)
            return opened.convert("RGB")
        except InputError:
            raise
        except Exception as error:  # whatever a decoder may raise on what is no image
            raise InputError(f"no {', '.join(FORMATS)} image that can be decoded ({type(error).__name__})") from error


def _check_unchanged(content: bytes, key: str) -> None:
    if hashlib.sha256(content).hexdigest() != key:
        raise InputError("changed while it was read")


def _check_size(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise InputError(f"{width:,} x {height:,} pixels, more than {MOST_PIXELS:,}")
    if max(width, height) > MOST_ELONGATED * min(width, height):
        raise InputError(f"{width:,} x {height:,} pixels, one edge more than {MOST_ELONGATED} times the other")
