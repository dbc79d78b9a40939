"""Numbers for gradient boosting, parsed from configuration text alone.

Shapes  F features. Every group of atoms (the bulk, the contacts, their neighbours) is described
by mean, minimum and maximum of its elements' properties, the contacts of each kind of adsorbate
atom by the mean.
"""

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray

from model.elements import MAX_ATOMIC_NUMBER, PROPERTIES, composition, element_properties
from model.text.configuration_text import SITE_KINDS, ConfigurationText, parse_text

# Trained checkpoints count columns by this list. F and Cl show in the spelling and an adsorbate's
# mean energy.
ADSORBATE_ELEMENTS = ("H", "C", "N", "O", "S")
COUNTED = ("bulk", "contacts", "neighbours")
DESCRIBED = (*PROPERTIES, "covalent_radius_ang")  # of an element


def feature_names() -> list[str]:
    """Return the names of the columns that :func:`text_features` fills."""
    groups = ("bulk", "contact", "neighbour")
    by_atom = [
        name
        for symbol in ADSORBATE_ELEMENTS
        for name in (f"contacts_of_{symbol}", *(f"contact_of_{symbol}_{p}" for p in DESCRIBED))
    ]
    return [
        *(f"adsorbate_{symbol}" for symbol in ADSORBATE_ELEMENTS),
        "adsorbate_spelling",
        *(f"binding_{symbol}" for symbol in ADSORBATE_ELEMENTS),
        *(f"sites_{kind}" for kind in SITE_KINDS),
        *("sites", "contacts", "neighbours_per_contact", "miller_h", "miller_k", "miller_l"),
        *("coordination_mean", "coordination_min", "coordination_max"),
        *(f"{group}_{name}" for group in groups for name in description_names()),
        *by_atom,
    ]


def text_features(texts: Sequence[str]) -> NDArray[np.float64]:
    """Return (rows, F) features of configuration texts (without level tag)."""
    rows = [_features(parse_text(text)) for text in texts]
    return np.array(rows, dtype=np.float64).reshape(len(texts), len(feature_names()))


def element_counts(text: str) -> NDArray[np.float32]:
    """Return (3 x Z,) atoms by element: shares of the bulk, contacts, and their neighbours."""
    parsed = parse_text(text)
    counts = np.zeros((len(COUNTED), MAX_ATOMIC_NUMBER + 1), dtype=np.float32)
    bulk = composition(parsed.bulk)
    for symbol, count in bulk.items():
        counts[0, atomic_numbers[symbol]] = count / bulk.total()
    for site in parsed.sites:
        for symbol, around in zip(site.contacts, site.neighbours, strict=True):
            counts[1, atomic_numbers[symbol]] += 1
            for neighbour in around[1:]:
                counts[2, atomic_numbers[neighbour]] += 1
    return counts.ravel()


def description_names() -> list[str]:
    """Return the names of the numbers that :func:`describe` returns."""
    return [f"{statistic}_{name}" for statistic in ("mean", "min", "max") for name in DESCRIBED]


def describe(numbers: Sequence[int]) -> list[float]:
    """Return mean, minimum and maximum of the elements' properties; NaN for an empty group."""
    if len(numbers) == 0:
        return [np.nan] * (3 * len(DESCRIBED))
    rows = properties_of_elements()[np.asarray(numbers)]
    return [*rows.mean(axis=0), *rows.min(axis=0), *rows.max(axis=0)]


@cache
def properties_of_elements() -> NDArray[np.float64]:
    """Return (Z, P) properties by atomic number; missing values are NaN."""
    table_ZP = element_properties()
    return np.column_stack([table_ZP, covalent_radii[: len(table_ZP)]])


def _features(text: ConfigurationText) -> list[float]:
    atoms = composition(text.adsorbate)
    contacts = [symbol for site in text.sites for symbol in site.contacts]
    around = [symbol for site in text.sites for group in site.neighbours for symbol in group[1:]]
    metals = [symbol for symbol in around if symbol not in ADSORBATE_ELEMENTS]
    return [
        *(float(atoms[symbol]) for symbol in ADSORBATE_ELEMENTS),
        _spelling(text.adsorbate),
        *(float(sum(site.atom == symbol for site in text.sites)) for symbol in ADSORBATE_ELEMENTS),
        *(float(sum(site.kind == kind for site in text.sites)) for kind in SITE_KINDS),
        float(len(text.sites)),
        float(len(contacts)),
        len(metals) / len(contacts) if contacts else np.nan,
        *(float(index) for index in text.miller),
        *_coordination(text),
        *_describe(composition(text.bulk).elements()),
        *_describe(contacts),
        *_describe(metals),
        *_contacts_by_atom(text),
    ]


def _spelling(adsorbate: str) -> float:
    """Tell isomers of one formula apart (CHOH and CH2O) by the order of their atoms."""
    return float(sum((i + 1) * ord(char) for i, char in enumerate(adsorbate)))


def _coordination(text: ConfigurationText) -> list[float]:
    """Return mean, minimum and maximum of how many atoms the contacts are bonded to."""
    counts = [len(group) - 1 for site in text.sites for group in site.neighbours]
    if not counts:
        return [np.nan] * 3
    return [float(np.mean(counts)), float(min(counts)), float(max(counts))]


def _contacts_by_atom(text: ConfigurationText) -> list[float]:
    """Return, for each adsorbate element, its number of contacts and their mean properties."""
    values: list[float] = []
    for symbol in ADSORBATE_ELEMENTS:
        numbers = [atomic_numbers[c] for s in text.sites if s.atom == symbol for c in s.contacts]
        values.append(float(len(numbers)))
        if numbers:
            values += properties_of_elements()[numbers].mean(axis=0).tolist()
        else:
            values += [np.nan] * len(DESCRIBED)
    return values


def _describe(symbols: Iterable[str]) -> list[float]:
    return describe([atomic_numbers[symbol] for symbol in symbols])
