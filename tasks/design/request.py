"""Turn the request of a user into a prompt for the designer and requirements for its designs.

Everything that cannot be met is refused before anything is written: an adsorbate, an element or an
energy that the designer has never seen at that level of theory.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from ase import Atoms
from pymatgen.core.composition import Composition

from model.generation.design import SeenLevel
from model.generation.prompts import design_prompt
from model.generation.skeleton import Skeleton, bond_graph
from model.generation.stream_grammar import MOST_SLAB_ATOMS, StreamConstraints
from tasks.design.checks import DesignLimits, DesignRequirements
from tasks.enumeration import ALIASES, adsorbate, adsorbate_names
from tasks.errors import UserError
from tasks.structures.formulas import formula_counts

_NEAREST_SLAB = DesignLimits().nearest_slab
_TOY_LEVEL = "emt"  # no chemistry: taken only where it is named or nothing else is left


@dataclass(frozen=True)
class DesignRequest:
    """One design, ready to be written as often as wanted.

    ``adsorbate`` is the name under which the level's rows hold the species, ``species`` the stored
    molecule that was requested by its own name, None where a formula or label stands for it.
    """

    level: str
    adsorbate: str
    species: str | None
    target_ev: float
    prompt: str
    constraints: StreamConstraints
    requirements: DesignRequirements


def design_request(
    levels: Mapping[str, SeenLevel],
    adsorbate_name: str,
    target_ev: float,
    *,
    bulk: str | None = None,
    level: str | None = None,
) -> DesignRequest:
    """Return the request for an adsorbate on ``bulk`` with a target energy.

    Without ``level`` the one is taken whose labels of this adsorbate enclose the target, then the
    one with most of them; EMT comes last.

    Args:
        levels: What the designer has seen at each level of theory.
        adsorbate_name: A stored name, another spelling of one, or a formula.
        target_ev: The energy (eV) that the design is to have.
        bulk: The formula of the bulk; any, where it is None.
        level: The level of theory; chosen here where it is None.

    Returns:
        The prompt, the constraints of the stream and the requirements of its checks.

    Raises:
        UserError: adsorbate, bulk, level or target are outside of what the designer has seen.
    """
    formula = None if bulk is None else _reduced(bulk)
    chosen = _level(levels, adsorbate_name, target_ev, formula, level)
    seen = levels[chosen]
    name = _name_at(seen, adsorbate_name)
    if name is None:
        raise UserError(_unknown_adsorbate(levels, adsorbate_name, chosen))
    skeletons = _skeletons(seen, name, adsorbate_name)
    ratio = None if formula is None else _ratio(formula, seen, chosen, skeletons[0])
    if not (math.isfinite(target_ev) and seen.lowest_ev <= target_ev <= seen.highest_ev):
        raise UserError(
            f"targets at {chosen} lie within its labels, {seen.lowest_ev:+.2f} to "
            f"{seen.highest_ev:+.2f} eV; got {target_ev:+.2f} eV"
        )
    elements = tuple(ratio) if ratio else tuple(set(seen.elements) - set(skeletons[0].formula))
    return DesignRequest(
        chosen,
        name,
        _stored(adsorbate_name),
        target_ev,
        design_prompt(chosen, name, formula, target_ev),
        StreamConstraints(
            tuple(sorted(elements)), ratio, skeletons, MOST_SLAB_ATOMS, _NEAREST_SLAB
        ),
        DesignRequirements(name, skeletons, elements, formula),
    )


def _level(
    levels: Mapping[str, SeenLevel],
    adsorbate_name: str,
    target_ev: float,
    formula: str | None,
    stated: str | None,
) -> str:
    if stated is not None:
        if stated not in levels:
            raise UserError(
                f"the designer writes at {', '.join(sorted(levels))}; got level {stated!r}"
            )
        return stated
    elements = set() if formula is None else set(formula_counts(formula))
    fitting = [
        (
            level == _TOY_LEVEL,
            not known.lowest_ev <= target_ev <= known.highest_ev,
            -known.rows,
            level,
        )
        for level, seen in levels.items()
        for known in [seen.adsorbates.get(_name_at(seen, adsorbate_name) or "")]
        if known is not None and elements <= set(seen.elements)
    ]
    if fitting:
        return min(fitting)[-1]
    if any(_name_at(seen, adsorbate_name) for seen in levels.values()):
        raise UserError(
            f"no level of theory has both {adsorbate_name} and {formula}: "
            + "; ".join(
                f"{level} has {', '.join(levels[level].elements)}" for level in sorted(levels)
            )
        )
    raise UserError(_unknown_adsorbate(levels, adsorbate_name, None))


def _stored(name: str) -> str | None:
    """Return the name of the stored adsorbate that ``name`` is a spelling of."""
    stored = ALIASES.get(name, name)
    return stored if stored in adsorbate_names() else None


def _name_at(seen: SeenLevel, name: str) -> str | None:
    """Return the name a level's rows give to an adsorbate: its own, a stored one, or a formula."""
    stored = _stored(name)
    spellings = [name] if stored is None else [name, stored, adsorbate(stored).formula]
    for spelling in spellings:
        if spelling in seen.adsorbates and _skeletons_of(seen, spelling, name):
            return spelling
    return None


