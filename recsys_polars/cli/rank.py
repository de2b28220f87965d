"""`rank`."""

from pathlib import Path
from typing import Any

import click

from recsys_polars.cli.shared import (
    DEFAULT_STORE,
    LARGEST_K,
    Command,
    command_line,
    device_option,
    engine_options,
    long_steps,
    memory_option,
    say,
    spark_settings,
)
from recsys_polars.cli.values import FileOr, ModelName, Whole, may_import

FIGURES = (
    *("users", "cold_users", "unknown_users", "items", "unknown_candidates", "k"),
    *("recall_of_exact", "rank_seconds"),
)
"""What the summary says in numbers."""
EVALUATED_K = 10


def _proposer(ctx: click.Context, param: click.Parameter, text: str | None) -> str | None:  # noqa: ARG001
    may_import((text or "").rpartition(":")[0])
    return text


@click.command("rank", cls=Command)
@click.option("--out", type=click.Path(dir_okay=False), required=True, help="The Parquet file to write.")
@click.option("--model", type=ModelName(), help="Default: the model trained last.")
@click.option("--store", type=click.Path(), default=str(DEFAULT_STORE), show_default=True, help="The feature store.")
@click.option("-k", type=Whole(1, LARGEST_K), default=10, show_default=True, help="Length of a list.")
@click.option("--users", type=FileOr("test", "all"), default="test", show_default=True, help="Whom to rank for.")
@click.option(
    "--candidates",
    type=FileOr("catalogue", "train"),
    default="catalogue",
    show_default=True,
    help="What to choose from.",
)
@click.option("--exclude-seen/--include-seen", default=None, help="Default: exclude; include for --recipe notebook.")
@click.option(
    "--candidates-from",
    metavar="MODEL:N",
    callback=_proposer,
    help="Let the model order the N best items by another model, not all.",
)
@click.option(
    "--approx", is_flag=True, help="mlp only: let a dot product choose what is scored; measure what it misses."
)
@device_option
@memory_option("For the blocks of scores.")
@engine_options
def command(
    *,
    store: str,
    out: str,
    memory: int,
    engine: str,
    spark_master: str | None,
    spark_conf: dict[str, str],
    **options: Any,
) -> None:
    """Rank the catalogue for users of the test part, or all.

    \b
    recsys-polars rank --out preds.parquet
    recsys-polars rank --model two-tower --users all -k 50 --out lists.parquet
    recsys-polars rank --model catboost --candidates-from two-tower:500 \\
        --out lists.parquet
    recsys-polars rank --model mlp --approx --users all --out lists.parquet
    recsys-polars rank --engine spark --store s3a://stores/2024 \\
        --out s3a://lists/2024.parquet

    Exactly, but for auto, --candidates-from and --approx.
    """
    from recsys_polars.api.rank import rank

    places = {"store": store, "out": out, **{name: options[name] for name in ("users", "candidates")}}
    spark = spark_settings(engine, spark_master, spark_conf, **places)
    with long_steps() as progress:
        if spark:
            from recsys_polars.recipes.on_spark.rank import rank_on_spark
            from recsys_polars.recipes.sides import RankSettings

            settings = RankSettings(kind=options.pop("model"), memory_bytes=memory, **options)
            figures = rank_on_spark(store, out, settings, spark, progress=progress)
        else:
            figures = rank(store, out, memory_bytes=memory, progress=progress, **options)
    say(
        summary(figures, out, users=options["users"]),
        {name: figures.get(name) for name in FIGURES},
        following=_following(figures, out, store) if options["users"] == "test" else None,  # else they are to be served
    )


def _following(figures: dict[str, Any], out: str, store: str) -> str:
    """The command that judges the lists, beside those of popularity where they lie in the same folder."""
    popular = Path(out).with_name("popularity.parquet")
    files = [popular, out] if popular.is_file() and popular != Path(out) else [out]
    length = [] if figures["k"] >= EVALUATED_K else ["-k", figures["k"]]
    return command_line("evaluate", *files, *length, "--report", "report.html", store=store)


def summary(figures: dict[str, Any], out: str | Path, *, users: str = "test") -> str:
    """Return the summary line of a ranking."""
    whom = "users of the test part" if users == "test" else "users"
    cold = f"{figures['cold_users']:,} of them cold, served by popularity"
    unknown = [f"{what} unknown to the store: {figures[f'unknown_{what}']:,}" for what in ("users", "candidates")]
    unknown = [text for text in unknown if not text.endswith(" 0")]
    if "candidates_from" in figures:
        unknown.append(f"among candidates from {figures['candidates_from']}")
    if "recall_of_exact" in figures:
        unknown.append(f"{figures['recall_of_exact']:.2%} of the exact lists found, where both were made")
    notes = ", ".join([cold, *unknown])
    return (
        f"{out}: {figures['model']}, top {min(figures['k'], figures['items'])} of {figures['items']:,} items "
        f"for {figures['users']:,} {whom} ({notes}) in {figures['rank_seconds']:.1f} s"
    )
