"""`python -m benchmarks.fuzz`: hostile inputs of every kind; exit code 1 where one of them found a fault."""

import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks.fuzz.judging import KINDS, Verdict
from benchmarks.fuzz.pool import run_cases

HEADER = ("kind of input", "cases", "exit 0", "exit 2", "findings")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--n", "n_cases", type=click.IntRange(1), default=1000, show_default=True, help="How many.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of all of them.")
@click.option("--case", "only", type=click.IntRange(0), help="Run this one again; its files stay.")
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True)
def main(n_cases: int, seed: int, only: int | None, workers: int) -> None:
    """Damage valid inputs, run the program on them, and print what it did not refuse or count as it should."""
    scratch = Path(tempfile.mkdtemp(prefix="fuzz-"))
    if only is not None:
        verdict = run_cases(seed, [only], scratch, n_workers=1, told=lambda _: None, keep=True)[0]
        click.echo(f"{verdict.kind}: {verdict.note}: exit code {verdict.code}: {verdict.finding or 'no finding'}")
        for command in verdict.commands:
            click.echo(f"recsys-polars {shlex.join(command)}")
        return

    def tell(verdict: Verdict) -> None:
        if verdict.finding:
            where = f"--seed {seed} --case {verdict.number}"
            click.echo(f"{where}: {verdict.kind}: {verdict.note}: {verdict.finding}", err=True)

    verdicts = run_cases(seed, range(n_cases), scratch, n_workers=workers, told=tell)
    for line in table(verdicts):
        click.echo(line)
    sys.exit(any(verdict.finding for verdict in verdicts))


def table(verdicts: Sequence[Verdict]) -> list[str]:
    """Return a Markdown table by kind of input, and the largest peak of memory."""
    rows = [_row(kind, [v for v in verdicts if v.kind == kind]) for kind in KINDS]
    lines = [f"| {' | '.join(row)} |" for row in (HEADER, ["---"] * len(HEADER), *rows, _row("all", verdicts))]
    peak = max((verdict.peak for verdict in verdicts), default=0)
    return [*lines, "", f"largest peak of memory: {peak / 1e6:,.0f} MB"]


def _row(name: str, verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    counts = [
        len(verdicts),
        *(sum(v.code == code for v in verdicts) for code in (0, 2)),
        sum(bool(v.finding) for v in verdicts),
    ]
    return (name, *(f"{count:,}" for count in counts))


if __name__ == "__main__":
    main()
