"""What a search found for a kind of model, kept in STORE/models/KIND.tuned.json."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from recsys_polars.disk import write_text
from recsys_polars.errors import ArtefactError
from recsys_polars.guards import refuse_link
from recsys_polars.models.options import NAMES, OPTIONS
from recsys_polars.models.protocol import FitSettings
from recsys_polars.sealing import seal, unseal
from recsys_polars.store import Store

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Numbers:
    """The numbers from `low` to `high`: whole ones, or real ones that are searched by their logarithm."""

    low: float
    high: float
    whole: bool = False

    def __contains__(self, value: object) -> bool:
        is_number = isinstance(value, int) if self.whole else isinstance(value, int | float)
        return is_number and not isinstance(value, bool) and self.low <= value <= self.high  # type: ignore[operator]


Space = Mapping[str, Numbers | tuple[str, ...] | tuple[int, ...]]
_NETWORK: Space = {
    "learning_rate": Numbers(1e-4, 1e-2),
    "n_negatives": Numbers(1, 8, whole=True),
    "batch": (512, 1024, 2048, 4096),
}
SPACES: Mapping[str, Space] = {
    "catboost": {
        **OPTIONS["catboost"],
        "depth": Numbers(4, 8, whole=True),
        "learning_rate": Numbers(0.02, 0.3),
        "l2_leaf_reg": Numbers(1, 30),
        "n_negatives": Numbers(1, 8, whole=True),
    },
    "mlp": {**OPTIONS["mlp"], **_NETWORK},
    "two-tower": {**OPTIONS["two-tower"], **_NETWORK},
}
"""What is searched, by kind. In-batch negatives leave neither a loss nor a number of negatives to choose."""


@dataclass(frozen=True)
class Trial:
    """One set of parameters, what it ranked the valid part with (MAP@10), and its rounds."""

    parameters: Mapping[str, Any]
    map: float
    rounds: int


@dataclass(frozen=True)
class Tuned:
    """A search: on which store, by which seed, its trials, and the one that `train` takes.

    Attributes:
        store: `Store.identity` of the generation whose valid part was ranked.
        seed: of the search and of its trainings.
        users: of the valid part.
        trials: in their order; the first has the model's own parameters.
        best: the trial of the highest MAP@10, the earliest among equals.
    """

    store: str
    seed: int
    users: int
    trials: tuple[Trial, ...]
    best: Trial


def tuned_path(store: Store, kind: str) -> Path:
    """Return where the search of a kind is kept."""
    return refuse_link(store.models_folder / f"{kind}.tuned.json")


def write_tuned(path: Path, tuned: Tuned) -> None:
    """Write a search, replacing the old file at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, seal({"format_version": FORMAT_VERSION, **asdict(tuned)}))


def read_tuned(store: Store, kind: str) -> Tuned | None:
    """Return the search of a kind, whatever generation it was for; None where there was none.

    Raises:
        ArtefactError: the file is damaged.
    """
    path = tuned_path(store, kind)
    return read_search(path, kind) if path.is_file() else None


def read_search(path: Path, kind: str) -> Tuned:
    """Return the search in a file.

    Raises:
        ArtefactError: it is damaged.
    """
    try:
        raw = unseal(path.read_bytes().decode())
        if raw["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format version {raw['format_version']}")  # noqa: TRY301
        trials, best = tuple(_trial(one, kind) for one in raw["trials"]), _trial(raw["best"], kind)
        if best not in trials:
            raise ValueError("the best is none of the trials")  # noqa: TRY301
        return Tuned(str(raw["store"]), int(raw["seed"]), int(raw["users"]), trials, best)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtefactError(
            f"{path}: expected what tune writes, found {error}; "
            f"remove it, and run recsys-polars tune --model {kind} again"
        ) from error


def _trial(raw: Mapping[str, Any], kind: str) -> Trial:
    parameters = dict(raw["parameters"])
    wrong = [
        f"{name}={value!r}"
        for name, value in parameters.items()
        if name not in SPACES[kind] or value not in SPACES[kind][name]
    ]
    if wrong:
        raise ValueError(f"parameters outside of what is searched: {', '.join(wrong)}")
    if raw["map"] not in Numbers(0, 1):
        raise ValueError(f"map={raw['map']!r}")
    return Trial(parameters, float(raw["map"]), int(raw["rounds"]))


def with_parameters(settings: FitSettings, parameters: Mapping[str, Any]) -> FitSettings:
    """Train with parameters that were found, but for the options that were asked for.

    Negatives and loss go together: where one is asked for, the other isn't taken from the search.
    """
    asked = {name for name in NAMES if getattr(settings, name) is not None}
    if asked & {"negatives", "loss"}:
        asked |= {"negatives", "loss"}
    options = {name: value for name, value in parameters.items() if name in NAMES and name not in asked}
    numbers = {name: value for name, value in parameters.items() if name not in NAMES}
    return replace(settings, **options, parameters={**numbers, **settings.parameters})
