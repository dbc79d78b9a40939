"""Read the trees of LightGBM from their text, checked before the library follows them.

LightGBM trusts its files: it jumps where ``tree_sizes`` says, and follows children wherever they
lead, round in a circle or out of its memory. So sizes, counts, features and children are compared
here first, and what follows the trees (parameters of the training) is not handed on.

Shapes  T trees, S splits of all trees, L leaves of all trees.
Source  the text format v4 of LightGBM (Ke et al. 2017).
"""

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from model.errors import ModelError, shortened

Ints = NDArray[np.int64]
_MOST_BYTES = 64 * 2**20
_MOST_LEAVES = 10_000  # of one tree
_OBJECTIVES = ("regression", "regression_l1", "huber", "fair", "quantile", "mape")
_HEAD_FIELDS = {
    *("version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx"),
    *("objective", "feature_names", "feature_infos", "tree_sizes", "monotone_constraints"),
}
_PLAIN = re.compile(r"[\n\x20-\x7e]*")
_CATEGORICAL = 1  # the bit of a decision that compares with a set, as none of ours does


def read_booster(file: Path, features: int) -> lgb.Booster:
    """Return the booster of a text that LightGBM saved.

    Args:
        file: The text.
        features: How many features its trees are given.

    Returns:
        The booster; its trees end, and read no other features.

    Raises:
        ModelError: the text is cut short, or holds other than such trees.
    """
    if file.stat().st_size > _MOST_BYTES:
        raise ModelError(f"a booster has at most {_MOST_BYTES // 2**20} MiB, {file} has more")
    text, end, _ = file.read_bytes().decode("latin-1").partition("\nend of trees\n")
    if not _PLAIN.fullmatch(text):  # what else ends a line depends on who reads it
        raise _damaged(file, "it holds other than printable ASCII")
    head, *trees = text.split("\nTree=")
    if not end or not trees:
        raise _damaged(file, "it has no trees, or no end of them")
    sizes = _checked_head(file, head, features)
    blocks = [f"Tree={tree}\n" for tree in trees]
    if sizes != [len(block) for block in blocks]:
        raise _damaged(file, "tree_sizes are not the sizes of its trees")
    _check_trees(file, [_fields(block) for block in blocks], features)
    return lgb.Booster(model_str=f"{text}{end}")


def _damaged(file: Path, reason: str) -> ModelError:
    return ModelError(
        f"{file} is no booster that can be read: {reason}; restore its checkpoint or train it again"
    )


def _fields(block: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in block.split("\n") if "=" in line)
    return {name: value for name, _, value in pairs}


def _checked_head(file: Path, head: str, features: int) -> list[int]:
    """Return the sizes of the trees as the head states them."""
    fields = _fields(head)
    if strange := fields.keys() - _HEAD_FIELDS:
        raise _damaged(file, f"its head states {shortened(sorted(strange)[0])}")
    expected = {
        **{"version": "v4", "num_class": "1", "num_tree_per_iteration": "1"},
        **{"label_index": "0", "max_feature_idx": str(features - 1)},
    }
    for name, value in expected.items():
        if fields.get(name) != value:
            found = shortened(repr(fields.get(name)))
            raise _damaged(file, f"{name} must be {value}, got {found}")
    if fields.get("objective") not in _OBJECTIVES:
        raise _damaged(file, f"its objective is {shortened(repr(fields.get('objective')))}")
    if len(fields.get("feature_names", "").split()) != features:
        raise _damaged(file, f"it must name {features} features")
    return [int(size) for size in fields.get("tree_sizes", "").split()]


def _check_trees(file: Path, trees: Sequence[Mapping[str, str]], features: int) -> None:
    """Check that every tree has all its splits and leaves, each node below one other."""
    leaves_T = np.array([int(tree["num_leaves"]) for tree in trees], dtype=np.int64)
    if leaves_T.min() < 1 or leaves_T.max() > _MOST_LEAVES:
        raise _damaged(file, f"a tree has 1 to {_MOST_LEAVES:,} leaves")
    if any(tree.get("num_cat") != "0" or tree.get("is_linear", "0") != "0" for tree in trees):
        raise _damaged(file, "a tree of it is not of plain numbers")
    splits_T = leaves_T - 1

    def joined(name: str, count_T: Ints) -> list[str]:
        words = [
            tree.get(name, "").split() if n else [] for tree, n in zip(trees, count_T, strict=True)
        ]
        if [len(some) for some in words] != count_T.tolist():
            raise _damaged(file, f"a tree has too few or too many of {name}")
        return list(chain.from_iterable(words))

    if not np.isfinite(np.array(joined("leaf_value", leaves_T), dtype=np.float64)).all():
        raise _damaged(file, "leaf_value holds other than finite numbers")
    # infinite where a missing value alone goes the other way
    if np.isnan(np.array(joined("threshold", splits_T), dtype=np.float64)).any():
        raise _damaged(file, "threshold holds other than numbers")
    feature_S = np.array(joined("split_feature", splits_T), dtype=np.int64)
    if ((feature_S < 0) | (feature_S >= features)).any():
        raise _damaged(file, f"a split reads a feature beyond {features}")
    if (np.array(joined("decision_type", splits_T), dtype=np.int64) & _CATEGORICAL).any():
        raise _damaged(file, "a split compares with a set")
    children_2S = np.array(
        [joined(side, splits_T) for side in ("left_child", "right_child")], dtype=np.int64
    )
    _check_children(file, children_2S, np.repeat(np.arange(len(trees)), splits_T), leaves_T)


def _check_children(file: Path, child_2S: Ints, tree_S: Ints, leaves_T: Ints) -> None:
    """Check that each leaf, and each split but the first, is the child of one split.

    A child is the number of a split, or -1 minus that of a leaf. With every number in range and
    none twice, there are as many as a tree needs, and no way leads back.
    """
    first_T = np.concatenate([[0], np.cumsum(leaves_T)])[:-1]
    tree_2S = np.broadcast_to(tree_S, child_2S.shape)
    is_leaf_2S = child_2S < 0
    number_2S = np.where(is_leaf_2S, -1 - child_2S, child_2S)
    most_2S = leaves_T[tree_2S] - np.where(is_leaf_2S, 0, 1)
    in_range = (number_2S < most_2S) & (is_leaf_2S | (number_2S > 0))
    if not in_range.all():
        raise _damaged(file, "a split leads to a node that its tree does not have")
    where_2S = first_T[tree_2S] + number_2S
    for chosen in (is_leaf_2S, ~is_leaf_2S):
        if len(np.unique(where_2S[chosen])) != int(chosen.sum()):
            raise _damaged(file, "two splits lead to one node")
