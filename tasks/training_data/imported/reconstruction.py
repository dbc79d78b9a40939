"""Labels from a source's rows: each with its placement, its flags and its slab, or a reason.

A screening starts from unrelaxed placements, so the placement that a relaxed adslab is the end of
is recovered, or taken from the row where it gives its start. The checks of labels that are computed
here then compare the two.

Units   eV, Å.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from model.contract import ADSORBATE_TAG
from model.text.configuration_text import SiteText, parse_text
from tasks.enumeration import Adsorbate, Miller, Slab, miller_from_text
from tasks.enumeration.custom.own_slabs import bulk_of_slab
from tasks.errors import Refusal, UserError
from tasks.levels import LevelOfTheory
from tasks.prediction.adslab_checks import require_species
from tasks.prediction.adslab_file import adslab_from_atoms, slab_miller
from tasks.prediction.featurise import configuration_text
from tasks.structures.formats import structure_text
from tasks.structures.identity import candidate_id, content_id, pair_id, slab_id
from tasks.structures.standard_frame import standard_frame
from tasks.training_data.imported.adsorption_energies import (
    AdsorptionEnergy,
    EnergyReader,
    ruled,
)
from tasks.training_data.imported.convergence import fmax_limit, is_converged, largest_force
from tasks.training_data.imported.source_rows import SourceContent
from tasks.training_data.imported.stated_references import StatedReferences
from tasks.training_data.recovered_placements import PlacementRecovery
from tasks.training_data.sources import (
    NO_LICENCE,
    LabelledStructure,
    SetSpec,
    miller_from_facet,
)
from tasks.verification.labels.checks import Flag, check, left_site, limits_of

UNCONVERGED = "ions_not_converged"  # as verification flags it
_OUT_OF_BOUNDS = "energy_out_of_bounds"
_START_CELL_ANG = 0.01
_UNITS_EV = {"kJ/mol": 0.010364, "kcal/mol": 0.043364}  # Ry and Hartree make energies larger
_OTHER_UNIT = 0.1  # share of rows: fewer are outliers of a source in eV
_NO_PLANE: Miller = (0, 0, 1)


@dataclass(frozen=True, eq=False)
class ImportedLabel:
    """A label of one's own: its placement, where that relaxed to, and what the checks found.

    ``token`` is the hash of level, structures and energies: the same label has it again in any
    file. ``text`` is of the placement. ``fmax_ev_ang`` is a lower bound, the force on the
    adsorbate, where its row has none.
    """

    source: str
    token: str
    candidate_id: str
    pair_id: str
    slab: Slab
    species: Adsorbate
    start: Atoms
    relaxed: Atoms
    text: str
    sites: tuple[SiteText, ...]
    energy: AdsorptionEnergy
    flags: tuple[Flag, ...]
    converged: bool
    fmax_ev_ang: float | None
    migrated: bool

    @property
    def energy_ev(self) -> float:
        """Return the adsorption energy."""
        return self.energy.energy_ev

    @property
    def trainable(self) -> bool:
        """Return True where forces converged and no check raised a flag."""
        return self.converged and not self.flags


@dataclass(frozen=True)
class ReadLabels:
    """The outcome of a source's rows: labels, references that they used, refusals."""

    labels: tuple[ImportedLabel, ...]
    references: tuple[str, ...]  # rows of gas molecules and clean slabs
    refused: tuple[Refusal, ...]
    passed_over: tuple[str, ...] = ()  # files that are no rows

    @property
    def rows(self) -> int:
        """Return how many rows there were: each is counted once."""
        return len(self.labels) + len(self.references) + len(self.refused)


@dataclass(frozen=True)
class StatedSurface:
    """What an import says of all rows that do not say it themselves; empty where it does not."""

    adsorbate: str = ""
    miller: str = ""
    bulk: str = ""


