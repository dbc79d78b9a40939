"""Have adslabs generated for a request, check each from its CIF, and predict the valid ones.

Units   energies in eV, lengths in Å.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms
from ase.constraints import FixAtoms

from model.contract import ADSORBATE_TAG, BondRule, Configuration, Prediction, Predictor
from model.generation.design import Designer
from model.generation.stream_sampler import SampledStream, Sampling
from model.generation.structure_stream import Structure
from tasks.design.checks import Cause, DesignVerdict, check_design
from tasks.design.request import DesignRequest
from tasks.enumeration import Adslab, Miller
from tasks.errors import UserError
from tasks.prediction.featurise import configuration_text
from tasks.structures.formats import cif_text
from tasks.structures.identity import candidate_id, slab_id
from tasks.structures.standard_frame import bulk_formula

AT_ONCE = 32  # streams written in one batch


@dataclass(frozen=True)
class DesignedAdslab(Adslab):
    """A valid design, the lower half of its slab held.

    Its text names the Miller index that the designer gave the surface.
    """

    bulk_formula: str
    miller: Miller
    text: str


@dataclass(frozen=True)
class Design:
    """One attempt: its stream, its CIF where the stream ended, and the verdict on it."""

    number: int  # from 1
    tokens: tuple[str, ...]
    cif: str | None
    verdict: DesignVerdict
    adslab: DesignedAdslab | None = None
    prediction: Prediction | None = None

    def error_ev(self, target_ev: float) -> float | None:
        """Return predicted minus target energy, None where nothing was predicted."""
        return None if self.prediction is None else self.prediction.energy_ev - target_ev


def generate_designs(
    designer: Designer,
    predictor: Predictor,
    request: DesignRequest,
    *,
    count: int,
    seed: int = 0,
    sampling: Sampling | None = None,
) -> list[Design]:
    """Return ``count`` attempts at a request; equal seeds and counts give equal designs.

    Args:
        designer: Writes the structures.
        predictor: Predicts the valid ones.
        request: Adsorbate, bulk, level and target energy (eV).
        count: The number of structures to write, 1 or more.
        seed: Of the draws.
        sampling: Temperature and cut-offs of the draws; the usual ones where it is None.

    Returns:
        The attempts in the order in which they were written, each with its verdict, and a
        prediction (eV) where that is good.

    Raises:
        UserError: ``count`` is below 1.
        ModelError: the predictor does not know the level of theory of the request.
    """
    if count < 1:
        raise UserError(f"the number of designs is 1 or more, got {count}")
    designs = [
        _judged(number, written, request, designer.checkpoint_sha256, seed, predictor.bond_rule)
        for number, written in enumerate(
            _written(designer, request, count, seed, sampling), start=1
        )
    ]
    return _predicted(designs, predictor, request)


def count_causes(designs: Sequence[Design]) -> Counter[Cause]:
    """Return how many designs are invalid by each cause."""
    return Counter(design.verdict.cause for design in designs if design.verdict.cause is not None)


def _written(
    designer: Designer, request: DesignRequest, count: int, seed: int, sampling: Sampling | None
) -> list[SampledStream]:
    draw = torch.Generator(device=designer.sampler.language.device).manual_seed(seed)
    found: list[SampledStream] = []
    while len(found) < count:
        some = min(AT_ONCE, count - len(found))
        prompts, constraints = [request.prompt] * some, [request.constraints] * some
        found += designer.sampler.write(prompts, constraints, sampling or Sampling(), draw)
    return found


def _judged(
    number: int,
    written: SampledStream,
    request: DesignRequest,
    designer: str,
    seed: int,
    rule: BondRule,
) -> Design:
    structure = written.structure
    if structure is None:
        verdict = DesignVerdict("unfinished", f"no end within {len(written.tokens)} tokens")
        return Design(number, written.tokens, None, verdict)
    cif = cif_text(_atoms(structure), _notes(number, structure, request, designer, seed))
    judged = check_design(cif, request.requirements)
    adslab = None
    if judged.adslab is not None:
        adslab = _adslab(judged.adslab, request, structure.miller, rule)
    return Design(number, written.tokens, cif, judged.verdict, adslab)


def _atoms(structure: Structure) -> Atoms:
    return Atoms(structure.numbers_N, structure.positions_N3, cell=structure.cell_33, pbc=True)


def _notes(
    number: int, structure: Structure, request: DesignRequest, designer: str, seed: int
) -> list[str]:
    slab = _atoms(structure)[structure.tags_N != ADSORBATE_TAG]
    h, k, l = structure.miller  # noqa: E741  the names of Miller indices
    return [
        f"{request.adsorbate} on {bulk_formula(slab)} ({h} {k} {l}), not relaxed",
        f"asked for: {request.target_ev:+.2f} eV at {request.level}",
        f"designer {designer[:12]}, seed {seed}, number {number}",
    ]


def _adslab(
    framed: Atoms, request: DesignRequest, miller: Miller, rule: BondRule
) -> DesignedAdslab:
    """Return a judged adslab with its ids and text."""
    atoms = framed.copy()
    in_slab_N = atoms.get_tags() != ADSORBATE_TAG
    z_N = atoms.positions[:, 2]
    middle = 0.5 * (z_N[in_slab_N].min() + z_N[in_slab_N].max())
    atoms.set_constraint(FixAtoms(indices=np.flatnonzero(in_slab_N & (z_N < middle + 1e-6))))
    slab = atoms[in_slab_N]
    slab_key, formula = slab_id(slab), bulk_formula(slab)
    name = request.species or request.adsorbate
    candidate = candidate_id(atoms, slab_key, name)
    text = configuration_text(atoms, request.adsorbate, formula, miller, rule)
    return DesignedAdslab(candidate, slab_key, name, atoms, formula, miller, text)


def _predicted(
    designs: Sequence[Design], predictor: Predictor, request: DesignRequest
) -> list[Design]:
    valid = {d.number: d.adslab for d in designs if d.adslab is not None}
    predictions = predictor.predict(
        [
            Configuration.from_atoms(
                a.atoms, candidate_id=a.candidate_id, level=request.level, text=a.text
            )
            for a in valid.values()
        ]
    )
    found = dict(zip(valid, predictions, strict=True))
    return [replace(design, prediction=found.get(design.number)) for design in designs]
