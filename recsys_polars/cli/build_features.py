"""`build-features`."""

from typing import Any

import click
from click.core import ParameterSource

from recsys_polars.cli.built import brought, counts, print_files, print_rejects, print_steps, summary
from recsys_polars.cli.shared import (
    DEFAULT_STORE,
    Command,
    command_line,
    engine_options,
    long_steps,
    memory_option,
    say,
    spark_settings,
)
from recsys_polars.cli.values import FileOr, Finite, OneOf, Whole
from recsys_polars.sources import FORMATS
from recsys_polars.splitting import SPLITS


def _mapping(ctx: click.Context, param: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str]:
    mapping: dict[str, str] = {}
    for pair in pairs:
        ours, sign, theirs = pair.partition("=")
        if not (ours and sign and theirs):
            raise click.BadParameter(f"expected OURS=THEIRS, found {pair!r}", ctx=ctx, param=param)
        if ours in mapping:
            raise click.BadParameter(f"expected {ours} once, found it again in {pair!r}", ctx=ctx, param=param)
        mapping[ours] = theirs
    return mapping


@click.command("build-features", cls=Command)
@click.option(
    "--interactions",
    type=FileOr(),
    help="A file, a quoted glob or a folder. Default: the embedded set.",
)
@click.option("--items", type=FileOr(), help="Item metadata. Default: the ids in the interactions.")
@click.option(
    "--format",
    "format_",
    type=OneOf(FORMATS),
    default="auto",
    show_default=True,
    help="Of your files; auto: by their columns.",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="OURS=THEIRS",
    callback=_mapping,
    help="What your files call a column.",
)
@click.option(
    "--time-format",
    metavar="FORMAT",
    help="Of times that are text, as '%d/%m/%Y %H:%M'. Default: numbers, ISO 8601 or 31.12.2024 18:30.",
)
@click.option(
    "--item-feature",
    "item_features",
    multiple=True,
    metavar="COLUMN",
    help="Let models use an item column of your own.",
)
@click.option("--min-rating", type=Finite(), default=4.0, show_default=True, help="The lowest rating that means liked.")
@click.option("--implicit", is_flag=True, help="Every interaction is liked; ratings are ignored.")
@click.option(
    "--split",
    type=OneOf(SPLITS),
    help="Where test begins. Default: global-time; user-time for the embedded set.",
)
@click.option(
    "--test-fraction",
    type=Finite(0, 1, max_open=True),
    default=0.1,
    show_default=True,
    help="Of all rows, or of each user's; not for last-n.",
)
@click.option("--test-n", type=Whole(1), default=1, show_default=True, help="For last-n: pairs of each user.")
@click.option(
    "--valid-fraction",
    type=Finite(0, 1, max_open=True),
    default=0.1,
    show_default=True,
    help="Of what lies before the test cut; for last-n, 0 for no valid part.",
)
@click.option(
    "--min-user-interactions",
    type=Whole(1),
    default=1,
    show_default=True,
    help="Learn from users with at least N pairs in train, counted again until it holds of all (k-core).",
)
@click.option("--min-item-interactions", type=Whole(1), default=1, show_default=True, help="The same of items.")
@click.option(
    "--text",
    type=OneOf(["tfidf", "minilm", "none"]),
    default="tfidf",
    show_default=True,
    help="Item vectors of title and description; minilm wants the extra text.",
)
@click.option(
    "--clip",
    metavar="FOLDER",
    shell_complete=FileOr(),
    help="A CLIP model: vectors of titles, and of images; wants the extra clip.",
)
@click.option("--images", type=FileOr(), metavar="FOLDER", help="Images for --clip, each called as its item_id.")
@click.option("--text-dim", type=Whole(1, 1000), help="Width of these vectors, at most.  [default: 100]")
@memory_option("For the rows at work; ids and the catalogue come on top.")
@click.option("--strict", is_flag=True, help="Fail where a row breaks a rule, instead of setting it aside.")
@click.option(
    "--append",
    "patterns",
    multiple=True,
    type=FileOr(),
    help="Add new interactions or items to the store at --out; all else is as it was built.",
)
@engine_options
@click.option(
    "--out", type=click.Path(), default=str(DEFAULT_STORE), show_default=True, help="The store, a folder or a URI."
)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    format_: str,
    memory: int,
    strict: bool,
    patterns: tuple[str, ...],
    engine: str,
    spark_master: str | None,
    spark_conf: dict[str, str],
    out: str,
    **options: Any,
) -> None:
    """Turn raw files into a feature store.

    \b
    recsys-polars build-features
    recsys-polars build-features --interactions log.csv --items items.csv
    recsys-polars build-features --interactions 'log/*.json.gz' --out store
    recsys-polars build-features --interactions log.csv --implicit \\
        --column user_id=customer --column event_time=day
    recsys-polars build-features --append tonight.csv --out store
    recsys-polars build-features --engine spark --interactions s3a://logs/2024 \\
        --implicit --out s3a://stores/2024
    """
    from recsys_polars.api.append import append_features
    from recsys_polars.api.build import build_features

    places = {"out": out, **{name: options[name] for name in ("interactions", "items")}}
    spark = spark_settings(engine, spark_master, spark_conf, **places)
    options |= {"format": format_, "memory_bytes": memory, "strict": strict}
    appended = None
    with long_steps() as progress:
        if patterns:
            _refuse_others(ctx)
            appended = append_features(out, patterns, memory_bytes=memory, strict=strict, progress=progress)
            manifest = appended.store.manifest
        elif spark:
            from recsys_polars.recipes.on_spark.build import build_features_on_spark
            from recsys_polars.recipes.raw import BuildSettings

            manifest = build_features_on_spark(BuildSettings(**options), out, spark, progress=progress)
        else:
            manifest = build_features(out, progress=progress, **options).manifest
    if appended:
        print_files(appended.files)
    print_steps(manifest)
    print_rejects(manifest)
    text, figures = brought(appended) if appended else ("", {})
    say(
        summary(manifest, out) + text,
        counts(manifest) | figures,
        following=command_line("train", "--model", "popularity", store=out),
    )


def _refuse_others(ctx: click.Context) -> None:
    """What the store was built with holds for what is appended."""
    given = ParameterSource.COMMANDLINE
    others = [
        param.opts[0]
        for param in ctx.command.params
        if param.name not in {"patterns", "out", "memory", "strict", "debug"}
        and param.name
        and ctx.get_parameter_source(param.name) == given
    ]
    if others:
        raise click.UsageError(f"--append: expected no {', '.join(others)} beside it: the store has its settings")
