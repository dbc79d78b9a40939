"""Check that a configuration text can be true, before a model is loaded to read it.

The published format (Ock et al. 2023) is taken as it is: bulks as cells count them (``S8Mo6``).
"""

from collections import Counter

from ase.data import chemical_symbols

from model.elements import MAX_ATOMIC_NUMBER
from model.text.configuration_text import ConfigurationText, parse_text
from tasks.enumeration import checked_miller
from tasks.errors import UserError
from tasks.structures.formulas import formula_counts

_LONGEST_TEXT = 20_000  # characters; the longest published one has some 600
_MOST_BULK_ATOMS = 2_000  # of a cell as OC20 writes them, at most some 200
_MOST_ADSORBATE_ATOMS = 100


def require_consistent_text(text: str) -> None:
    """Check a configuration text against itself.

    Args:
        text: A configuration text without a level.

    Raises:
        UserError: it is too long, names no element or absurd counts, its contacts are of elements
            that neither bulk nor adsorbate has, or its sites of atoms that the adsorbate lacks.
        ModelError: it does not have the format.
    """
    if len(text) > _LONGEST_TEXT:
        raise UserError(
            f"a configuration text has at most {_LONGEST_TEXT:,} characters, got {len(text):,}"
        )
    parts = parse_text(text)
    checked_miller(parts.miller)
    adsorbate = _counted(parts.adsorbate, "adsorbate", _MOST_ADSORBATE_ATOMS)
    bulk = _counted(parts.bulk, "bulk", _MOST_BULK_ATOMS)
    _require_adsorbate_atoms(parts, adsorbate)
    for site in parts.sites:
        around = {symbol for group in site.neighbours for symbol in group[1:]}
        for symbols, known, words in (
            (set(site.contacts), set(bulk), f"the bulk {parts.bulk}"),
            (around, {*bulk, *adsorbate}, f"the bulk {parts.bulk} or {parts.adsorbate}"),
        ):
            if strange := sorted(symbols - known):
                raise UserError(
                    f"contacts and their neighbours are atoms of {words}; the site "
                    f"{site.format()} has {', '.join(strange)}"
                )


def _counted(formula: str, role: str, most: int) -> dict[str, int]:
    counts = formula_counts(formula)
    known = chemical_symbols[1 : MAX_ATOMIC_NUMBER + 1]
    if unknown := sorted(set(counts) - set(known)):
        raise UserError(
            f"the {role} of a text must name elements up to {known[-1]}, got {', '.join(unknown)}"
        )
    if not 0 < sum(counts.values()) <= most or min(counts.values()) < 1:
        raise UserError(
            f"the {role} of a text has 1 to {most:,} atoms, got {formula} with "
            f"{sum(counts.values()):,}"
        )
    return counts


def _require_adsorbate_atoms(parts: ConfigurationText, adsorbate: dict[str, int]) -> None:
    touching = Counter(site.atom for site in parts.sites)
    for symbol, count in touching.items():
        if count > adsorbate.get(symbol, 0):
            raise UserError(
                f"sites are those of the adsorbate's atoms: {parts.adsorbate} has "
                f"{adsorbate.get(symbol, 0)} {symbol}, the text has {count} with a site"
            )
