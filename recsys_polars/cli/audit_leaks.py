"""`audit-leaks`."""

from pathlib import Path

import click

from recsys_polars.cli.shared import DEFAULT_STORE, Command, command_line, long_steps, print_table, say
from recsys_polars.errors import LeakError

SHOWN = 20
"""Leaks that the message names; the table has every check."""


@click.command("audit-leaks", cls=Command)
@click.argument("store", type=click.Path(path_type=Path), default=DEFAULT_STORE)
def command(*, store: Path) -> None:
    """Check that nothing knows what came after a cut.

    Exit code 2 where something does. STORE is data/store unless you name another.

    \b
    recsys-polars audit-leaks data/store

    Rows before a cut must be the same when the store is rebuilt without the interactions after it, no pair may stand
    in two parts, and no later interaction in a user mean.

    No number of the items may foresee the test part. Of two items of equal train statistic that the column holds for
    alike, chance shares out the test rows: `share` of the ways to do so are more even than the real one, 0.5 by chance,
    less if the column knew. And none may be a copy of a statistic: `r` is the rank correlation with that over train
    rows, and over all.
    """
    from recsys_polars.recipes.audit import audit_leaks

    with long_steps() as progress:
        checks = audit_leaks(store, progress=progress)
    print_table(
        ["check", "compared", "found"],
        [[check.name, check.compared, f"{'LEAK: ' if check.leaks else ''}{check.found}"] for check in checks],
        to_the_right=False,
    )
    leaks = [leak for check in checks for leak in check.leaks]
    if leaks:
        more = [f"and {len(leaks) - SHOWN:,} more"] if len(leaks) > SHOWN else []
        told = "\n  ".join([*leaks[:SHOWN], *more])
        raise LeakError(f"{store}: expected nothing of the time after a cut, found {len(leaks):,} leaks:\n  {told}")
    say(
        f"{store}: no leak found by {len(checks)} checks",
        {"checks": len(checks)},
        following=None if (store / "models").is_dir() else command_line("train", "--model", "popularity", store=store),
    )