def _skeletons(seen: SeenLevel, name: str, requested: str) -> tuple[Skeleton, ...]:
    return tuple(_skeletons_of(seen, name, requested))


def _skeletons_of(seen: SeenLevel, name: str, requested: str) -> list[Skeleton]:
    """Return the isomers under ``name`` that ``requested`` may mean.

    A stored species is that one molecule; any other name is every isomer seen under it.
    """
    isomers = [Skeleton.from_text(text) for text in seen.adsorbates[name].skeletons]
    stored = _stored(requested)
    if stored is None:
        return isomers
    wanted = _graph(adsorbate(stored).atoms)
    return [isomer for isomer in isomers if isomer.is_same(wanted)]


def _graph(molecule: Atoms) -> Skeleton:
    return bond_graph(molecule.numbers, molecule.positions).skeleton


def _unknown_adsorbate(levels: Mapping[str, SeenLevel], name: str, level: str | None) -> str:
    requested = [level] if level else sorted(levels)
    known = sorted({seen for at in requested for seen in levels[at].adsorbates})
    near = get_close_matches(name, known, n=6, cutoff=0.4) or known[:6]
    where = f"at {level}" if level else "at any level"
    return (
        f"the designer has not seen the adsorbate {name} {where}; the nearest of the {len(known)} "
        f"it knows are {', '.join(near)}"
    )


def _reduced(bulk: str) -> str:
    """Return the reduced formula of a bulk, as texts name it."""
    try:
        counts = formula_counts(bulk)
        if min(counts.values()) < 1:
            raise ValueError("counts are 1 or more")  # noqa: TRY301  one message for all of them
        return str(Composition(counts).reduced_formula)
    except (UserError, ValueError) as error:
        raise UserError(f"a bulk is a formula such as Cu3Pt, got {bulk!r}: {error}") from error


def _ratio(formula: str, seen: SeenLevel, level: str, adsorbed: Skeleton) -> dict[str, int]:
    ratio = formula_counts(formula)
    strange = sorted(set(ratio) - set(seen.elements))
    if strange:
        raise UserError(
            f"the designer has seen slabs of {', '.join(seen.elements)} at {level}, got "
            f"{', '.join(strange)} in {formula}"
        )
    if shared := sorted(set(ratio) & set(adsorbed.formula)):
        raise UserError(f"slab and adsorbate share no element in a design, got {', '.join(shared)}")
    if sum(ratio.values()) > MOST_SLAB_ATOMS:
        raise UserError(f"a designed slab has at most {MOST_SLAB_ATOMS} atoms, {formula} has more")
    return ratio
