"""A set of labels that covers: surfaces drawn from families, adsorbates in turn, all relaxed.

What is drawn follows from the plan and the number of the draw alone. So a set is made in portions,
by any number of processes, and each beginning of it is balanced: families by their shares, and
crystals and adsorbates of a family in turn.

Units: eV, Å. Structures are stored to 0.001 Å.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from ase import Atoms

from tasks.enumeration import (
    Adsorbate,
    Bulk,
    Miller,
    PlacedAdslab,
    PlacementSpec,
    Slab,
    SlabEdits,
    SlabSpec,
    enumerate_placements,
    enumerate_slabs,
    surface_sites,
)
from tasks.enumeration.custom.slab_edits import edited_slabs
from tasks.errors import UserError
from tasks.levels import LevelOfTheory
from tasks.structures.identity import seed_from
from tasks.training_data.table import Label, TrainingRow, training_row, write_table
from tasks.verification.engines import Engine, EngineError, FailureKind
from tasks.verification.labels.energies import EnergyCache, slab_energy
from tasks.verification.labels.verify import VerifiedEnergy, verify_adslab
from tasks.verification.relaxation.admission import unverifiable

_PER_ANG = 1000  # structures are stored in whole thousandths of an Å
_OF_THE_MACHINE = frozenset(
    {
        FailureKind.NOT_INSTALLED,
        FailureKind.OUT_OF_MEMORY,
        FailureKind.WALL_LIMIT,
        FailureKind.KILLED,
    }
)
_FOLDS = 5
_INT16, _INT32, _STRING = pa.int16(), pa.int32(), pa.string()
# One row for each placement that was computed. Without an energy it has no structure either: its
# flags say why.
LABEL_SCHEMA = pa.schema(
    [
        *[(name, _STRING) for name in ("pair", "family", "level", "level_hash", "adsorbate")],
        *[(name, _STRING) for name in ("bulk", "slab", "edit")],
        *[("miller", pa.list_(pa.int8())), ("fold", pa.int8()), ("energy_ev", pa.float64())],
        *[("flags", pa.list_(_STRING)), ("site_changed", pa.bool_()), ("steps", _INT16)],
        *[("seconds", pa.float32()), ("numbers", pa.list_(pa.uint8()))],
        *[("tags", pa.list_(pa.int8())), ("start", pa.list_(_INT32)), ("move", pa.list_(_INT32))],
        *[("cell", pa.list_(_INT32)), ("draw", _INT32)],
    ]
)
Item = TypeVar("Item")


@dataclass(frozen=True)
class LabelFamily:
    """Surfaces of one kind: crystals, how they are cut and changed, and what is put on them."""

    name: str
    share: float  # of all draws, relative to the shares of the others
    bulks: tuple[Bulk, ...]
    slabs: SlabSpec
    edits: SlabEdits
    adsorbates: tuple[Adsorbate, ...]


@dataclass(frozen=True)
class LabelPlan:
    """What a set is drawn from; one draw is a slab with ``per_slab`` placements."""

    families: tuple[LabelFamily, ...]
    placements: PlacementSpec = field(default_factory=PlacementSpec)
    per_slab: int = 8
    seed: int = 0


@dataclass(frozen=True)
class Draw:
    """One slab to cut, and the adsorbates to put on it."""

    number: int
    family: LabelFamily
    bulk: Bulk
    adsorbates: tuple[Adsorbate, ...]


def draws(plan: LabelPlan) -> Iterator[Draw]:
    """Yield draws without end; the first so many are the same however many are wanted.

    Args:
        plan: Families with their shares.

    Yields:
        Draws, numbered from 0.

    Raises:
        UserError: no family, or one without crystals or adsorbates.
    """
    for family in plan.families:
        if not family.bulks or not family.adsorbates:
            raise UserError(
                f"family {family.name} needs crystals and adsorbates, got {len(family.bulks)} and "
                f"{len(family.adsorbates)}; correct it or leave it out"
            )
    if not plan.families:
        raise UserError("a set of labels needs at least one family, got none")
    shares = np.array([family.share for family in plan.families])
    drawn = np.zeros(len(shares), dtype=int)
    number = 0
    while True:
        # The family that is furthest behind its share; of two, the first.
        index = int(np.argmax(shares / shares.sum() * (number + 1) - drawn))
        family, turn = plan.families[index], int(drawn[index])
        seed = f"{plan.seed} {family.name}"
        first = turn * plan.per_slab
        yield Draw(
            number,
            family,
            _in_turn(family.bulks, turn, f"{seed} bulks"),
            tuple(
                _in_turn(family.adsorbates, place, f"{seed} adsorbates")
                for place in range(first, first + plan.per_slab)
            ),
        )
        drawn[index] += 1
        number += 1


def _in_turn(items: Sequence[Item], place: int, seed: str) -> Item:
    """Return an item: all come once, in random order, before one comes again."""
    turn, within = divmod(place, len(items))
    return items[_order(len(items), seed_from("order", seed, turn))[within]]


@lru_cache(maxsize=256)
def _order(count: int, seed: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng(seed).permutation(count).tolist())


def require_references(plan: LabelPlan, level: LevelOfTheory, elements: frozenset[str]) -> None:
    """Refuse adsorbates that have no energy at a level, before hours of others are computed.

    Args:
        plan: Families with their adsorbates.
        level: Level of theory of the labels.
        elements: Those that the level's engine has potentials for.
    """
    species = {each.name: each for family in plan.families for each in family.adsorbates}
    for each in species.values():
        if reason := unverifiable(each.name, each.formula, level, elements):
            raise UserError(f"{each.name}: {reason}")


def relax_draw(
    draw: Draw, plan: LabelPlan, level: LevelOfTheory, engine: Engine, cache: EnergyCache
) -> list[dict[str, Any]]:
    """Relax the placements of one draw.

    Args:
        draw: A crystal and its adsorbates.
        plan: The plan that it was drawn from.
        level: Level of theory of the labels.
        engine: The level's engine.
        cache: Reference energies (eV) that are known already.

    Returns:
        Rows of ``LABEL_SCHEMA``, one for each placement; none where no slab can be cut.

    Raises:
        EngineError: this machine failed, which says nothing of the structures.
    """
    rng = np.random.default_rng(seed_from("draw", plan.seed, draw.family.name, draw.number))
    slab = _drawn_slab(draw, rng)
    if slab is None:
        return []
    try:
        slab_energy(slab.atoms, level, engine, cache)
        slab_fault = ""
    except EngineError as error:
        slab_fault = f"slab_{_fault_of_structure(error)}"
    sites, rows = surface_sites(slab), []
    for adsorbate in draw.adsorbates:
        placed, _ = enumerate_placements(slab, sites, adsorbate, plan.placements)
        if not placed:
            continue
        adslab = placed[int(rng.integers(len(placed)))]
        row, started = _row(draw, slab, adslab, level), time.perf_counter()
        if slab_fault:
            rows.append(row | {"flags": [slab_fault]})
            continue
        try:
            verified = verify_adslab(adslab.atoms, slab.atoms, adsorbate, level, cache, engine)
        except EngineError as error:
            rows.append(row | {"flags": [f"engine_{_fault_of_structure(error)}"]})
            continue
        seconds = time.perf_counter() - started
        rows.append(row | _outcome(adslab, verified) | {"seconds": seconds})
    return rows


def _fault_of_structure(error: EngineError) -> FailureKind:
    """Return why a structure has no energy; raise what another run may do better."""
    if error.kind in _OF_THE_MACHINE:
        raise error
    return error.kind


def _drawn_slab(draw: Draw, rng: np.random.Generator) -> Slab | None:
    """Return one of the slabs of the crystal and their variants, each as likely as the others."""
    spec = draw.family.slabs
    cut, _ = enumerate_slabs(draw.bulk, spec)
    if not cut:
        return None
    host = cut[int(rng.integers(len(cut)))]
    variants, _ = edited_slabs(host, draw.family.edits, spec.layer_tolerance_ang)
    return variants[int(rng.integers(len(variants)))] if variants else None


def _row(draw: Draw, slab: Slab, adslab: PlacedAdslab, level: LevelOfTheory) -> dict[str, Any]:
    """Return the row of a placement of which nothing is known yet."""
    return {
        "pair": adslab.candidate_id,
        "family": draw.family.name,
        "level": level.name,
        "level_hash": level.level_hash,
        "adsorbate": adslab.adsorbate,
        "bulk": slab.bulk_formula,
        "slab": slab.slab_id,
        "edit": slab.edit,
        "miller": list(slab.miller),
        "fold": int(slab.slab_id[:8], 16) % _FOLDS,
        "energy_ev": float("nan"),
        "flags": [],
        "site_changed": False,
        "steps": 0,
        "seconds": 0.0,
        "numbers": [],
        "tags": [],
        "start": [],
        "move": [],
        "cell": [],
        "draw": draw.number,
    }


def _outcome(adslab: PlacedAdslab, verified: VerifiedEnergy) -> dict[str, Any]:
    start = _thousandths(adslab.atoms.positions)
    return {
        "energy_ev": verified.energy_ev,
        "flags": [flag.name for flag in verified.flags],
        "site_changed": verified.site_changed,
        "steps": verified.steps,
        "numbers": adslab.atoms.numbers.tolist(),
        "tags": adslab.atoms.get_tags().tolist(),
        "start": start.tolist(),
        "move": (_thousandths(verified.atoms.positions) - start).tolist(),
        "cell": _thousandths(adslab.atoms.cell.array).tolist(),
    }


def _thousandths(values_ang: Any) -> Any:
    return np.rint(np.asarray(values_ang) * _PER_ANG).astype(int).ravel()


def write_labels(path: Path, rows: Sequence[dict[str, Any]]) -> int:
    """Write rows of ``LABEL_SCHEMA``, whole or not at all; return how many."""
    return write_table(path, pa.Table.from_pylist(list(rows), schema=LABEL_SCHEMA))


def read_labels(paths: Sequence[Path]) -> pa.Table:
    """Return the rows of several files in order of their names, a placement once at each level."""
    if not paths:
        raise UserError("no labels: none of the files that were named is there")
    table = pa.concat_tables([pq.read_table(path, schema=LABEL_SCHEMA) for path in sorted(paths)])
    labels = pc.binary_join_element_wise(table.column("pair"), table.column("level_hash"), " ")
    _, first = np.unique(labels.to_numpy(), return_index=True)
    return table.take(pa.array(np.sort(first)))


def rows_of_labels(labels: pa.Table) -> Iterator[TrainingRow]:
    """Yield the rows that training reads: start and end of each label without a flag.

    A pair keeps its name at every level, so that its rows are never learnt and judged by at once.
    """
    for row in labels.to_pylist():
        if row["flags"] or not np.isfinite(row["energy_ev"]):
            continue
        miller: Miller = tuple(row["miller"])
        label = Label(
            pair=row["pair"],
            group=row["bulk"],
            set=row["level"],
            level=row["level"],
            adsorbate=row["adsorbate"],
            bulk=row["bulk"],
            miller=miller,
            fold=row["fold"],
            energy_ev=row["energy_ev"],
        )
        start = np.array(row["start"])
        for kind, positions in (("unrelaxed", start), ("relaxed", start + np.array(row["move"]))):
            made = training_row(label, kind, _atoms(row, positions))  # type: ignore[arg-type]  # of Kind
            yield replace(made, uid=f"{made.uid}@{label.level}")


def _atoms(row: dict[str, Any], positions: Any) -> Atoms:
    return Atoms(
        row["numbers"],
        positions.reshape(-1, 3) / _PER_ANG,
        cell=np.reshape(row["cell"], (3, 3)) / _PER_ANG,
        pbc=True,
        tags=row["tags"],
    )
