"""`audit_leaks`: what a store knows of the time after its cuts."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from recsys_polars import auditing, splitting, user_means
from recsys_polars.auditing import PAIR
from recsys_polars.errors import ArtefactError
from recsys_polars.foresight import FEWEST_PAIRS, Foresight, foresee, pair_at_random
from recsys_polars.outcomes import list_outcomes
from recsys_polars.recipes import Progress, silent
from recsys_polars.recipes.features import fit_features
from recsys_polars.recipes.pairs import cut_interactions, filter_train, find_core, label_pairs
from recsys_polars.recipes.raw import BuildSettings, settings_of
from recsys_polars.store import Store, open_store
from recsys_polars.tables import CUTS, PARTS, features_table

ANOTHER_PROCESSOR = 1e-3
"""How far TF-IDF may lie apart where another processor built the store: 2.5e-4 at most on the data at hand."""
TENSORS = ".safetensors"
KEYS = {
    "labelled": PAIR,
    "filtered": PAIR,
    "repeats": (*PAIR, "part"),
    **{features_table(cut): ("item_id",) for cut in CUTS},
    "user_means": ("user_id", "before"),
}
Tables = dict[str, pl.DataFrame]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: of the check.
        compared: with what.
        found: in a few words.
        leaks: a line for each leak: table, column, row, what was expected and found.
    """

    name: str
    compared: str
    found: str
    leaks: list[str]


@dataclass(frozen=True)
class Audit:
    """A store under audit: what its build was asked for, its catalogue, its interactions with their parts."""

    store: Store
    settings: BuildSettings
    items: pl.DataFrame
    parted: pl.DataFrame


def audit_leaks(path: Path, *, progress: Progress = silent) -> list[Check]:
    """Look for what the store at `path` knows of the time after its cuts.

    Raises:
        ArtefactError: no store there, a damaged one, or one that lacks a table.
    """
    audit = _open(path)
    checks = [_check_cuts(audit)]
    for step, cut in enumerate(CUTS):
        progress("rebuild without what came later", step, len(CUTS))
        stored, rebuilt = _stored(audit.store, cut), _rebuild(audit, cut, _before(audit.parted, cut))
        checks += [_check_rows(audit, cut, stored, rebuilt), _check_means(audit, cut, stored, rebuilt)]
        progress("rebuild without what came later", step + 1, len(CUTS))
    checks.append(_check_pairs(audit.store))
    progress("look for foresight in columns", 0, 0)
    return [*checks, *_check_columns(audit)]


def _open(path: Path) -> Audit:
    store = open_store(path)
    settings = settings_of(store)
    # The cuts are those of all interactions: deleting what came after one must not move it.
    parted = cut_interactions(store.scan("interactions"), settings).collect()
    return Audit(store, settings, store.scan("items").collect(), parted)


def _before(rows: pl.DataFrame, cut: str) -> pl.DataFrame:
    return rows.filter(pl.col("part").is_in(PARTS[: PARTS.index(cut)]))


def _stored(store: Store, cut: str) -> Tables:
    """Read the tables that serve a cut; their vectors once more as tensors, by the name of the file."""
    features = features_table(cut)
    found = {name: store.scan(name).collect() for name in ("labelled", "repeats", "filtered", features)}
    found["user_means"] = store.scan("user_means").filter(pl.col("before") == cut).collect()
    tensors = {features: store.tensors(features), "user_means": {"mean": store.tensors("user_means")[cut]}}
    for table, vectors in tensors.items():
        columns = {name: pl.Series(rows, dtype=pl.Array(pl.Float32, rows.shape[1])) for name, rows in vectors.items()}
        found[table + TENSORS] = found[table].select(KEYS[table]).with_columns(**columns)
    return found


def _rebuild(audit: Audit, cut: str, parted: pl.DataFrame) -> Tables:
    """Build the tables that serve a cut from these interactions; items that only others bring don't exist."""
    says_more = pl.any_horizontal(pl.all().exclude("item_id").is_not_null())
    items = audit.items.filter(says_more | pl.col("item_id").is_in(parted["item_id"].implode()))
    labelled, repeats = label_pairs(parted, audit.settings)
    labelled, repeats, filtered = filter_train(labelled, repeats, find_core(labelled.lazy(), audit.settings))
    known = splitting.history(labelled.lazy(), repeats.lazy(), before=cut).collect()
    features, means = fit_features(items, known, audit.settings, before=cut)
    pairs = {"labelled": labelled, "repeats": repeats, "filtered": filtered}
    return {**pairs, features_table(cut): features, "user_means": means}


def _check_cuts(audit: Audit) -> Check:
    """Parts follow each other in time."""
    split = audit.settings.split
    leaks = auditing.rows_out_of_time(audit.parted.lazy(), by_user=split != "global-time", ties=split == "last-n")
    return Check("cuts", f"{audit.parted.height:,} interactions", "out of time" if leaks else "in time", leaks)


