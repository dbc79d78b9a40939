"""Lists of what exists by name: adsorbates and levels of theory, and which models know them."""

from collections.abc import Mapping
from dataclasses import dataclass

from ase.data import atomic_numbers

from model.contract import Domain
from tasks.enumeration import ALIASES, adsorbate, adsorbate_names
from tasks.errors import UserError, nearest_names
from tasks.levels import LevelOfTheory, shipped_levels
from tasks.structures.formulas import formula_counts
from tasks.verification.engines import EngineLocations, located_engine


@dataclass(frozen=True)
class AdsorbateEntry:
    """One adsorbate; ``binding`` are the elements that meet the surface.

    ``formula`` and ``binding`` are empty for a species that a model knows and no name stores.
    ``known_at`` are the levels at which the model has seen it.
    """

    name: str
    aliases: tuple[str, ...]
    formula: str
    elements: tuple[str, ...]
    binding: tuple[str, ...]
    known_at: tuple[str, ...]


@dataclass(frozen=True)
class LevelEntry:
    """One level of theory; ``references`` are the molecules that its energies count from.

    ``not_here`` says why it cannot be computed on this machine; empty where it can. ``known_by``
    are the models that answer at it, with how many adsorbates each has seen.
    """

    name: str
    engine: str
    functional: str
    references: str
    not_here: str
    known_by: Mapping[str, int]


def adsorbate_entries(domain: Domain, wanted: str = "", level: str = "") -> list[AdsorbateEntry]:
    """Return the stored adsorbates by name, with the levels at which ``domain`` knows them.

    Args:
        domain: What a model has seen.
        wanted: An element, or a part of a name or of another spelling; empty for all.
        level: Only adsorbates that ``domain`` knows at this level, stored or not.

    Returns:
        One entry for each adsorbate, by name.

    Raises:
        UserError: nothing is left, or ``domain`` knows no such level.
    """
    if level and level not in domain.levels:
        raise UserError(
            f"the model answers at {len(domain.levels)} levels of theory and not at {level!r}; "
            f"{nearest_names(level, sorted(domain.levels))}"
        )
    names = sorted(domain.levels[level].adsorbates) if level else adsorbate_names()
    entries = [_adsorbate_entry(name, domain) for name in names]
    kept = [entry for entry in entries if _fits(entry, wanted)]
    if not kept:
        raise UserError(
            f"no adsorbate holds {wanted!r} as an element or in its name; "
            f"{nearest_names(wanted, names)}"
        )
    return kept


def level_entries(
    domains: Mapping[str, Domain], wanted: str = "", locations: EngineLocations | None = None
) -> list[LevelEntry]:
    """Return the shipped levels and those that only a model knows.

    Args:
        domains: What each model has seen, by the model's name.
        wanted: A part of a level's name, engine or functional; empty for all.
        locations: Where engines are.

    Returns:
        One entry for each level, the shipped ones first.

    Raises:
        UserError: nothing is left.
    """
    shipped = shipped_levels()
    names = {level.name for level in shipped}
    others = sorted({name for domain in domains.values() for name in domain.levels} - names)
    entries = [
        *(_level_entry(level, domains, locations) for level in shipped),
        *(
            LevelEntry(name, "", "", "", "it does not ship", _known(name, domains))
            for name in others
        ),
    ]
    sought = wanted.lower()
    kept = [
        entry
        for entry in entries
        if any(sought in part.lower() for part in (entry.name, entry.engine, entry.functional))
    ]
    if not kept:
        raise UserError(
            f"no level of theory, engine or functional holds {wanted!r}; "
            f"{nearest_names(wanted, [*(level.name for level in shipped), *others])}"
        )
    return kept


def _adsorbate_entry(name: str, domain: Domain) -> AdsorbateEntry:
    at = tuple(level for level in sorted(domain.levels) if name in domain.levels[level].adsorbates)
    if name not in adsorbate_names():
        return AdsorbateEntry(name, (), "", tuple(sorted(formula_counts(name))), (), at)
    found = adsorbate(name)
    return AdsorbateEntry(
        name,
        tuple(sorted(other for other, meant in ALIASES.items() if meant == name)),
        found.formula,
        tuple(sorted(set(found.atoms.get_chemical_symbols()))),
        tuple(found.atoms.symbols[index] for index in found.binding),
        at,
    )


def _fits(entry: AdsorbateEntry, wanted: str) -> bool:
    if wanted in atomic_numbers:
        return wanted in entry.elements
    return any(wanted.lower() in name.lower() for name in (entry.name, *entry.aliases))


def _level_entry(
    level: LevelOfTheory, domains: Mapping[str, Domain], locations: EngineLocations | None
) -> LevelEntry:
    if level.calculation is None:
        not_here = "published labels"
    else:
        missing = located_engine(level, locations).missing()
        not_here = f"{level.engine} is not here" if missing else ""
    references = level.reference.label
    known = _known(level.name, domains)
    return LevelEntry(level.name, level.engine, level.functional, references, not_here, known)


def _known(level: str, domains: Mapping[str, Domain]) -> dict[str, int]:
    return {
        name: len(domain.levels[level].adsorbates)
        for name, domain in domains.items()
        if level in domain.levels
    }
