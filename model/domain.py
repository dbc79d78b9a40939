"""What a checkpoint was trained on, and why a configuration lies outside it."""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ase.data import chemical_symbols

from model.contract import Configuration, Domain
from model.errors import ModelError
from model.rows import Row
from model.text import parse_text


def domain_of(rows: Sequence[Row]) -> Domain:
    """Return the elements, levels and adsorbates (by level) that ``rows`` hold."""
    adsorbates: dict[str, set[str]] = defaultdict(set)
    numbers: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        adsorbates[row.level].add(row.adsorbate)
        numbers[row.level].update(row.numbers_N.tolist())
    return Domain(
        elements={
            level: frozenset(chemical_symbols[number] for number in seen)
            for level, seen in numbers.items()
        },
        adsorbates={level: frozenset(names) for level, names in adsorbates.items()},
        levels=frozenset(adsorbates),
    )


def why_outside(domain: Domain, configuration: Configuration) -> str:
    """Return why ``domain`` does not hold ``configuration``; empty where it does."""
    symbols = {chemical_symbols[number] for number in configuration.numbers_N}
    level = configuration.level
    if unseen := sorted(symbols - domain.elements[level]):
        return f"element not in the training set at {level}: {', '.join(unseen)}"
    adsorbate = parse_text(configuration.text).adsorbate
    if adsorbate not in domain.adsorbates[level]:
        return f"adsorbate not in the training set at {level}: {adsorbate}"
    return ""


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
    """Return plain values, sorted."""
    return {
        "elements": {level: sorted(symbols) for level, symbols in domain.elements.items()},
        "levels": sorted(domain.levels),
        "adsorbates": {level: sorted(names) for level, names in domain.adsorbates.items()},
    }


def domain_from_json(values: dict[str, Any]) -> Domain:
    """Rebuild what :func:`domain_to_json` wrote."""
    return Domain(
        elements={level: frozenset(seen) for level, seen in values["elements"].items()},
        levels=frozenset(values["levels"]),
        adsorbates={level: frozenset(names) for level, names in values["adsorbates"].items()},
    )


def write_json(file: Path, values: dict[str, Any]) -> None:
    """Write ``values`` so that equal values make equal files."""
    file.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n")
