"""CatBoost's oblivious trees -> what `TreeScorer` takes: leaf values, and the leaf bits of each side.

A leaf's number has one bit per split of its tree, bit j for the j-th split of the JSON export. A split has the side of
its feature; one on a CTR that of all the CTR's elements, categories and float splits alike. So `calc_leaf_indexes` on
any rows, masked to the bits of the item splits, gives the items' bits whatever the rows say about users, and the other
way round.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from recsys_polars.errors import ArtefactError
from recsys_polars.guards import scratch_folder

Side: TypeAlias = Literal["user", "item", "pair"]
_WAY_OUT = "train it"


class SplitTrees(NamedTuple):
    """A model's trees, their splits told apart by side."""

    leaf_values: list[npt.NDArray[np.float64]]
    """Per tree, one value a leaf; a tree without splits has one leaf."""
    user_mask: npt.NDArray[np.uint32]
    """Per tree, the bits of the splits on user features `(n_trees,)`."""
    item_mask: npt.NDArray[np.uint32]
    """The same for item features."""
    scale: float
    bias: float

    @property
    def user_invariant(self) -> bool:
        """No split looks at the user."""
        return not self.user_mask.any()


def export_json(model: Any) -> dict[str, Any]:
    """A CatBoost model's own JSON export (CatBoost writes it to files only)."""
    with scratch_folder(Path(tempfile.gettempdir())) as folder:
        path = folder / "model.json"
        model.save_model(str(path), format="json")
        exported: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return exported


def split_trees(exported: dict[str, Any], sides: Sequence[Side]) -> SplitTrees:
    """Tell the splits of a model apart by side.

    Args:
        exported: `export_json` of the model.
        sides: of each feature, in the order in which the model was trained; "pair" is a feature of both, such as a dot
            product.

    Raises:
        ArtefactError: trees that aren't symmetric, more than one value a leaf, or a split that looks at both sides; it
            names the feature and the way out.
    """
    if "oblivious_trees" not in exported:
        raise ArtefactError(
            "catboost: expected symmetric trees, found another grow_policy: "
            f"{_WAY_OUT} with grow_policy='SymmetricTree'"
        )
    scale, biases = exported["scale_and_bias"]
    if len(biases) != 1:
        raise ArtefactError(f"catboost: expected one score per row, found {len(biases)}: train with one target")
    split_sides = _split_sides(exported["features_info"], sides)
    trees = exported["oblivious_trees"]
    masks = {
        side: np.array([_mask(tree, split_sides, side) for tree in trees], dtype=np.uint32) for side in ("user", "item")
    }
    values = [np.array(tree["leaf_values"], dtype=np.float64) for tree in trees]
    return SplitTrees(values, masks["user"], masks["item"], float(scale), float(biases[0]))


def leaf_bits(model: Any, pool: Any, mask: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """One side's bits, `(rows, n_trees)`.

    Args:
        model: the CatBoost model.
        pool: rows as in training, with the side's own features; the other side's may hold any legal value (a finite
            number, a category of the training data).
        mask: `user_mask` or `item_mask`.
    """
    bits: npt.NDArray[np.uint32] = model.calc_leaf_indexes(pool).astype(np.uint32) & mask
    return bits


def _mask(tree: dict[str, Any], split_sides: dict[int, "_Split"], side: str) -> int:
    """The bits of a tree's splits on one side; raises where a split looks at both."""
    bits = 0
    for bit, split in enumerate(tree.get("splits") or []):
        of = split_sides.get(split["split_index"])
        if of is None:
            raise ArtefactError(
                f"catboost: expected splits on numbers, categories and their CTRs, found {split['split_type']}: "
                f"{_WAY_OUT} without that feature"
            )
        if of.side == "pair":
            raise ArtefactError(f"catboost: {of.what}: {_WAY_OUT} {of.way_out}")
        bits |= (of.side == side) << bit
    return bits


class _Split(NamedTuple):
    side: Side
    what: str
    way_out: str


def _split_sides(features: dict[str, Any], sides: Sequence[Side]) -> dict[int, _Split]:
    """split_index -> its side. Splits are numbered: floats' borders, then one-hot values, then the CTRs' borders."""
    floats = {f["feature_index"]: f for f in features.get("float_features", [])}
    categories = {f["feature_index"]: f for f in features.get("categorical_features", [])}
    n_features = len(floats) + len(categories)
    if n_features != len(sides):
        raise ArtefactError(f"catboost: expected a side for each of {n_features} features, found {len(sides)}")
    splits: list[_Split] = []
    for feature in floats.values():
        splits += [_of_feature(feature, sides)] * len(feature.get("borders") or [])
    for feature in categories.values():
        splits += [_of_feature(feature, sides)] * len(feature.get("values") or [])
    for ctr in features.get("ctrs") or []:
        elements = [_element_feature(element, floats, categories) for element in ctr["elements"]]
        splits += [_of_ctr(elements, sides)] * len(ctr["borders"])
    return dict(enumerate(splits))


def _of_feature(feature: dict[str, Any], sides: Sequence[Side]) -> _Split:
    name = _name(feature)
    return _Split(
        sides[feature["flat_feature_index"]],
        f"feature {name}: expected a feature of the user or of the item, found one of the pair",
        f"without {name}",
    )


def _of_ctr(elements: Sequence[dict[str, Any]], sides: Sequence[Side]) -> _Split:
    names = ", ".join(_name(feature) for feature in elements)
    found: set[Side] = {sides[feature["flat_feature_index"]] for feature in elements}
    side: Side = found.pop() if len(found) == 1 else "pair"
    what = f"CTR of {names}: expected features of the user alone or of the item alone, found both"
    return _Split(side, what, "with max_ctr_complexity=1")


def _element_feature(
    element: dict[str, Any], floats: dict[int, dict[str, Any]], categories: dict[int, dict[str, Any]]
) -> dict[str, Any]:
    if "float_feature_index" in element:
        return floats[element["float_feature_index"]]
    return categories[element["cat_feature_index"]]


def _name(feature: dict[str, Any]) -> str:
    return str(feature.get("feature_id") or f"number {feature['flat_feature_index']}")
