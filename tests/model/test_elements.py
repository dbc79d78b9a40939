"""Formulas are read in one way, with brackets and without."""

import pytest

from model.elements import composition, material_kind
from model.errors import ModelError


@pytest.mark.parametrize(
    ("formula", "counts"),
    [
        ("COCH2OH", {"C": 2, "O": 2, "H": 3}),
        ("Cu3Pt", {"Cu": 3, "Pt": 1}),
        ("NH2N(CH3)2", {"N": 2, "H": 8, "C": 2}),
        ("C(CH(CH3)2)2", {"C": 7, "H": 14}),
    ],
)
def test_the_atoms_of_a_formula_are_counted(formula: str, counts: dict[str, int]) -> None:
    assert composition(formula) == counts


@pytest.mark.parametrize(
    "formula", ["", "cu3", "C-O", "CO ", "N(CH3", "N()2", "(2)", "Cu)", "Cu9999999999"]
)
def test_anything_but_a_formula_is_refused(formula: str) -> None:
    with pytest.raises(ModelError, match="a formula is element symbols and counts"):
        composition(formula)


def test_a_huge_count_costs_no_memory() -> None:
    assert composition("(Cu)999999999") == {"Cu": 999_999_999}


@pytest.mark.parametrize(
    ("symbols", "kind"),
    [
        ("Cu", "metal"),
        ("Cu Pt", "alloy"),
        ("Ni Sb", "alloy"),
        ("Ir O", "oxide"),
        ("Sr Ti O", "oxide"),
        ("Si O", "oxide"),
        ("Mo S", "sulphide"),
        ("Ti N", "nitride"),
        ("Na Cl", "halide"),
        ("Cs Pb Br I", "halide"),
        ("Ta O N", "other"),
        ("Mo C", "other"),
        ("Pd H", "other"),
        ("C", "other"),
        ("O", "other"),
    ],
)
def test_the_elements_of_a_slab_make_one_kind_of_material(symbols: str, kind: str) -> None:
    assert material_kind(symbols.split()) == kind
