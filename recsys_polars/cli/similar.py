"""`similar`."""

from pathlib import Path

import click

from recsys_polars.cli.shared import LARGEST_K, Command, clipped, print_table, say, store_option
from recsys_polars.cli.values import Whole


@click.command("similar", cls=Command)
@click.argument("item")
@click.option("--block", metavar="NAME", help="The vectors to compare. Default: the text's, or else the store's first.")
@store_option
@click.option("-k", type=Whole(1, LARGEST_K), default=10, show_default=True, help="How many.")
def command(*, item: str, block: str | None, store: Path, k: int) -> None:
    """Show the items nearest to ITEM.

    By the cosines of their vectors, exactly; equal ones by item_id.

    \b
    recsys-polars similar 260
    recsys-polars similar 260 --block clip_img -k 20
    """
    from recsys_polars.recipes.similar import similar

    title, block, nearest = similar(store, item, block=block, k=k)
    rows = [
        [str(row["rank"]), clipped(row["item_id"]), clipped(row["title"], 60), f"{row['cosine']:z6.4f}"]
        for row in nearest.to_dicts()
    ]
    print_table(["rank", "item_id", "title", "cosine"], rows, to_the_right=False)
    say(f"{item}: {clipped(title, 60)}; the nearest {len(rows):,} items by {block}")
