"""What happens to the bytes, the text and the archives of a valid file."""

import gzip
import json
import random
from collections.abc import Callable
from typing import Any

import pyarrow as pa

VALUES = (
    *(
        "",
        " ",
        "nan",
        "NaN",
        "inf",
        "-inf",
        "null",
        "None",
        "1e400",
        "-1e400",
        "1e-400",
        "0",
        "-1",
        "1_0",
        "True",
        "+5",
    ),
    *(
        "9" * 19,
        "9" * 40,
        "-" + "9" * 25,
        "0x10",
        "1.5.5",
        "4,5",
        "٤",
        "five",
        "1970-01-01",
        "0000-00-00",
        "9999-12-31",
    ),
    *(
        "2024-02-30",
        "2024-01-01T25:61:61Z",
        "2011-03-14 15:09:26+99:99",
        "-9223372036854775808",
        "1262304000.5",
        "1e30",
    ),
    *(
        "../../etc/passwd",
        "/etc/passwd",
        "..",
        "/",
        "C:\\x",
        "a\x00b",
        "\x1b[31m",
        "\x7f",
        "😀",
        "e\u0301",
        "\u202eabc",
    ),
    *(
        "'; DROP TABLE users;--",
        "$[x]",
        "{}",
        "[]",
        '{"a": 1}',
        "[[1], {}]",
        "%s%d{0}",
        "*",
        "?.csv",
        "file:///etc/passwd",
    ),
    *(
        "<script>" * 50,
        "<b" * 500,
        "&#x110000;&amp" * 20,
        "(" * 300,
        '"',
        '""',
        "'",
        '"unclosed',
        "a\nb",
        "a\rb",
        "\ufeff",
    ),
)
"""Fields that somebody will have."""
_NESTED = ("[" * 5_000, "[" * 300 + "]" * 300, '{"a":' * 2_000 + "1" + "}" * 2_000, "{" * 4_000, '[{"a":' * 900)
_NUMBERS = (
    "1e999",
    "-1e999",
    "NaN",
    "Infinity",
    "-Infinity",
    "9" * 400,
    "-0",
    "01",
    "1.",
    ".5",
    "1e",
    "0e0",
    "18446744073709551616",
)
_SURROGATES = ('"\\ud800"', '"\\udfff\\ud800"', '"\\u0000"', '"\\x"', '"\\u12"', '"a\x01b"', '"' + "\\\\" * 99 + '"')
JSON_VALUES = (
    *_NESTED,
    *_NUMBERS,
    *_SURROGATES,
    "null",
    "true",
    "[]",
    "{}",
    '""',
    '[1, "a", null]',
    '{"value": 1}',
    "tru",
    "'a'",
)
"""What stands after a colon, as it stands there."""


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


def mutate_table(text: str, separator: str, rng: random.Random) -> str:
    """Break the header or some rows of a table."""
    rows = [line.split(separator) for line in text.splitlines()]
    return (
        "\n".join(separator.join(row) for row in rng.choice((_break_header, _break_rows, _break_rows))(rows, rng))
        + "\n"
    )


def _break_header(rows: list[list[str]], rng: random.Random) -> list[list[str]]:
    header = rows[0]
    place = rng.randrange(len(header))
    kinds: tuple[Callable[[], list[str]], ...] = (
        lambda: [*header, header[place]],
        lambda: header[:place] + header[place + 1 :],
        lambda: [*header[:place], rng.choice(VALUES), *header[place + 1 :]],
        lambda: ["" for _ in header],
        lambda: [name.upper() for name in header],
        lambda: [f'"{name}"' for name in header],
        lambda: header + [f"x{n}" for n in range(rng.choice((1, 10_000)))],
        lambda: [*header, "line", "rule", "found", "file", "row", "field_0", "extra_0", "raw:x"],
        lambda: [*header, "v_0", "v_1", "v_3"],
    )
    return [rng.choice(kinds)(), *rows[1:]]


def _break_rows(rows: list[list[str]], rng: random.Random) -> list[list[str]]:
    broken = [list(row) for row in rows]
    for row in rng.choices(broken, k=rng.choice((1, 5, len(rows)))):
        place = rng.randrange(len(row)) if row else 0
        what = rng.randrange(8)
        if what == 0:
            row[place:place] = [rng.choice(VALUES)] * rng.choice((1, 3, 9))
        elif what == 1:
            del row[place:]
        elif row:
            row[place] = rng.choice(VALUES)
    return broken


def mutate_json(text: str, rng: random.Random) -> str:
    """Break some lines of JSON: values, names, the objects themselves."""
    lines = text.splitlines()
    for number in rng.choices(range(len(lines)), k=rng.choice((1, 5, len(lines)))):
        lines[number] = _break_object(lines[number], rng)
    return "\n".join(lines) + "\n"


def _break_object(line: str, rng: random.Random) -> str:
    try:
        fields: dict[str, Any] = json.loads(line)
    except (ValueError, RecursionError):
        return line[: rng.randrange(len(line) + 1)]
    if not isinstance(fields, dict) or not fields:
        return line[: rng.randrange(len(line) + 1)]
    pairs = [(json.dumps(name), json.dumps(value)) for name, value in fields.items()]
    place, other = rng.randrange(len(pairs)), rng.choice(JSON_VALUES)
    name, _ = pairs[place]
    what = rng.randrange(7)
    if what < 3:
        pairs[place] = (name, other if what else json.dumps(rng.choice(VALUES)))
    elif what == 3:
        pairs.append((name, other))
    elif what == 4:
        pairs[place] = (json.dumps(rng.choice(VALUES)), other)
    elif what == 5:
        del pairs[place]
    else:
        return rng.choice((other, f"[{line}]", line + line, line[:-1], "{" + line, json.dumps(line)))
    return "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"


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
