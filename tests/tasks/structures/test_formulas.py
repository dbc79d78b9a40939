"""Isomers have names of their own, however their atoms are numbered."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from tasks.enumeration import adsorbate, adsorbate_names, species_name
from tasks.errors import UserError
from tasks.structures.formulas import formula_counts, structural_formula


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("CH3CH2OH", "CH3CH2OH"),
        ("CH3OCH3", "CH3OCH3"),
        ("C3H8", "CH3CH2CH3"),
        ("isobutane", "CH(CH3)2CH3"),
        ("CH3CONH2", "CH3C(O)NH2"),
        ("C6H6", "CHCHCHCHCHCH"),
        ("C4H4S", "CHCHCHCHS"),
        ("H2", "H2"),
    ],
)
def test_molecules_are_written_as_they_are_bonded(name: str, formula: str) -> None:
    assert structural_formula(molecule(name)) == formula


@pytest.mark.parametrize("name", ["CH3CONH2", "isobutane", "C5H5N", "CH3CH2OCH3"])
def test_the_numbering_of_atoms_plays_no_part(name: str) -> None:
    whole = molecule(name)
    rng = np.random.default_rng(0)
    shuffled = {structural_formula(whole[rng.permutation(len(whole))]) for _ in range(10)}
    assert shuffled == {structural_formula(whole)}


def test_a_molecule_in_pieces_has_no_formula() -> None:
    apart = Atoms("CO", [[0, 0, 0], [0, 0, 3.0]])
    with pytest.raises(UserError, match="CO is in pieces"):
        structural_formula(apart)


def test_a_stored_species_goes_by_its_stored_name() -> None:
    # Two stored names are one species bound by another atom; the one spelt as it is bonded wins.
    assert species_name(adsorbate("OCHCH3").atoms) == "CH3CHO"
    others = [name for name in adsorbate_names() if name != "OCHCH3"]
    assert [species_name(adsorbate(name).atoms) for name in others] == others


def test_an_unknown_species_goes_by_its_formula() -> None:
    assert species_name(molecule("CH3OCH3")) == "CH3OCH3"


def test_a_structural_formula_counts_the_atoms_of_its_molecule() -> None:
    assert formula_counts(structural_formula(molecule("isobutane"))) == {"C": 4, "H": 10}


@pytest.mark.parametrize("formula", ["", "co", "C-O", "CO "])
def test_a_formula_that_cannot_be_read_is_refused(formula: str) -> None:
    with pytest.raises(UserError, match="a formula is element symbols and counts"):
        formula_counts(formula)
