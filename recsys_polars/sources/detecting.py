"""Which format a file has, and whether it has the format that it was said to have."""

from collections.abc import Mapping, Sequence

from recsys_polars.errors import InputError
from recsys_polars.sources.files import printable
from recsys_polars.sources.formats import Kind, Layout, Names, did_you_mean, resolve
from recsys_polars.sources.raw import RawFile

Without = frozenset[str]
"""Columns of ours that may be missing though the format always has them."""
_SHOWN = 30


def common_layout(
    files: Sequence[RawFile],
    kind: Kind,
    format: str,  # noqa: A002
    mapping: Mapping[str, str],
    *,
    without: Without = frozenset(),
) -> Layout:
    """Return the one layout of these files: the named format's, or the first that fits where `format` is `auto`.

    Args:
        files: at least one.
        kind: interactions or items.
        format: one of `FORMATS`.
        mapping: ours -> theirs, as the user gave it.
        without: columns of ours that may be missing.

    Raises:
        InputError: naming each file that lacks columns, what it has and what was expected; or that the files differ.
    """
    if format == "auto":
        found = {raw.path: _detected(raw, kind, mapping, without) for raw in files}
        if len({layout.format for layout in found.values()}) > 1:
            each = "; ".join(f"{path}: {layout.format}" for path, layout in found.items())
            raise InputError(
                f"format: expected files of one format, found several: {each}: read them one format at a time"
            )
        return next(iter(found.values()))
    layout = next(layout for layout in kind.layouts if layout.format == format)
    problems = [problem for raw in files if (problem := _misfit(raw, kind, layout, mapping, without))]
    if problems:
        raise InputError("; ".join(problems))
    return layout


def _detected(raw: RawFile, kind: Kind, mapping: Mapping[str, str], without: Without) -> Layout:
    for layout in kind.layouts:
        marked = not layout.marks or any(mark in raw.columns for mark in layout.marks)
        if (marked or raw.format) and _is_own(raw, layout) and not _misfit(raw, kind, layout, mapping, without):
            return layout
    expected = "; ".join(f"{layout.format}: {_expected(kind, layout)}" for layout in kind.layouts)
    hints = (did_you_mean(ours, raw.columns) for ours in kind.columns if ours not in raw.columns)
    hint = next((hint for hint in hints if hint), "")
    raise InputError(
        f"{raw.path}: expected {kind.name} of a known format ({expected}), found the columns {_shown(raw)}{hint}; "
        f"{_how_to_map(raw, kind, mapping, without)}"
    )


def _is_own(raw: RawFile, layout: Layout) -> bool:
    """Whether the file has a column by the format's own name: one that is mapped in whole is the user's format."""
    names = {name for ours in layout.required for name in layout.names.get(ours, ())}
    return layout.format == "generic" or bool(raw.format) or any(name in raw.columns for name in names)


def _how_to_map(raw: RawFile, kind: Kind, mapping: Mapping[str, str], without: Without) -> str:
    """Say which columns have to be named, and which of those that were named are not there."""
    generic = next(layout for layout in kind.layouts if layout.format == "generic")
    names = resolve(raw, kind, generic, mapping)
    missing = [ours for ours in generic.required if ours not in without and not _present(raw, names, ours)]
    wrong = {ours: mapping[ours] for ours in missing if ours in mapping}
    said = [
        f"--column {ours}={theirs} is none of them{did_you_mean(theirs, raw.columns)}" for ours, theirs in wrong.items()
    ]
    unnamed = " ".join(f"--column {ours}=..." for ours in missing if ours not in wrong)
    return "; ".join([*said, *([f"name yours with {unnamed}"] if unnamed else [])])


def _misfit(
    raw: RawFile, kind: Kind, layout: Layout, mapping: Mapping[str, str], without: frozenset[str]
) -> str | None:
    if raw.format and raw.format != layout.format:
        return f"{raw.path}: expected {layout.format}, found a file without a header that looks like {raw.format}"
    names = resolve(raw, kind, layout, mapping)
    missing = [ours for ours in layout.required if ours not in without and not _present(raw, names, ours)]
    if not missing:
        return None
    wanted = [_theirs(kind, layout, ours) for ours in missing]
    hint = next((hint for name in wanted if (hint := did_you_mean(name.split(" ")[0], raw.columns))), "")
    return (
        f"{raw.path}: expected the {layout.format} columns {_expected(kind, layout)}, "
        f"found no {', '.join(wanted)} among {_shown(raw)}{hint}"
    )


def _present(raw: RawFile, names: Names, ours: str) -> bool:
    return any(name in raw.columns for name in names.get(ours, ()))


def _expected(kind: Kind, layout: Layout) -> str:
    return ", ".join(_theirs(kind, layout, ours) for ours in layout.required)


def _theirs(kind: Kind, layout: Layout, ours: str) -> str:
    if layout.format == "generic":
        return f"{ours} (or {', '.join(kind.usual[ours])})"
    return layout.names[ours][0]


def _shown(raw: RawFile) -> str:
    names = [printable(name, 60) for name in raw.columns]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
