"""What `audit-leaks` says of honest and leaking columns, how often it errs: `python -m benchmarks.leaks STORE...`."""

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import polars as pl

from recsys_polars import foresight
from recsys_polars.outcomes import count_outcome, list_outcomes
from recsys_polars.recipes.build import cut_interactions, label_pairs
from recsys_polars.recipes.raw import BuildSettings
from recsys_polars.store import Store, open_store

LEVELS = (0.05, 0.01, 0.001)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("stores", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--worlds", type=int, default=1000, show_default=True, help="Made catalogues for the rate of false alarms."
)
def main(stores: tuple[Path, ...], worlds: int) -> None:
    """Print the figures of docs/decisions/0009-leak-audit.md; stores as `build-features` leaves them."""
    click.echo("column that knows the true rates, false alarms at p of " + ", ".join(map(str, LEVELS)))
    for needed in (1, 3, 5):
        click.echo(f"items from {needed} rows on: {', '.join(f'{rate:.4f}' for rate in _false_alarms(needed, worlds))}")
    for path in stores:
        for split in ("global-time", "user-time"):
            for line in _lines(open_store(path), split):
                click.echo(f"{path.name} {split} {line}")


def _false_alarms(needed: int, worlds: int) -> list[float]:
    """How often a column that knows how well each item sells, but nothing of chance, is under each level."""
    p_values = []
    for seed in range(worlds):
        rng = np.random.default_rng(seed)
        rates = rng.gamma(0.5, 2, 3_000)
        before, after = rng.poisson(9 * rates), rng.poisson(rates)
        kept = before + after >= needed
        outcome = count_outcome("counts", before[kept], after[kept])
        p_values.append(foresight.foresee(rates[kept], outcome, np.zeros(2)).p_chance)
    return [float(np.mean(np.array(p_values) <= level)) for level in LEVELS]


def _lines(store: Store, split: str) -> Iterator[str]:
    parameters = {
        name: store.manifest["parameters"][name] for name in ("test_fraction", "valid_fraction", "min_rating")
    }
    settings = BuildSettings(**parameters, split=split)
    parted = cut_interactions(store.scan("interactions"), settings).collect()
    items = store.scan("items").collect()
    columns = _columns(items, parted)
    for outcome in list_outcomes(parted, label_pairs(parted.lazy(), settings)[0], items["item_id"]):
        at_random = foresight.pair_at_random(outcome)
        for name in columns.columns:
            values = columns[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
            seen = foresight.foresee(values, outcome, at_random)
            verdict = [word for word, said in (("too even", seen.is_too_even(6)), ("copy", seen.is_copy())) if said]
            yield (
                f"| {outcome.name} | {name}: {seen.n_pairs} pairs, share {seen.share:.2f}, "
                f"p by chance {seen.p_chance:.0e}, among equals {seen.p_equals:.0e}; "
                f"r {seen.r_train:.3f} train, {seen.r_all:.3f} all; {' '.join(verdict)}"
            )


def _columns(items: pl.DataFrame, parted: pl.DataFrame) -> pl.DataFrame:
    """Honest columns, then statistics over all rows, by item of the catalogue."""
    part, rating = pl.col("part"), pl.col("rating")
    of_items = parted.group_by("item_id").agg(
        train_count=(part != "test").sum(),
        valid_count=(part == "valid").sum(),
        train_mean=rating.filter(part != "test").mean(),
        all_count=pl.len(),
        all_users=pl.col("user_id").n_unique(),
        all_likes=(rating >= 4).sum(),
        all_mean=rating.mean(),
    )
    supplied = ["item_id", *(name for name in items.columns if items.schema[name].is_numeric())]
    wide = items.select(supplied).join(of_items, on="item_id", how="left", maintain_order="left")
    wide = wide.with_columns(
        noise=pl.Series(np.random.default_rng(0).random(items.height)),
        all_mean_rounded=(2 * pl.col("all_mean")).round() / 2,
        all_deciles=(10 * pl.col("all_count").rank() / pl.len()).floor(),
    )
    return wide.drop("item_id").select(column for column in wide.drop("item_id") if column.n_unique() > 1)


if __name__ == "__main__":
    main()
