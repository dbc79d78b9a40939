"""Tables of known energies, for the engine ``replay``: written once, found again by content.

A Parquet file with a row for each structure: ``id``, ``formula`` and ``energy_ev`` (total energies,
or any others whose differences are right). The id of a slab or an adslab is of its canonical form
(``tasks.structures.identity``), that of a gas molecule of its elements and distances, as it has no
cell.

    write_table(path, [Known(slab, -10.0), Known(adslab, -24.5), Known(boxed(gas, None), -14.0)])
    write_table(path, [*adsorption(adslab, -0.5), *gas_zeros(scheme)])
    write_table(path, [*of_labels(training_labels(db, ...).taken), *gas_zeros(scheme)])

Where adsorption energies alone are known, slabs and molecules stand at zero and the adslab at the
adsorption energy, so that the product subtracts zeros and finds what the source says. The gas
references must then be those that the source measures against.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ase import Atoms
from ase.build import molecule

from screening_db.learning.labels import TrainingLabel
from tasks.errors import UserError
from tasks.levels.references import ReferenceScheme
from tasks.structures.formulas import formula_counts
from tasks.structures.identity import content_id, structure_bytes
from tasks.structures.json_text import structure_from_text
from tasks.verification.inputs.sampling import boxed, is_gas

_DISTANCE_STEP_ANG = 0.01
_OFFSET = 0.2887  # no tabulated distance sits on a border of the steps
_SCHEMA = pa.schema([("id", pa.string()), ("formula", pa.string()), ("energy_ev", pa.float64())])


@dataclass(frozen=True)
class TabulatedEnergy:
    """A structure and its energy (eV); a molecule is boxed (see ``inputs.sampling.boxed``)."""

    atoms: Atoms
    energy_ev: float


def energy_id(atoms: Atoms) -> str:
    """Return the id under which a table keeps a structure."""
    if not is_gas(atoms):
        return content_id("structure", structure_bytes(atoms))
    order = np.argsort(atoms.numbers, kind="stable")
    lengths_P = np.sort(atoms.get_all_distances()[np.triu_indices(len(atoms), 1)])
    steps_P = np.floor(lengths_P / _DISTANCE_STEP_ANG + _OFFSET).astype("<i4")
    return content_id("gas", atoms.numbers[order].astype("<i4").tobytes(), steps_P.tobytes())


def adsorption(adslab: Atoms, energy_ev: float) -> tuple[TabulatedEnergy, TabulatedEnergy]:
    """Return what a table says of an adsorption energy: the adslab at it, its slab at zero."""
    return TabulatedEnergy(adslab, energy_ev), TabulatedEnergy(adslab[adslab.get_tags() != 2], 0.0)


def gas_zeros(
    scheme: ReferenceScheme, adsorbates: Iterable[Atoms] = ()
) -> Iterator[TabulatedEnergy]:
    """Yield the gas molecules of a reference at zero; with a molecule scheme, the adsorbates'."""
    for name in scheme.molecules:
        yield TabulatedEnergy(boxed(molecule(name), None), 0.0)
    for atoms in adsorbates:
        yield TabulatedEnergy(boxed(atoms, None), 0.0)


def of_labels(labels: Iterable[TrainingLabel]) -> Iterator[TabulatedEnergy]:
    """Yield what labels of a screening database say of their placements.

    Raises:
        UserError: a label's placement is no longer kept.
    """
    for label in labels:
        if label.start is None:
            raise UserError(
                "a label is replayed from the placement it began with, which candidate "
                f"{label.candidate_id} no longer has; leave the label out"
            )
        yield from adsorption(structure_from_text(label.start), label.energy_ev)


def write_energy_table(path: Path, known: Iterable[TabulatedEnergy]) -> None:
    """Write energies by id, in the order of the ids: the same energies are the same file.

    Raises:
        UserError: an energy is not finite, or a structure has two.
    """
    rows: dict[str, tuple[str, float]] = {}
    for one in known:
        formula = one.atoms.get_chemical_formula()
        if not np.isfinite(one.energy_ev):
            raise UserError(f"an energy is finite, got {one.energy_ev} of {formula}; leave it out")
        found = rows.setdefault(energy_id(one.atoms), (formula, float(one.energy_ev)))
        if found[1] != one.energy_ev:
            raise UserError(
                f"a structure has one energy, got {found[1]} and {one.energy_ev} eV of {formula}; "
                "leave one out"
            )
    lines = [{"id": i, "formula": f, "energy_ev": e} for i, (f, e) in sorted(rows.items())]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(lines, schema=_SCHEMA), path)


@dataclass(frozen=True)
class EnergyTable:
    """What a file knows."""

    energies_ev: dict[str, float]
    elements: frozenset[str]


def read_table(path: Path) -> EnergyTable:
    """Return the energies of a file, which is read once as long as it does not change.

    Raises:
        UserError: it is no table of energies.
    """
    state = path.stat()
    return _read(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _read(path: Path, changed_ns: int, size: int) -> EnergyTable:
    try:
        columns = pq.read_table(path, columns=_SCHEMA.names).cast(_SCHEMA).to_pydict()
    except (OSError, ValueError) as error:
        raise UserError(
            f"a table of known energies is Parquet with the columns {', '.join(_SCHEMA.names)}, "
            f"got {path} ({error}); write it with tasks.verify.replay_table.write_table"
        ) from error
    energies = dict(zip(columns["id"], columns["energy_ev"], strict=True))
    elements = {symbol for formula in set(columns["formula"]) for symbol in formula_counts(formula)}
    return EnergyTable(energies, frozenset(elements))
