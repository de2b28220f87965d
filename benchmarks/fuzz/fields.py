"""What happens to the header, the fields and the lines of a text."""

import json
import random
from collections.abc import Callable
from typing import Any

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