def read_labels_of(
    content: SourceContent,
    level: LevelOfTheory,
    references: StatedReferences,
    surface: StatedSurface = StatedSurface(),
    advance: Callable[[int], None] = lambda _: None,
) -> ReadLabels:
    """Return the labels of a source's rows, and why the others are none.

    Args:
        content: The rows, energies in eV.
        level: The level of theory that they are of.
        references: Whether energies are total, and the gas energies (eV) or molecules.
        surface: Adsorbate, Miller index and bulk of rows that do not name them.
        advance: Called with the number of rows that are done, 0.3 s each.

    Returns:
        Every row once: a label, a reference, or a refusal with its reason.

    Raises:
        UserError: the references are not the level's, or energies look like those of another unit.
    """
    reader = EnergyReader(content.rows, level, references)
    recovery = PlacementRecovery(
        SetSpec(
            "imported", "", level.name, "relaxed", NO_LICENCE, level.functional,
            level.reference.label, adsorbate_tag=ADSORBATE_TAG,
        )
    )  # fmt: skip
    labels, refused = [], [*content.refused, *reader.refused]
    advance(len(content.rows) - len(reader.adslab_rows))
    for row in reader.adslab_rows:
        try:
            energy = reader.read(row, surface.adsorbate)
            labels.append(_label(energy, level, recovery, surface))
        except UserError as error:
            refused.append(Refusal(row.source, "placement", " ".join(str(error).split())))
        advance(1)
    _require_ev(labels, refused)
    labels = _ends_of_frames(labels, refused)
    used = tuple(row.source for row in (*reader.gas_rows, *reader.slab_rows))
    return ReadLabels(tuple(labels), used, tuple(refused), tuple(content.passed_over))


def _label(
    energy: AdsorptionEnergy,
    level: LevelOfTheory,
    recovery: PlacementRecovery,
    surface: StatedSurface,
) -> ImportedLabel:
    row, species = energy.row, energy.species
    stated = row.miller or surface.miller
    miller = ruled("plane", stated_miller, stated) if stated else None
    if row.start is None:
        start, relaxed = _recovered(energy, level, recovery)
    else:
        start, relaxed = ruled("start", _stated_start, energy, row.start)
    flags = list(check_ends(energy, level, start, relaxed))
    index, _ = ruled("plane", slab_miller, start, miller)
    host = start[start.get_tags() != ADSORBATE_TAG]
    bulk = ruled("bulk", bulk_of_slab, host, row.bulk or surface.bulk)
    slab = Slab(slab_id(host), "", bulk, index, 0.0, "top", host)
    text = ruled("placement", configuration_text, start, species.name, bulk, slab.miller, "scaled")
    is_adsorbate_N = energy.atoms.get_tags() == ADSORBATE_TAG
    converged = is_converged(row, level, is_adsorbate_N)
    force = largest_force(row, is_adsorbate_N)
    if not converged:
        flags.append(Flag(UNCONVERGED, np.inf if force is None else force, fmax_limit(level)))
    candidate = candidate_id(start, slab.slab_id, species.name)
    parts = (energy.energy_ev, energy.e_adslab_ev, energy.e_slab_ev)
    return ImportedLabel(
        source=row.source,
        token=content_id(
            "imported", level.level_hash, candidate, structure_text(relaxed),
            *(f"{part:.6f}" for part in parts),
        ),
        candidate_id=candidate,
        pair_id=pair_id(slab.slab_id, species.name),
        slab=slab,
        species=species,
        start=start,
        relaxed=relaxed,
        text=text,
        sites=tuple(parse_text(text).sites),
        energy=energy,
        flags=tuple(flags),
        converged=converged,
        fmax_ev_ang=force,
        migrated=left_site(start, relaxed),
    )  # fmt: skip


def _require_ev(labels: Sequence[ImportedLabel], refused: Sequence[Refusal]) -> None:
    """Refuse a source in which many energies are sensible in another unit alone.

    Its weakest bindings would else be stored as eV: 8 kJ/mol is within the bounds.
    """
    large = [each.item for each in refused if " eV if it is in " in each.reason]
    large += [each.source for each in labels if _OUT_OF_BOUNDS in {f.name for f in each.flags}]
    within = len({each.source for each in labels} - set(large))
    if within and len(large) >= _OTHER_UNIT * (within + len(large)):
        raise UserError(
            f"energies are in eV: {len(large)} of {within + len(large)} are out of bounds, such as "
            f"{large[0]}, and would not be if they were in {' or '.join(_UNITS_EV)}, so none is "
            "stored; convert all to eV, or take these rows out"
        )


