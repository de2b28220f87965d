"""`evaluate --report`: what was judged -> a page that shows it."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from recsys_polars import breakdowns
from recsys_polars.recipes import Progress, silent
from recsys_polars.recipes.evaluate import SEED, Evaluation, Judged, stacked
from recsys_polars.recipes.shelves import read_shelves
from recsys_polars.recipes.timing import Timing
from recsys_polars.reporting.contents import Contents, Work
from recsys_polars.reporting.lists import TAKEN
from recsys_polars.reporting.page import page
from recsys_polars.reporting.rejects import rejects_in_words
from recsys_polars.store import Store
from recsys_polars.tables import PARTS

DOWN_THE_LIST = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100)
"""Places, besides k, at which precision and recall are measured."""
_TRUTH = {
    "test": "every user with liked items in the test part",
    "warm": "those who had liked something before the cut",
}


def report(judged: Judged, evaluation: Evaluation, *, progress: Progress = silent) -> str:
    """Return one HTML page of what was judged; see `reporting`.

    Args:
        judged: the lists and their truth.
        evaluation: the figures.
        progress: told of each model.
    """
    deciles = breakdowns.popularity_deciles(judged.item_ids, judged.popularity)
    contents = Contents(
        data=_data(judged, evaluation),
        k=judged.k,
        models=list(judged.lists),
        figures=evaluation.figures,
        differences=evaluation.differences,
        **_breakdowns(judged, progress),
        shares=_shares(judged, deciles),
        deciles=deciles.group_by("decile", maintain_order=True).agg(
            n_items=pl.len(), most=pl.col("n_positives").max(), fewest=pl.col("n_positives").min()
        ),
        trainings=judged.trainings,
        works=_works(judged),
        steps=_steps(judged.store.manifest.get("steps")),
        rejects=rejects_in_words(judged.store.manifest.get("rejects")),
        shelves=read_shelves(judged.lists, judged.store),
    )
    return page(contents)


def _steps(found: Any) -> list[Mapping[str, Any]]:
    return [step for step in found if isinstance(step, dict)] if isinstance(found, list) else []


def _data(judged: Judged, evaluation: Evaluation) -> dict[str, str]:
    manifest = judged.store.manifest
    counts = _mapping(manifest.get("counts"))
    n_users, parts = counts.get("users"), _mapping(counts.get("parts"))
    pairs = {part: _mapping(parts[part]).get("pairs") for part in PARTS if part in parts}
    told = {
        "Users judged": f"{evaluation.truth_users:,}" + (f" of {n_users:,}" if isinstance(n_users, int) else ""),
        "Cold among them": f"{evaluation.cold_users:,}",
        "That is": _TRUTH[judged.users],
        "Without a list, which scores 0": "; ".join(
            f"{n:,} in {name}" for name, run in judged.runs.items() if (n := run["users_without_list"])
        ),
        "Lists": f"top {judged.k:,} of {len(judged.item_ids):,} items",
        "Pairs": ", ".join(f"{n:,} {part}" for part, n in pairs.items() if isinstance(n, int)),
        "Cut": (split := str(_mapping(manifest.get("parameters")).get("split", ""))),
        "Test part from": _first_test_day(judged.store) if split == "global-time" else "",
        "Store": f"{judged.store.path}, generation {judged.store.generation}",
    }
    return {what: text for what, text in told.items() if text}


def _first_test_day(store: Store) -> str:
    test = store.scan("labelled").filter(pl.col("part") == "test")
    return str(test.select(pl.col("event_time").min().dt.date()).collect().item())


def _breakdowns(judged: Judged, progress: Progress) -> dict[str, pl.DataFrame]:
    truth, likes, k = judged.truth, judged.likes, judged.k
    ks = _places(judged.lists, k)
    made: dict[str, dict[str, pl.DataFrame]] = {
        name: {} for name in ("by_history", "by_warmth", "by_popularity", "over_k")
    }
    for number, (name, predictions) in enumerate(judged.lists.items()):
        progress("break the figures down", number, len(judged.lists))
        users = judged.users_of[name]
        made["by_history"][name] = breakdowns.by_history(users, likes, seed=SEED)
        made["by_warmth"][name] = breakdowns.by_history(users, likes, seed=SEED, bounds=breakdowns.COLD_AND_WARM)
        made["by_popularity"][name] = breakdowns.by_popularity(predictions, truth, judged.popularity, k=k, seed=SEED)
        made["over_k"][name] = breakdowns.over_k(predictions, truth, ks, seed=SEED)
    return {which: stacked(tables) for which, tables in made.items()}


def _places(lists: Mapping[str, pl.DataFrame], k: int) -> list[int]:
    """k, and the places above and below that the lists of every model reach."""
    reached = min(int(own.select(pl.col("rank").max().fill_null(0)).item()) for own in lists.values())
    return sorted({k, *(place for place in DOWN_THE_LIST if place <= max(k, reached))})


def _shares(judged: Judged, deciles: pl.DataFrame) -> pl.DataFrame:
    truth_users = judged.truth.select("user_id").unique()
    shown = {
        name: predictions.filter(pl.col("rank") <= judged.k).join(truth_users, on="user_id", how="semi")
        for name, predictions in judged.lists.items()
    }
    pairs = {**shown, TAKEN: judged.truth}
    return stacked({name: breakdowns.shares_of_deciles(own, deciles, seed=SEED) for name, own in pairs.items()})


def _works(judged: Judged) -> list[Work]:
    """The build, and the training and the ranking of each model."""
    works = [_work("build", None, None, judged.timings["build", ""])]
    for name, run in judged.runs.items():
        kind = str(run.get("model"))
        users, items = (value if isinstance(value := run.get(key), int) else None for key in ("users", "items"))
        works += [
            _work("train", name, kind, judged.timings["train", name], seconds=run["train_seconds"]),
            _work("rank", name, kind, judged.timings["rank", name], users=users, items=items),
        ]
    return works


def _work(run: str, name: str | None, kind: str | None, timing: Timing | None, **known: Any) -> Work:
    if timing is None:
        return Work(run, name, kind, **known)
    return Work(run, name, kind, timing.steps, peak_bytes=timing.peak_bytes, **{"seconds": timing.seconds, **known})


def _mapping(value: Any) -> Mapping[str, Any]:
    """What a manifest says, if it is what we would have written: stores come from others, too."""
    return value if isinstance(value, dict) else {}
