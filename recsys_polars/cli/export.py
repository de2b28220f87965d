"""`export`."""

from pathlib import Path
from typing import Literal

import click

from recsys_polars.cli.shared import Command, long_steps, say, store_option
from recsys_polars.cli.values import OneOf, Whole
from recsys_polars.models import NAMES

LONGEST = 1000
"""Lists of over a thousand users are held in memory."""


@click.command("export", cls=Command)
@click.option("--model", "kind", type=OneOf(NAMES), default="two-tower", show_default=True, help="What to export.")
@click.option("--to", type=OneOf(["faiss", "parquet"]), required=True, help="faiss: an index of the items too.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="The folder to write.")
@store_option
@click.option("-k", type=Whole(1, LONGEST), default=10, show_default=True, help="Length of the lists to measure by.")
def command(*, kind: str, to: Literal["faiss", "parquet"], out: Path, store: Path, k: int) -> None:
    """Write the vectors of a two-tower model.

    Their dot product is the score: for an index of vectors, of which it measures what it finds.

    \b
    recsys-polars export --to parquet --out vectors
    recsys-polars export --to faiss --out vectors -k 100
    """
    from recsys_polars.recipes.export import export

    with long_steps() as progress:
        folder, facts = export(store, out, kind, to, k=k, progress=progress)
    recall, index = facts["recall"], facts["files"].get("items.faiss")
    searched = f"{index['probes']} of the index's {index['lists']} lists" if index else "a search of all vectors"
    say(
        f"{folder}: {facts['items']:,} items, {facts['users']:,} users, {facts['dimensions']} dimensions; {searched}: "
        f"recall@{k} {recall['of_exact_lists']:.4f} of the exact lists of {recall['users']:,} users"
    )
