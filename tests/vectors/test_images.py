import contextlib
import io
import os
import random
import struct
import warnings
import zlib
from hashlib import sha256
from pathlib import Path

import polars as pl
import pytest

from recsys_polars.errors import InputError
from recsys_polars.vectors import images
from recsys_polars.vectors.images import ImageFile, find_images, open_image

Image = pytest.importorskip("PIL.Image", reason="the extra clip is not installed")
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP")


def picture(name: str = "PNG", *, size: tuple[int, int] = (9, 5), mode: str = "RGB", seed: int = 0) -> bytes:
    raw = random.Random(seed).randbytes(size[0] * size[1] * 3)
    buffer = io.BytesIO()
    Image.frombytes("RGB", size, raw).convert(mode).save(buffer, name)
    return buffer.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it is large and holds nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def image_file(folder: Path, content: bytes, *, name: str = "i.png") -> ImageFile:
    (folder / name).write_bytes(content)
    return ImageFile("i", folder / name, sha256(content).hexdigest(), "")


def listed(folder: Path, *item_ids: str) -> list[tuple[str, str, str]]:
    return [(i.item_id, i.path.name, i.broken) for i in find_images(folder, pl.Series(item_ids, dtype=pl.String))]


def test_files_are_found_by_the_item_id_that_they_are_called(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.b.png", "c.png", "c.jpg", "stranger.png", "notes.txt", "d", "é 🙂.webp"):
        (tmp_path / name).write_bytes(picture())
    (tmp_path / "e.png").mkdir()
    found = listed(tmp_path, "a.b", "b", "c", "d", "e", "notes", "é 🙂", "nobody")
    assert found == [
        ("a.b", "a.b.png", ""),
        ("b", "b.JPG", ""),
        ("c", "c.jpg", ""),
        ("c", "c.png", ""),
        ("e", "e.png", "no file"),
        ("é 🙂", "é 🙂.webp", ""),
    ]


def test_no_id_leads_out_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    (folder / "below").mkdir(parents=True)
    for path in (tmp_path / "secret.png", folder / "below" / "in.png", folder / "a.png"):
        path.write_bytes(picture())
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "away").symlink_to(tmp_path)
    ids = ("../secret", "below/in", "away/secret", str(tmp_path / "secret"), "..", ".", "", "nul\x00l", "link", "a")
    assert listed(folder, *ids) == [("a", "a.png", ""), ("link", "link.png", "a symbolic link")]


@pytest.mark.parametrize("make", [None, lambda path: path.write_text(""), lambda path: path.mkdir()])
def test_a_folder_without_an_image_of_any_item_is_refused(tmp_path: Path, make) -> None:
    folder = tmp_path / "images"
    if make:
        make(folder)
    with pytest.raises(InputError, match=rf"^--images {folder}: expected .*, found "):
        find_images(folder, pl.Series(["a"]))


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    monkeypatch.setattr(images, "MOST_BYTES", 20)
    assert listed(tmp_path, "a") == [("a", "a.png", "larger than 20 bytes")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch(mode=0)
    assert listed(tmp_path, "a") == [("a", "a.png", "can't be read (Permission denied)")]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_every_format_is_decoded_whatever_it_is_called(tmp_path: Path, name: str, mode: str) -> None:
    if (name, mode) == ("JPEG", "P"):
        mode = "CMYK"
    opened = open_image(image_file(tmp_path, picture(name, mode=mode), name="i.gif"))
    assert (opened.mode, opened.size) == ("RGB", (9, 5))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (bomb(30_000, 30_000), "DecompressionBombError"),
        (bomb(10_000, 10_000), "10,000 x 10,000 pixels, more than 64,000,000"),
        (bomb(1, 20_000), "1 x 20,000 pixels, one edge more than 100 times the other"),
        (bomb(100, 100), "no JPEG, PNG, WEBP, GIF, BMP image that can be decoded"),
        (b"", "no JPEG, PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no JPEG, PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no JPEG, PNG"),
    ],
)
def test_bombs_and_what_is_no_image_are_refused(tmp_path: Path, content: bytes, says: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError) as refused:
            open_image(image_file(tmp_path, content))
    assert says in str(refused.value)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_images_are_decoded_or_refused_and_nothing_else(tmp_path: Path, name: str) -> None:
    chance, whole = random.Random(name), picture(name, size=(40, 30))
    for _ in range(150):
        damaged = bytearray(whole[: chance.choice([len(whole), chance.randrange(len(whole))])])
        for _ in range(chance.randrange(9) if damaged else 0):
            damaged[chance.randrange(min(len(damaged), chance.choice([40, len(damaged)])))] = chance.randrange(256)
        with contextlib.suppress(InputError):
            assert open_image(image_file(tmp_path, bytes(damaged))).mode == "RGB"


def test_an_image_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    image = image_file(tmp_path, picture())
    image.path.write_bytes(picture(seed=1))
    with pytest.raises(InputError, match="changed while it was read"):
        open_image(image)
    image.path.unlink()
    with pytest.raises(InputError, match="FileNotFoundError"):
        open_image(image)
