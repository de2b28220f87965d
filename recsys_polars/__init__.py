"""From raw interaction logs to ranked lists: a Polars feature store, rankers on it, exact top-k over the catalogue.

    import recsys_polars as rp

    store = rp.build_features("store", interactions="reviews/*.json.gz", items="meta.json.gz")
    rp.train(store, "catboost")
    rp.rank(store, "preds.parquet", k=20)
    rp.evaluate("preds.parquet", store).figures

Each name is imported when it is first asked for, so that `import recsys_polars` waits for no heavy library. The
examples in the docstrings go on where those of `build_features`, `train` and `rank` end.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsys_polars import metrics as metrics
    from recsys_polars.api.append import append_features as append_features
    from recsys_polars.api.build import build_features as build_features
    from recsys_polars.api.evaluate import evaluate as evaluate
    from recsys_polars.api.rank import rank as rank
    from recsys_polars.api.train import train as train
    from recsys_polars.catalogue import complete_catalogue as complete_catalogue
    from recsys_polars.catalogue import deduplicate_items as deduplicate_items
    from recsys_polars.counting import find_core as find_core
    from recsys_polars.counting import popularity as popularity
    from recsys_polars.errors import ArtefactError as ArtefactError
    from recsys_polars.errors import InputError as InputError
    from recsys_polars.errors import ModelError as ModelError
    from recsys_polars.errors import RecsysError as RecsysError
    from recsys_polars.errors import TableError as TableError
    from recsys_polars.item_features import build_item_features as build_item_features
    from recsys_polars.knowledge import Knowledge as Knowledge
    from recsys_polars.knowledge import user_vectors as user_vectors
    from recsys_polars.labelling import label_interactions as label_interactions
    from recsys_polars.models.protocol import FitSettings as FitSettings
    from recsys_polars.models.protocol import Model as Model
    from recsys_polars.ranking import DotScorer as DotScorer
    from recsys_polars.ranking import MlpScorer as MlpScorer
    from recsys_polars.ranking import PerItemScorer as PerItemScorer
    from recsys_polars.ranking import Scorer as Scorer
    from recsys_polars.ranking import SparseRows as SparseRows
    from recsys_polars.ranking import TopK as TopK
    from recsys_polars.ranking import TreeScorer as TreeScorer
    from recsys_polars.ranking import UserBlock as UserBlock
    from recsys_polars.ranking import rank_blocks as rank_blocks
    from recsys_polars.recipes import knowledge_before as knowledge_before
    from recsys_polars.splitting import assign_parts as assign_parts
    from recsys_polars.splitting import deduplicate_interactions as deduplicate_interactions
    from recsys_polars.splitting import history as history
    from recsys_polars.store import Store as Store
    from recsys_polars.store import open_store as open_store
    from recsys_polars.user_means import aggregate_user_means as aggregate_user_means

_MODULES = {
    "api.append": ("append_features",),
    "api.build": ("build_features",),
    "api.evaluate": ("evaluate",),
    "api.rank": ("rank",),
    "api.train": ("train",),
    "catalogue": ("complete_catalogue", "deduplicate_items"),
    "counting": ("find_core", "popularity"),
    "errors": ("ArtefactError", "InputError", "ModelError", "RecsysError", "TableError"),
    "item_features": ("build_item_features",),
    "knowledge": ("Knowledge", "user_vectors"),
    "labelling": ("label_interactions",),
    "models.protocol": ("FitSettings", "Model"),
    "ranking": (
        *("DotScorer", "MlpScorer", "PerItemScorer", "TreeScorer", "rank_blocks"),
        *("Scorer", "SparseRows", "TopK", "UserBlock"),
    ),
    "recipes": ("knowledge_before",),
    "splitting": ("assign_parts", "deduplicate_interactions", "history"),
    "store": ("Store", "open_store"),
    "user_means": ("aggregate_user_means",),
}
"""Where the public names live; the block above says the same to type checkers."""
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted([*_HOMES, "metrics"])


if not TYPE_CHECKING:  # to a type checker it would say that there is every name

    def __getattr__(name: str) -> Any:
        if name == "metrics":
            return import_module("recsys_polars.metrics")
        if name not in _HOMES:
            raise AttributeError(f"module 'recsys_polars' has no attribute {name!r}")
        found = getattr(import_module(f"recsys_polars.{_HOMES[name]}"), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
