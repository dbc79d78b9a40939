"""A configuration's text and graph speak of one thing, or it is refused.

Shapes  Z = 95 atomic numbers (row 0 unused).
"""

from collections import Counter
from functools import lru_cache

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import NDArray

from model.contract import Configuration
from model.data.graph import ADSORBATE_TAG
from model.elements import MAX_ATOMIC_NUMBER
from model.errors import ModelError
from model.text.configuration_text import parse_text
from model.text.text_features import composition


def adsorbate_counts(configuration: Configuration) -> NDArray[np.float32]:
    """Return (Z,) how many atoms of each element the adsorbate has, as the text names it.

    Raises:
        ModelError: the text cannot be parsed, names an element that is none, or says something
            else than the atoms: another adsorbate, or a slab of elements its bulk does not hold.
    """
    text = parse_text(configuration.text)
    adsorbate = _composition(text.adsorbate, configuration.candidate_id)
    bulk = _composition(text.bulk, configuration.candidate_id)
    is_adsorbate_N = configuration.tags_N == ADSORBATE_TAG
    if is_adsorbate_N.any():
        atoms = Counter(_symbols(configuration.numbers_N[is_adsorbate_N]))
        if atoms != adsorbate:
            raise ModelError(
                f"text and graph of {configuration.candidate_id} must name one adsorbate, got "
                f"{text.adsorbate} in the text and {_formula(atoms)} among the atoms tagged 2"
            )
    slab = set(_symbols(configuration.numbers_N[~is_adsorbate_N]))
    if strangers := sorted(slab - set(bulk)):
        raise ModelError(
            f"text and graph of {configuration.candidate_id} must name one bulk, got {text.bulk} "
            f"in the text and {', '.join(strangers)} among the slab's atoms"
        )
    counts_Z = np.zeros(MAX_ATOMIC_NUMBER + 1, dtype=np.float32)
    for symbol, count in adsorbate.items():
        counts_Z[atomic_numbers[symbol]] = count
    return counts_Z


@lru_cache(maxsize=4096)
def _counted(formula: str) -> Counter[str]:
    return composition(formula)


def _composition(formula: str, name: str) -> Counter[str]:
    counts = _counted(formula)
    known = chemical_symbols[1 : MAX_ATOMIC_NUMBER + 1]
    if unknown := sorted(set(counts) - set(known)):
        raise ModelError(
            f"text of {name} must name elements up to {known[-1]}, got {', '.join(unknown)} "
            f"in {formula!r}"
        )
    if not counts:
        raise ModelError(f"text of {name} must name elements, got the formula {formula!r}")
    return counts


def _symbols(numbers_N: NDArray[np.int64]) -> list[str]:
    return [chemical_symbols[number] for number in numbers_N]


def _formula(counts: Counter[str]) -> str:
    return "".join(f"{s}{n if n > 1 else ''}" for s, n in sorted(counts.items()))
