"""Runs the SQL statements of `sql/` on frames: one definition of a relational step, whatever the engine."""

from functools import cache
from pathlib import Path

import polars as pl

from recsys_polars.errors import ArtefactError

_HERE = Path(__file__).parent
_FOLDERS = (_HERE / "_sql", _HERE.parent / "sql")
"""Inside an installed wheel, and in a checkout."""


@cache
def statement(name: str) -> str:
    """Return the text of `sql/<name>.sql`.

    Raises:
        ArtefactError: the installation lacks that statement.
    """
    for folder in _FOLDERS:
        path = folder / f"{name}.sql"
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise ArtefactError(f"sql/{name}.sql: not found in {' or '.join(map(str, _FOLDERS))}; reinstall recsys-polars")


def statement_names() -> list[str]:
    """Return the names of all statements, sorted."""
    return sorted({path.stem for folder in _FOLDERS for path in folder.glob("*.sql")})


def params(**values: float | str | pl.Series) -> pl.LazyFrame:
    """Return the one-row `params` table that a statement reads by CROSS JOIN. Values never enter the SQL text."""
    return pl.LazyFrame({name: value if isinstance(value, pl.Series) else [value] for name, value in values.items()})


def run_sql(name: str, **frames: pl.LazyFrame) -> pl.LazyFrame:
    """Return the lazy result of `sql/<name>.sql` over `frames`, by table name. Row order is not promised."""
    return pl.SQLContext(frames=frames).execute(statement(name), eager=False)