def _check_rows(audit: Audit, cut: str, stored: Tables, rebuilt: Tables) -> Check:
    """Rows before a cut are what they are without the interactions after it."""
    leaks = _changes(stored, rebuilt, cut)
    if leaks and not _changes(_rebuild(audit, cut, audit.parted), rebuilt, cut):
        # Deleting the later interactions changes nothing here and now: another processor may have built the store.
        leaks = _changes(stored, rebuilt, cut, rounding=ANOTHER_PROCESSOR)
    later = audit.parted.height - _before(audit.parted, cut).height
    compared = f"rebuilt without {later:,} later interactions"
    return Check(f"rows before the {cut} cut", compared, "changed" if leaks else "the same", leaks)


def _changes(found: Tables, rebuilt: Tables, cut: str, *, rounding: float = 0.0) -> list[str]:
    """Compare tables with rebuilt ones, as far as they are of the time before a cut."""
    leaks = []
    for file, rows in found.items():
        table = file.removesuffix(TENSORS)
        expected = rebuilt[table] if file == table else rebuilt[table].select(rows.columns)
        if "part" in rows.columns:
            kept = _before(rows, cut)
        elif "item_id" in rows.columns:
            kept = rows.join(expected, on="item_id", how="semi", maintain_order="left")
        else:
            kept = rows
        leaks += auditing.changes(file, kept, expected, key=KEYS[table], rounding=rounding)
    return leaks


def _check_means(audit: Audit, cut: str, stored: Tables, rebuilt: Tables) -> Check:
    """No interaction after a cut is in a user mean before it, whatever the item vectors are."""
    tensors = audit.store.tensors(features_table(cut))
    blocks = audit.store.manifest["blocks"]
    if tensors.keys() != set(blocks):
        raise ArtefactError(f"{audit.store.path}: expected the vectors {', '.join(blocks)}, found {', '.join(tensors)}")
    vectors = np.hstack([tensors[block] for block in blocks])
    item_ids = stored[features_table(cut)]["item_id"]
    known = splitting.history(rebuilt["labelled"].lazy(), rebuilt["repeats"].lazy(), before=cut)
    counts, means = user_means.aggregate_user_means(known, item_ids, vectors, before=cut)
    expected = counts.with_columns(pl.Series("mean", means, dtype=pl.Array(pl.Float32, means.shape[1])))
    later = audit.parted.filter(~pl.col("part").is_in(PARTS[: PARTS.index(cut)]))
    found = stored["user_means"]
    mapped = found.with_columns(stored["user_means" + TENSORS]["mean"])
    leaks = [
        line
        for file, rows in (("user_means", found), ("user_means" + TENSORS, mapped))
        for line in auditing.later_items_in_means(file, rows, expected, later, item_ids, vectors)
    ]
    verdict = "with later items" if leaks else "without later items"
    return Check(f"means before the {cut} cut", f"{found.height:,} user means", verdict, leaks)


def _check_pairs(store: Store) -> Check:
    """No pair stands in two parts."""
    pairs = pl.concat([store.scan("labelled"), store.scan("filtered")]).collect()
    leaks = auditing.pairs_in_two_parts(pairs)
    return Check("pairs", f"{pairs.height:,} pairs", "in two parts" if leaks else "each in one part", leaks)


def _check_columns(audit: Audit) -> list[Check]:
    """No supplied number knows the test period: the price, and the numeric item features."""
    numbers = audit.items.select(name for name in ("price", *audit.settings.item_features))
    columns = [column for column in numbers if column.dtype.is_numeric() and column.n_unique() > 1]
    if not columns:
        return []
    labelled = label_pairs(audit.parted, audit.settings)[0]
    outcomes = list_outcomes(audit.parted, labelled, audit.items["item_id"])
    checks = []
    for outcome in outcomes:
        at_random = pair_at_random(outcome)
        for column in columns:
            values = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
            seen = foresee(values, outcome, at_random)
            checks.append(_check_column(column.name, outcome.name, seen, len(columns) * len(outcomes)))
    return sorted(checks, key=lambda check: check.name)


def _check_column(name: str, outcome: str, seen: Foresight, n_tests: int) -> Check:
    figures = f"share {seen.share:.2f} (p {max(seen.p_chance, seen.p_equals):.1g})"
    correlations = f"r {seen.r_train:.3f} to train, {seen.r_all:.3f} to all"
    if seen.n_pairs < FEWEST_PAIRS:
        figures = "too few pairs to tell"
    leaks = []
    if seen.is_too_even(n_tests):
        leaks.append(
            f"items: {name}: expected {outcome} of items of equal train statistic to be foreseen no better than chance "
            f"allows, share 0.50, found {figures}"
        )
    if seen.is_copy():
        leaks.append(f"items: {name}: expected no statistic over {outcome} and earlier ones, found {correlations}")
    return Check(f"column {name}", f"{outcome}, {seen.n_pairs:,} pairs of items", f"{figures}; {correlations}", leaks)
