"""The domain of a checkpoint, and the reason why a configuration lies outside it.

A domain has parts at each level of theory: elements of the slab, elements of the adsorbate,
adsorbates, kinds of material, facets. Facets are recorded, and one is outside where an index is
above ``FACET_REACH`` times the largest that was seen: a plane between known ones exposes their
terraces and steps, one far steeper does not.
"""

import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from model.checkpoint import Checkpoint
from model.contract import ADSORBATE_TAG, Configuration, Domain, Facet, LevelDomain
from model.data.kept_rows import HOLD_OUT, REPLAY
from model.data.rows import Row, read_training_table
from model.elements import material_kind
from model.errors import ModelError
from model.stored_values import checked_values
from model.text.configuration_text import SEPARATOR, ConfigurationText, parse_text

FACET_REACH = 2
_SYMBOL = re.compile(r"[A-Z][a-z]?")
_PARTS = {
    "slab_elements": "slab element",
    "adsorbate_elements": "adsorbate element",
    "adsorbates": "adsorbate",
    "kinds": "kind of material",
}


@dataclass(frozen=True)
class _FormerDomain:
    """A domain as checkpoints state it that were written before there were parts."""

    levels: tuple[str, ...]
    elements: Mapping[str, frozenset[str]]
    adsorbates: Mapping[str, frozenset[str]]


def domain_of(rows: Sequence[Row]) -> Domain:
    """Return the domain of ``rows``, by level and part."""
    found: dict[str, list[LevelDomain]] = defaultdict(list)
    for row in rows:
        found[row.level].append(_parts(row.numbers_N, row.tags_N, parse_text(row.text)))
    return Domain({level: _union(parts) for level, parts in found.items()})


def merge_domains(one: Domain, other: Domain) -> Domain:
    """Return the union of two domains."""
    both = {**one.levels, **other.levels}
    for level in one.levels.keys() & other.levels.keys():
        both[level] = _union([one.levels[level], other.levels[level]])
    return Domain(both)


def out_of_domain_reason(
    domain: Domain,
    configuration: Configuration,
    distance: float = 0.0,
    limit: float = math.inf,
) -> str:
    """Return why ``domain`` does not hold ``configuration``; empty where it does.

    ``distance`` from the training set and its ``limit`` are in the units of ``latent``. Elements
    are those of the atoms and those that the text names, which may be all there is.
    """
    level, text = configuration.level, parse_text(configuration.text)
    parts = _parts(configuration.numbers_N, configuration.tags_N, text)
    if reason := _unseen(domain.levels[level], parts, level):
        return reason
    if distance > limit:
        return f"far from the training set in latent space: {distance:.1f} (limit {limit:.1f})"
    return ""


def slab_outside_reason(domain: Domain, level: str, symbols: Collection[str], facet: Facet) -> str:
    """Return why ``domain`` holds nothing on a slab of these elements; empty where it may."""
    slab = LevelDomain(
        slab_elements=frozenset(symbols),
        kinds=frozenset([material_kind(symbols)]),
        facets=frozenset([facet]),
    )
    return _unseen(domain.levels[level], slab, level)


def level_index(levels: Sequence[str], level: str) -> int:
    """Return the position of ``level``.

    Raises:
        ModelError: the checkpoint never saw labels of that level of theory.
    """
    if level not in levels:
        raise ModelError(
            f"this checkpoint answers at {', '.join(levels)}; got level of theory {level!r}"
        )
    return list(levels).index(level)


def domain_to_json(domain: Domain) -> dict[str, Any]:
    """Return plain values, sorted: by level, the parts."""
    return {
        "levels": {
            level: {
                **{part: sorted(getattr(parts, part)) for part in _PARTS},
                "facets": [list(facet) for facet in sorted(parts.facets)],
            }
            for level, parts in domain.levels.items()
        }
    }


def domain_from_json(values: Mapping[str, Any]) -> Domain:
    """Rebuild a domain from the output of :func:`domain_to_json`.

    Raises:
        ModelError: a part is of another type.
    """
    return Domain(checked_values(dict[str, LevelDomain], values.get("levels"), "the domain"))


