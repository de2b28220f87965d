"""`build-features`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from recsys_polars.cli.shared import (
    DEFAULT_STORE,
    Command,
    clipped,
    command_line,
    engine_options,
    long_steps,
    memory_option,
    print_table,
    say,
    spark_settings,
)
from recsys_polars.cli.values import FileOr, Finite, OneOf, Whole
from recsys_polars.sources import FORMATS
from recsys_polars.splitting import SPLITS
from recsys_polars.tables import PARTS

_PATH, _FOUND = 500, 40
"""Characters of a path, and of a value in a file, that are shown."""
SHOWN = 30
"""Columns left out that the summary names; the manifest has them all."""


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
    from recsys_polars.api.build import build_features
    from recsys_polars.recipes.append import append_features

    places = {"out": out, **{name: options[name] for name in ("interactions", "items")}}
    spark = spark_settings(engine, spark_master, spark_conf, **places)
    options |= {"format": format_, "memory_bytes": memory, "strict": strict}
    with long_steps() as progress:
        if patterns:
            _refuse_others(ctx)
            append = append_features(Path(out), patterns, memory_bytes=memory, strict=strict, progress=progress)
            manifest = append.manifest
        elif spark:
            from recsys_polars.recipes.on_spark.build import build_features_on_spark
            from recsys_polars.recipes.raw import BuildSettings

            manifest = build_features_on_spark(BuildSettings(**options), out, spark, progress=progress)
        else:
            manifest = build_features(out, progress=progress, **options).manifest
    print_steps(manifest)
    print_rejects(manifest)
    say(
        summary(manifest, out),
        counts(manifest),
        following=command_line("train", "--model", "auto", store=out),
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


def print_steps(manifest: Any) -> None:
    """Print what became of every row."""
    columns = ["rows_in", "rows_out", "merged", "rejected"]
    rows = [[step["name"], *(f"{step[column]:,}" for column in columns)] for step in manifest["steps"]]
    print_table(["step", *columns], rows)


def print_rejects(manifest: Any) -> None:
    """Print how many rows broke which rule, and where the first of them is."""
    rows = []
    for table, entry in manifest.get("rejects", {}).items():
        first = {row["rule"]: row for row in entry.get("first", ())}  # stores of old have none
        rows += [[table, f"{n:,}", rule, _origin(first.get(rule, {}))] for rule, n in entry["rules"].items()]
    if rows:
        click.echo()
        print_table(["rejected", "rows", "rule", "first of them"], rows, to_the_right=False)


def _origin(row: Mapping[str, Any]) -> str:
    """Say where a raw row is, and what was found there, as far as it is known."""
    where, found = _where(row), row.get("found")
    return where if found is None else f"{where}: {clipped(found, _FOUND)!r}"


def _where(row: Mapping[str, Any]) -> str:
    file, line = row.get("file"), row.get("line")
    return (clipped(file, _PATH) if file else "") + (f", line {line:,}" if line else "")


def counts(manifest: Any) -> dict[str, int]:
    """Return what the summary of a build counts: users, items, pairs of each part, repeats, rejected rows."""
    said = manifest["counts"]
    return {
        "users": said["users"],
        "items": said["items"],
        **{part: said["parts"].get(part, {}).get("pairs", 0) for part in PARTS},
        "repeats": sum(said["repeats"].values()),
        "rejected": sum(entry["rows"] for entry in manifest.get("rejects", {}).values()),
        "unread_prices": manifest.get("unread_prices", {}).get("rows", 0),
    }


def summary(manifest: Any, out: str | Path) -> str:
    """Return the summary line of a build."""
    counted = counts(manifest)
    parts = ", ".join(f"{counted[part]:,} {part}" for part in PARTS)
    text = f"{out}: {counted['users']:,} users, {counted['items']:,} items, pairs: {parts}"
    text += f", {counted['repeats']:,} repeats"
    for block, entry in manifest.get("encoded", {}).items():
        text += f"; {block}: {entry['contents']:,} encoded, {entry['new']:,} of them now"
    if counted["rejected"]:
        text += f"; {counted['rejected']:,} rows rejected, see {out}/rejects"
    if counted["unread_prices"]:
        first = manifest["unread_prices"]["first"]
        text += f"; {counted['unread_prices']:,} prices could not be read, such as "
        text += f"{clipped(first['found'], _FOUND)!r} ({_where(first)})"
    if manifest["parameters"]["implicit"] and not manifest["asked"]["implicit"]:
        text += "; no ratings found: every row is liked"
    for kind, name in (("interaction", "left_out_of_interactions"), ("item", "left_out_columns")):
        left_out = manifest.get(name, [])
        more = f" and {len(left_out) - SHOWN:,} more" if len(left_out) > SHOWN else ""
        if left_out:
            text += f"; {kind} columns left out: {', '.join(left_out[:SHOWN])}{more}"
    return text
