"""Numbers for gradient boosting, parsed from configuration text alone.

Shapes  F features. Every group of atoms (the bulk, the contacts, their neighbours) is described
by mean, minimum and maximum of its elements' properties.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from model.elements import PROPERTIES, element_properties
from model.errors import ModelError
from model.text import KINDS, ConfigurationText, parse_text

_ADSORBATE_ELEMENTS = ("H", "C", "N", "O", "S")
_PART = re.compile(r"([A-Z][a-z]?)(\d*)")


def composition(formula: str) -> Counter[str]:
    """Return how many atoms of each element a formula like ``COCH2OH`` or ``Cu3Pt`` names.

    Raises:
        ModelError: it holds something that is not an element symbol with an optional count.
    """
    parts = _PART.findall(formula)
    if "".join(symbol + count for symbol, count in parts) != formula:
        raise ModelError(f"a formula is element symbols with counts, like Cu3Pt; got {formula!r}")
    counts: Counter[str] = Counter()
    for symbol, count in parts:
        counts[symbol] += int(count or 1)
    return counts


def feature_names() -> list[str]:
    """Return the names of the columns that :func:`text_features` fills."""
    groups = ("bulk", "contact", "neighbour")
    described = [f"{g}_{s}_{p}" for g in groups for s in ("mean", "min", "max") for p in PROPERTIES]
    return [
        *(f"adsorbate_{symbol}" for symbol in _ADSORBATE_ELEMENTS),
        "adsorbate_spelling",
        *(f"binding_{symbol}" for symbol in _ADSORBATE_ELEMENTS),
        *(f"sites_{kind}" for kind in KINDS),
        *("contacts", "neighbours_per_contact", "miller_h", "miller_k", "miller_l"),
        *described,
    ]


def text_features(texts: Sequence[str]) -> NDArray[np.float64]:
    """Return (rows, F) features of configuration texts (without level tag)."""
    return np.array([_features(parse_text(text)) for text in texts], dtype=np.float64)


def _features(text: ConfigurationText) -> list[float]:
    atoms = composition(text.adsorbate)
    contacts = [symbol for site in text.sites for symbol in site.contacts]
    around = [symbol for site in text.sites for group in site.neighbours for symbol in group[1:]]
    metals = [symbol for symbol in around if symbol not in _ADSORBATE_ELEMENTS]
    return [
        *(float(atoms[symbol]) for symbol in _ADSORBATE_ELEMENTS),
        _spelling(text.adsorbate),
        *(float(sum(site.atom == symbol for site in text.sites)) for symbol in _ADSORBATE_ELEMENTS),
        *(float(sum(site.kind == kind for site in text.sites)) for kind in KINDS),
        float(len(contacts)),
        len(metals) / len(contacts) if contacts else np.nan,
        *(float(index) for index in text.miller),
        *_describe(composition(text.bulk).elements()),
        *_describe(contacts),
        *_describe(metals),
    ]


def _spelling(adsorbate: str) -> float:
    """Tell isomers of one formula apart (CHOH and CH2O) by the order of their atoms."""
    return float(sum((i + 1) * ord(char) for i, char in enumerate(adsorbate)))


def _describe(symbols: Iterable[str]) -> list[float]:
    numbers = [atomic_numbers[symbol] for symbol in symbols]
    if not numbers:
        return [np.nan] * (3 * len(PROPERTIES))
    rows = element_properties()[numbers]
    return [*rows.mean(axis=0), *rows.min(axis=0), *rows.max(axis=0)]
