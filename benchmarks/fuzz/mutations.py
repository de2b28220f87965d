"""What happens to the bytes and the archives of a valid file."""

import gzip
import random
from collections.abc import Callable

import pyarrow as pa


def flip_bytes(data: bytes, rng: random.Random) -> bytes:
    """Change some bytes."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 20))):
        if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def truncate(data: bytes, rng: random.Random) -> bytes:
    """Keep the beginning."""
    return data[: rng.randrange(len(data) + 1)]


def insert(data: bytes, rng: random.Random) -> bytes:
    """Put bytes in that don't belong into a text."""
    place = rng.randrange(len(data) + 1)
    what = rng.choice(
        (
            b"\0",
            b"\0" * 5_000,
            b"\xff\xfe",
            b"\xc3",
            b"\xed\xa0\x80",
            b"\xf0\x9f",
            b"\xef\xbb\xbf",
            b"\r",
            b"\n\n\n",
            b'"',
        )
    )
    return data[:place] + what + data[place:]


def repeat_part(data: bytes, rng: random.Random) -> bytes:
    """Have a part of the file twice, as a retried copy leaves it."""
    start, stop = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:stop] + data[start:]


def drop_part(data: bytes, rng: random.Random) -> bytes:
    """Lose a part of the file."""
    start, stop = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:start] + data[stop:]


def recode(data: bytes, rng: random.Random) -> bytes:
    """Write the text in another encoding, or with a mark at its start."""
    text = data.decode("utf-8", errors="replace")
    code = rng.choice(("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "utf-7", "cp037", "latin-1"))
    return text.replace("alpha", "älphä").encode(code, errors="replace")


def grow_field(data: bytes, rng: random.Random) -> bytes:
    """Make a field a megabyte long."""
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.choice((b"x", b"9", b'"', b"[", b"\xf0\x9f\x98\x80", b" ")) * (1 << 20) + data[place:]


def change_line_ends(data: bytes, rng: random.Random) -> bytes:
    """End lines otherwise."""
    return data.replace(b"\n", rng.choice((b"\r\n", b"\r", b"\n\n", b"\n\r", b"\x0b", b"\xe2\x80\xa8", b"")))


BYTES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(flip_bytes, truncate, insert, repeat_part, drop_part, recode, grow_field, change_line_ends),
)


def pack(data: bytes, suffix: str) -> bytes:
    """Compress as a suffix says."""
    if suffix == ".gz":
        return gzip.compress(data, mtime=0)
    return bytes(pa.compress(data, codec="zstd", asbytes=True)) if suffix == ".zst" else data


def damage_archive(data: bytes, suffix: str, rng: random.Random) -> bytes:
    """Return an archive of several members, cut, flipped, followed by rubbish, or of another kind than it says."""
    half = data.index(b"\n", len(data) // 2) + 1 if b"\n" in data[len(data) // 2 :] else len(data)
    whole, members = pack(data, suffix), pack(data[:half], suffix) + pack(data[half:], suffix)
    kinds: tuple[Callable[[], bytes], ...] = (
        lambda: members,
        lambda: pack(b"", suffix) + members + pack(b"", suffix),
        lambda: members[: rng.randrange(len(members))],
        lambda: flip_bytes(whole, rng),
        lambda: flip_bytes(members, rng),
        lambda: whole + rng.choice((b"\0" * 512, b"rubbish", b"\n", b"\x1f\x8b", b"\x28\xb5\x2f\xfd")),
        lambda: pack(whole, suffix),
        lambda: pack(data, ".gz" if suffix == ".zst" else ".zst"),
        lambda: whole[:4],
        lambda: pack(data, suffix) + pack(data, ".gz" if suffix == ".zst" else ".zst"),
    )
    return rng.choice(kinds)()
