"""The exact rankers: blocks of users x the item tensor -> blocks of top-k. Needs numpy and torch alone."""

from recsys_polars.ranking.dot import DotScorer
from recsys_polars.ranking.mlp import MlpScorer
from recsys_polars.ranking.per_item import PerItemScorer
from recsys_polars.ranking.protocol import Scorer, SparseRows, TopK, UserBlock
from recsys_polars.ranking.rank import BlockSizes, rank_blocks
from recsys_polars.ranking.trees import TreeScorer

__all__ = [
    "BlockSizes",
    "DotScorer",
    "MlpScorer",
    "PerItemScorer",
    "Scorer",
    "SparseRows",
    "TopK",
    "TreeScorer",
    "UserBlock",
    "rank_blocks",
]
