"""Texts and energies of a file do not depend on the order of its atoms."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from model.contract import BOND_RULES, BondRule
from model.prediction.predictor import load_predictor
from tasks.enumeration import (
    FormulaSpec,
    PlacedAdslab,
    PlacementSpec,
    SlabSpec,
    adsorbate,
    enumerate_placements,
    enumerate_slabs,
    resolve_bulks,
    surface_sites,
)
from tasks.prediction.adslab_file import AdslabDescription, adslab_configuration, adslab_from_file
from tasks.prediction.atom_order import in_campaign_order
from tasks.prediction.featurise import configuration_text, featurise


def placed(formula: str, prototype: str | None, name: str) -> tuple[PlacedAdslab, str, str]:
    """Return a placement with the texts that a campaign writes of it, by both rules."""
    (bulk,), _ = resolve_bulks([FormulaSpec(formula, prototype)])
    slab = enumerate_slabs(bulk, SlabSpec(millers=((1, 1, 1),), min_thickness_ang=4.0))[0][0]
    sites = surface_sites(slab)
    adslab = enumerate_placements(slab, sites, adsorbate(name), PlacementSpec(rotations=1))[0][-1]
    by_radii, scaled = (featurise(adslab, slab, "emt", rule, sites).text for rule in BOND_RULES)
    return adslab, by_radii, scaled


def shuffled(atoms: Atoms, seed: int) -> Atoms:
    return atoms[np.random.default_rng(seed).permutation(len(atoms))]


@pytest.mark.parametrize("name", ["CO", "CH3", "OH"])
def test_a_shuffled_adslab_has_the_texts_of_the_campaign(name: str) -> None:
    adslab, by_radii, scaled = placed("Cu", None, name)
    mixed = shuffled(adslab.atoms, 0)
    ordered = in_campaign_order(mixed, name)
    assert configuration_text(ordered, name, "Cu", (1, 1, 1), "radii") == by_radii
    assert configuration_text(mixed, name, "Cu", (1, 1, 1), "scaled") == scaled
    first = len(adslab.atoms) - len(adsorbate(name).atoms)
    assert ordered.get_chemical_symbols()[first:] == adsorbate(name).atoms.get_chemical_symbols()


@pytest.mark.parametrize("name", ["CO", "CH3", "OH"])
def test_all_orders_of_an_alloy_have_one_text(name: str) -> None:
    adslab, _, scaled = placed("Ni3Pt", "L1_2", name)
    orders = [shuffled(adslab.atoms, seed) for seed in range(4)]
    for rule in BOND_RULES:
        texts = {
            configuration_text(in_campaign_order(a, name), name, "Ni3Pt", (1, 1, 1), rule)
            for a in orders
        }
        assert len(texts) == 1
    assert {configuration_text(a, name, "Ni3Pt", (1, 1, 1), "scaled") for a in orders} == {scaled}


@pytest.mark.parametrize("rule", BOND_RULES)
def test_a_swapped_co_has_the_same_energy(tmp_path: Path, rule: BondRule) -> None:
    adslab, _, _ = placed("Cu3Pt", "L1_2", "CO")
    atoms = adslab.atoms
    swapped = atoms[[*range(len(atoms) - 2), len(atoms) - 1, len(atoms) - 2]]
    configurations = []
    for number, written in enumerate((atoms, swapped, shuffled(atoms, 1))):
        file = tmp_path / f"{number}.extxyz"
        written.write(file)
        named = AdslabDescription("CO", (1, 1, 1))
        read = adslab_from_file(file, "CO")
        configurations.append(adslab_configuration(read, named, "beef-vdw-ch4", str(number), rule))
    assert len({configuration.text for configuration in configurations}) == 1
    if rule == "radii":
        answers = load_predictor("mini").predict(configurations)
        assert [a.energy_ev for a in answers] == pytest.approx([answers[0].energy_ev] * 3, abs=1e-6)
