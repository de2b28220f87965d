"""The table of claims."""

from collections.abc import Callable, Iterable

import click

from benchmarks import features, ranking
from benchmarks.growth import growth
from benchmarks.synthetic import Shape, Synthetic
from benchmarks.timing import Result, peak_megabytes
from benchmarks.whole import whole

CLAIMS: dict[str, Callable[[Synthetic], Iterable[Result]]] = {
    "user-means": features.user_means,
    "pairs": features.pairs,
    "two-tower": lambda data: ranking.two_tower(data, n_ours=4096),
    "catboost": lambda data: ranking.catboost(data, n_theirs=4, n_ours=2048),
    "mlp": lambda data: ranking.mlp(data, n_theirs=4, n_ours=256),
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("claims", nargs=-1, type=click.Choice(list(CLAIMS)))
@click.option("--scale", type=float, default=1.0, show_default=True, help="Of the notebook's size.")
@click.option("--growth", "is_growth", is_flag=True, help="How time grows with users, items and k instead.")
@click.option("--whole", "is_whole", is_flag=True, help="The whole notebook by its commands instead: about an hour.")
def main(claims: tuple[str, ...], scale: float, is_growth: bool, is_whole: bool) -> None:
    """Measure CLAIMS (all by default) against the other way, in pairs, in this run."""
    data = Synthetic(Shape().scaled(scale))
    shape = data.shape
    click.echo(f"{shape.n_users:,} users, {shape.n_items:,} items, {len(data.users):,} pairs, 206 dimensions\n")
    if is_whole:
        _print_whole(data)
    elif is_growth:
        _print_growth(data)
    else:
        _print_claims(data, claims)


def _print_whole(data: Synthetic) -> None:
    click.echo("| step | seconds | peak resident, MB |")
    click.echo("|---|---|---|")
    seconds = 0.0
    for step in whole(data):
        click.echo(f"| {step.name} | {step.seconds:,.1f} | {step.peak_megabytes:,.0f} |")
        seconds += step.seconds
    click.echo(f"\n{seconds / 60:,.1f} minutes in all")


def _print_growth(data: Synthetic) -> None:
    click.echo("| model | users | items | k | ms a user |")
    click.echo("|---|---|---|---|---|")
    for point in growth(data):
        counts = f"{point.n_users:,} | {point.n_items:,} | {point.k:,}"
        click.echo(f"| {point.model} | {counts} | {point.seconds * 1000:.3g} |")


def _print_claims(data: Synthetic, claims: tuple[str, ...]) -> None:
    click.echo("| | against | theirs | ours | ratio | target | |")
    click.echo("|---|---|---|---|---|---|---|")
    for claim in claims or CLAIMS:
        for result in CLAIMS[claim](data):
            click.echo(_line(result))
    click.echo(f"\npeak resident memory of this process, the other side included: {peak_megabytes():,.0f} MB")


def _line(result: Result) -> str:
    cells = [
        result.claim,
        result.against,
        f"{result.theirs * 1000:.3g} ms a {result.unit}",
        f"{result.ours * 1000:.3g} ms",
        f"{result.ratio:.3g}x",
        f"{result.target:g}x",
        result.note,
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
