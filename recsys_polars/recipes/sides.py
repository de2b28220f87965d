"""Who is ranked by what: users with a history by a model, in one stage or two, the others by popularity."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from recsys_polars.disk import fingerprint
from recsys_polars.errors import InputError
from recsys_polars.knowledge import NOBODY, Knowledge, Rows
from recsys_polars.models import AUTO, KINDS
from recsys_polars.models.protocol import Device
from recsys_polars.ranking import MlpScorer, PerItemScorer, Scorer, SparseRows, TopK, rank_blocks
from recsys_polars.ranking.approximate import approximate
from recsys_polars.ranking.rescore import rescored
from recsys_polars.recipes.auto import auto_ranker
from recsys_polars.recipes.train import load_model
from recsys_polars.store import Store


@dataclass(frozen=True)
class RankSettings:
    """What to rank, for whom.

    Attributes:
        kind: the model; None: the one trained last.
        k: length of a list; shorter where a user has fewer items left.
        users: `test`, `all`, or a file of ids.
        candidates: `catalogue`, `train` (items with an interaction before the test cut), or a file of ids.
        exclude_seen: leave out what a user had before the test cut; None: as the model's recipe has it.
        candidates_from: `KIND:N`: the model orders the N best items by another model, instead of all; None: all.
        approx: let a dot product choose what an MLP scores; refused where it misses 0.1 % of the exact lists.
        memory_bytes: for the blocks of scores.
    """

    kind: str | None = None
    k: int = 10
    users: str = "test"
    candidates: str = "catalogue"
    exclude_seen: bool | None = None
    candidates_from: str | None = None
    approx: bool = False
    device: Device = "auto"
    memory_bytes: int = 2 << 30


@dataclass(frozen=True)
class Side:
    """The warm or the cold users: what ranks those at some places among them, and what the run should say of it."""

    ranked: Callable[[Rows], Iterator[TopK]]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Queue:
    """The users in the order of their ids, in two sides. `places` counts within the user's side."""

    user_ids: pl.Series
    is_warm: np.ndarray[Any, np.dtype[np.bool_]]
    places: Rows
    warm: Side
    cold: Side


@dataclass(frozen=True)
class Job:
    """What is ranked, whoever for."""

    store: Store
    kind: str
    known: Knowledge
    candidates: Rows | None
    exclude_seen: bool
    settings: RankSettings


def queue_of(job: Job, user_ids: pl.Series) -> Queue:
    """Tell warm users from cold ones, who get the popular items.

    Raises:
        InputError: options that don't go together, or with the model.
        ArtefactError: a model that isn't there, or not of this generation of the store.
    """
    rows = job.known.rows_of_users(user_ids)
    is_warm = (rows != NOBODY) & (job.known.n_positives[rows] > 0)
    cold = rows[~is_warm]
    popularity = PerItemScorer(job.known.item_counts.astype(np.float64), n_users=len(cold))
    return Queue(
        user_ids=user_ids,
        is_warm=is_warm,
        places=np.where(is_warm, is_warm.cumsum(), (~is_warm).cumsum()) - 1,
        warm=_warm_side(job, rows[is_warm]),
        cold=_scored(job, popularity, cold),
    )


def _warm_side(job: Job, users: Rows) -> Side:
    """What ranks users with a history.

    Raises:
        InputError: options that don't go together, or with the model.
        ArtefactError: a model that isn't there, or not of this generation of the store.
    """
    settings = job.settings
    if job.kind == AUTO:
        refuse_for_auto(settings)
        return Side(
            auto_ranker(job.store, job.known, users, job.candidates, k=settings.k, exclude_seen=job.exclude_seen)
        )
    model, _ = load_model(job.store, job.kind)
    scorer = model.scorer(job.known, users, device=settings.device)
    if settings.candidates_from is not None:
        return _two_stages(job, scorer, users, settings.candidates_from)
    if not settings.approx:
        return _scored(job, scorer, users)
    if not isinstance(scorer, MlpScorer):
        raise InputError(f"--approx: expected an mlp, found {model.kind}, which is ranked exactly as fast")
    quick = approximate(scorer, k=settings.k, seen=_seen(job, users), candidates=job.candidates)
    return replace(_scored(job, quick, users), facts={"recall_of_exact": quick.recall})


def refuse_for_auto(settings: RankSettings) -> None:
    """Refuse options that `auto` has no use for.

    Raises:
        InputError: it has one of them.
    """
    if settings.approx:
        raise InputError("--approx: expected an mlp, found auto")
    if settings.candidates_from is not None:
        raise InputError("--candidates-from: expected a model that scores every item, found auto, which has its own")


def _two_stages(job: Job, scorer: Scorer, users: Rows, candidates_from: str) -> Side:
    """The best items by one model, in the order of another."""
    if job.settings.approx:
        raise InputError("--approx, --candidates-from: expected one of them, found both")
    kind, n = parse_candidates_from(candidates_from)
    if n < job.settings.k:
        raise InputError(f"--candidates-from {candidates_from}: expected at least -k {job.settings.k} items, found {n}")
    first, manifest = load_model(job.store, kind)
    proposed = _scored(job, first.scorer(job.known, users, device=job.settings.device), users, k=n)
    return Side(
        lambda places: (rescored(top, scorer, k=job.settings.k) for top in proposed.ranked(places)),
        {"candidates_from": f"{kind}:{n}", "candidates_from_files": fingerprint(manifest["files"])},
    )


def parse_candidates_from(text: str) -> tuple[str, int]:
    """Return the model and the number of items of KIND:N.

    Raises:
        InputError: it isn't that.
    """
    kind, _, number = text.partition(":")
    if kind not in KINDS or not (number.isascii() and number.isdigit() and len(number) < 10 and int(number)):
        raise InputError(
            f"--candidates-from: expected MODEL:N, one of {', '.join(KINDS)} and a number of items, found {text!r}"
        )
    return kind, int(number)


def _scored(job: Job, scorer: Scorer, users: Rows, *, k: int | None = None) -> Side:
    """A side that a scorer ranks, whose user j is users[j]."""
    return Side(
        partial(
            rank_blocks,
            scorer,
            k=k or job.settings.k,
            seen=_seen(job, users),
            candidates=job.candidates,
            memory_bytes=job.settings.memory_bytes // 2,
        )
    )


def _seen(job: Job, users: Rows) -> SparseRows | None:
    return SparseRows(*job.known.seen(users)) if job.exclude_seen else None
