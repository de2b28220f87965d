"""The data set that comes with a checkout."""

from pathlib import Path

from recsys_polars.errors import InputError

FOLDER = Path(__file__).parents[2] / "data" / "movielens-small"


def embedded_files() -> tuple[Path, Path]:
    """Return the interactions and the items of the embedded set.

    Raises:
        InputError: they are not there; an installed package has none.
    """
    files = FOLDER / "ratings.parquet", FOLDER / "movies.parquet"
    if not all(file.is_file() for file in files):
        raise InputError("--interactions: expected a file, found none: an installed package has no embedded data")
    return files