def _ends_of_frames(labels: Sequence[ImportedLabel], refused: list[Refusal]) -> list[ImportedLabel]:
    """Return labels with one frame of a file for each placement: converged, lowest, then last."""
    ends: dict[tuple[str, str], ImportedLabel] = {}
    for label in labels:
        key = (label.energy.row.frames_of or label.source, label.candidate_id)
        best = ends.setdefault(key, label)
        if (not label.trainable, label.energy_ev) <= (not best.trainable, best.energy_ev):
            ends[key] = label
    for label in labels:
        end = ends[label.energy.row.frames_of or label.source, label.candidate_id]
        if label is not end:
            reason = f"frame: {end.source} is of the same relaxation, at {end.energy_ev:+.3f} eV"
            refused.append(Refusal(label.source, "placement", reason))
    return list(ends.values())


def stated_miller(stated: str) -> Miller:
    """Return the index that a row states, spaced (``1 -1 0``) or as a facet: ``211``, ``(0001)``.

    Raises:
        UserError: it is neither.
    """
    digits = stated.strip("() ")
    return miller_from_facet(f"({digits})") if digits.isdigit() else miller_from_text(stated)


def check_ends(
    energy: AdsorptionEnergy, level: LevelOfTheory, start: Atoms, relaxed: Atoms
) -> tuple[Flag, ...]:
    """Return the flags of a label; the forces at its start are not known."""
    return check(
        start,
        relaxed,
        energy_ev=energy.energy_ev,
        initial_fmax_ev_ang=0.0,
        limits=limits_of(level),
    )


def _recovered(
    energy: AdsorptionEnergy, level: LevelOfTheory, recovery: PlacementRecovery
) -> tuple[Atoms, Atoms]:
    """Return the placement that a relaxed adslab is the end of, and the adslab in its frame."""
    name = energy.species.name
    framed = standard_frame(energy.atoms, ADSORBATE_TAG)
    # What has desorbed or come apart is said so, and not that no site is near.
    for flag in check_ends(energy, level, framed, framed):
        raise UserError(_flag_words(flag, energy.energy_ev))
    ruled("dissociated", require_species, framed, name)
    relaxed = ruled("adslab", adslab_from_atoms, energy.atoms, name)
    found = recovery(
        LabelledStructure(
            uid=energy.row.source,
            set="imported",
            level=level.name,
            adsorbate=name,
            surface="",
            miller=_NO_PLANE,
            energy_ev=energy.energy_ev,
            fold=-1,
            atoms=relaxed,
        )
    )
    if isinstance(found, Refusal):
        raise UserError(f"placement: {found.reason}; give where it started as start")
    return found.unrelaxed, found.relaxed


def _flag_words(flag: Flag, energy_ev: float) -> str:
    if flag.name != _OUT_OF_BOUNDS:
        return f"{flag.name}: {flag.value:.2f}, at most {flag.limit:g}"
    fits = [
        f"{energy_ev * ev:+.2f} eV if it is in {unit}"
        for unit, ev in _UNITS_EV.items()
        if abs(energy_ev * ev) <= flag.limit
    ]
    words = f" ({', '.join(fits)})" if fits else ""
    return (
        f"{flag.name}: {energy_ev:.2f} eV, at most {flag.limit:g} either way; check the unit"
        f"{words}, whether it is total, and the references"
    )


def _stated_start(energy: AdsorptionEnergy, stated: Atoms) -> tuple[Atoms, Atoms]:
    """Return a start that the source gives and its end, as they are: their ids are of campaigns."""
    tags_N, relaxed = stated.get_tags(), energy.atoms.copy()
    same_atoms = len(stated) == len(relaxed) and (stated.numbers == relaxed.numbers).all()
    if not same_atoms:
        raise UserError(
            "it has the atoms of the relaxed adslab in their order; "
            f"{stated.get_chemical_formula()} and {relaxed.get_chemical_formula()} differ in it"
        )
    require_species(stated, energy.species.name)
    if np.abs(stated.cell.array - relaxed.cell.array).max() > _START_CELL_ANG:
        raise UserError("it has the cell of the relaxed adslab; here the two differ")
    is_adsorbate_N = relaxed.get_tags() == ADSORBATE_TAG
    if not (tags_N == ADSORBATE_TAG).any():
        raise UserError("its tags are 0 bulk, 1 surface and 2 adsorbate; here none is 2")
    if ((tags_N == ADSORBATE_TAG) != is_adsorbate_N).any() or (np.diff(is_adsorbate_N) < 0).any():
        raise UserError("slab atoms come first and tag 2 is on the adsorbate; here it is not so")
    start = stated.copy()
    start.calc = None
    relaxed.set_tags(tags_N)
    relaxed.set_constraint(start.constraints)
    relaxed.pbc = start.pbc
    return start, relaxed