def read_domain(checkpoint: Checkpoint, values: Mapping[str, Any]) -> Domain:
    """Return the domain that ``values`` of a checkpoint's settings state.

    Checkpoints from before there were parts list the elements of slabs and adsorbates together. Of
    these an element counts as one of the slab's if no adsorbate of its level holds it, or if a row
    that the checkpoint keeps has it in a slab. Kinds and facets are those of such rows; without
    rows, the kinds are those that one or two of the slab's elements make.

    Args:
        checkpoint: Where rows may be kept.
        values: The domain in the checkpoint's settings.

    Returns:
        The domain, with parts.
    """
    if "elements" not in values:
        return domain_from_json(values)
    stated = checked_values(_FormerDomain, values, "the domain")
    kept = _domain_of_kept_texts(checkpoint).levels
    return Domain({level: _derived(stated, level, kept.get(level)) for level in stated.levels})


@lru_cache(maxsize=8)  # a checkpoint's files are named by their hashes
def _domain_of_kept_texts(checkpoint: Checkpoint) -> Domain:
    """Return slab elements, kinds and facets of kept rows; a hundred heads stand for all texts."""
    heads: set[tuple[str, str]] = set()
    for name in (HOLD_OUT, REPLAY):
        if (file := checkpoint.folder / name).is_file():
            columns = read_training_table(file, ["level", "text"]).to_pydict()
            for level, text in zip(columns["level"], columns["text"], strict=True):
                heads.add((level, text.split(SEPARATOR)[1]))
    nothing = np.zeros(0, dtype=np.int64)
    found: dict[str, list[LevelDomain]] = defaultdict(list)
    for level, head in heads:
        text = parse_text(f"H{SEPARATOR}{head}{SEPARATOR}[]")
        found[level].append(_parts(nothing, nothing, text))
    return Domain({level: _union(parts) for level, parts in found.items()})


def _derived(stated: _FormerDomain, level: str, kept: LevelDomain | None) -> LevelDomain:
    adsorbates = stated.adsorbates[level]
    adsorbed = frozenset(_SYMBOL.findall(" ".join(adsorbates)))
    slab = stated.elements[level] - adsorbed
    if kept is None:
        kinds = {material_kind(two) for two in combinations_with_replacement(sorted(slab), 2)}
        return LevelDomain(slab, adsorbed, adsorbates, frozenset(kinds))
    return LevelDomain(slab | kept.slab_elements, adsorbed, adsorbates, kept.kinds, kept.facets)


def _parts(
    numbers_N: NDArray[np.int64], tags_N: NDArray[np.int64], text: ConfigurationText
) -> LevelDomain:
    """Return the domain of one configuration, from its atoms and its text."""
    on_slab_N = tags_N != ADSORBATE_TAG
    adsorbed = {*_SYMBOL.findall(text.adsorbate), *_symbols(numbers_N[~on_slab_N])}
    contacts = {symbol for site in text.sites for symbol in site.contacts}
    around = {symbol for site in text.sites for group in site.neighbours for symbol in group}
    slab = {
        *_SYMBOL.findall(text.bulk),
        *_symbols(numbers_N[on_slab_N]),
        *contacts,
        *(around - adsorbed),  # a contact's neighbours are of the slab or of the adsorbate
    }
    return LevelDomain(
        frozenset(slab),
        frozenset(adsorbed),
        frozenset([text.adsorbate]),
        frozenset([material_kind(slab)]),
        frozenset([text.miller]),
    )


def _unseen(known: LevelDomain, found: LevelDomain, level: str) -> str:
    for part, what in _PARTS.items():
        if unseen := sorted(getattr(found, part) - getattr(known, part)):
            return f"{what} not in the training set at {level}: {', '.join(unseen)}"
    steepest = _steepest(known.facets)
    for facet in sorted(found.facets):
        if steepest and _steepest([facet]) > FACET_REACH * steepest:
            return (
                f"facet not in the training set at {level}: ({' '.join(map(str, facet))}), with an "
                f"index above {FACET_REACH} times the largest there, {steepest}"
            )
    return ""


def _union(parts: Sequence[LevelDomain]) -> LevelDomain:
    names = (*_PARTS, "facets")
    none: frozenset[Any] = frozenset()
    return LevelDomain(**{name: none.union(*(getattr(p, name) for p in parts)) for name in names})


def _steepest(facets: Iterable[Facet]) -> int:
    return max((abs(index) for facet in facets for index in facet), default=0)


def _symbols(numbers_N: NDArray[np.int64]) -> set[str]:
    return {chemical_symbols[number] for number in np.unique(numbers_N)}
