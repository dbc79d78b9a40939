from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from support.enumeration.crystals import copper_slab

from tasks.enumeration import FormulaSpec, Slab, SlabSpec, enumerate_slabs, resolve_bulks
from tasks.enumeration.custom.slab_edits import SlabEdits, edited_slabs
from tasks.errors import UserError
from tasks.structures.identity import fixed_mask, slab_id

TOLERANCE_ANG = 0.3


@pytest.fixture(scope="module")
def copper() -> Slab:
    return copper_slab(thickness_ang=7.0, in_plane_ang=7.0)


def edited(slab: Slab, edits: SlabEdits) -> dict[str, Slab]:
    slabs, _ = edited_slabs(slab, edits, TOLERANCE_ANG)
    return {each.edit: each for each in slabs}


def cut(formula: str, prototype: str | None, miller: tuple[int, int, int]) -> list[Slab]:
    (bulk,), _ = resolve_bulks([FormulaSpec(formula, prototype)])
    return enumerate_slabs(bulk, SlabSpec(millers=(miller,)))[0]


def symbols_from_top(atoms: Atoms) -> list[set[str]]:
    heights = np.unique(atoms.positions[:, 2].round(2))[::-1]
    return [set(atoms.symbols[np.abs(atoms.positions[:, 2] - z) < 0.1]) for z in heights]


def test_a_skin_replaces_the_outermost_layer(copper: Slab) -> None:
    made = edited(copper, SlabEdits(skin=("Pt",)))
    assert list(made) == ["", "skin Pt"]
    layers = symbols_from_top(made["skin Pt"].atoms)
    assert layers == [{"Pt"}] + [{"Cu"}] * (len(layers) - 1)


def test_a_skin_may_be_two_layers_thick(copper: Slab) -> None:
    made = edited(copper, SlabEdits(skin=("Pt",), skin_layers=2))
    assert symbols_from_top(made["skin Pt, 2 layers"].atoms)[:3] == [{"Pt"}, {"Pt"}, {"Cu"}]


def test_a_subsurface_edit_replaces_the_second_layer(copper: Slab) -> None:
    made = edited(copper, SlabEdits(subsurface=("Ni",)))["Ni in layer 2"]
    assert symbols_from_top(made.atoms)[:3] == [{"Cu"}, {"Ni"}, {"Cu"}]


@pytest.mark.parametrize(
    ("formula", "prototype", "miller", "names"),
    [
        ("Cu", None, (1, 1, 1), ["1 Pd for Cu"]),
        ("Cu", None, (2, 1, 1), ["1 Pd for Cu 1", "1 Pd for Cu 2", "1 Pd for Cu 3"]),
        ("Cu3Pt", "L1_2", (1, 1, 1), ["1 Pd for Cu", "1 Pd for Pt"]),
    ],
)
def test_one_atom_of_each_kind_is_replaced(
    formula: str, prototype: str | None, miller: tuple[int, int, int], names: list[str]
) -> None:
    made = edited(cut(formula, prototype, miller)[0], SlabEdits(single_atom=("Pd",)))
    assert sorted(made) == ["", *names]
    for name in names:
        assert (made[name].atoms.symbols == "Pd").sum() == 1
        assert made[name].atoms.get_tags()[made[name].atoms.symbols == "Pd"] == 1


def test_strain_stretches_the_plane_and_keeps_the_heights(copper: Slab) -> None:
    made = edited(copper, SlabEdits(strain=(0.02,)))["strain +2 %"].atoms
    assert np.allclose(made.cell.array[:2], 1.02 * copper.atoms.cell.array[:2])
    assert np.allclose(made.positions[:, 2], copper.atoms.positions[:, 2])
    assert made.cell.array[2, 2] == copper.atoms.cell.array[2, 2]


def test_a_slab_from_a_file_is_strained_as_one_that_was_cut(copper: Slab) -> None:
    own = replace(copper, bulk_id="")
    made = edited(own, SlabEdits(strain=(0.02, -0.01), only_edited=True))
    assert list(made) == ["strain +2 %", "strain -1 %"]
    assert np.allclose(made["strain -1 %"].atoms.cell.array[:2], 0.99 * own.atoms.cell.array[:2])


@pytest.mark.parametrize("edit", ["skin", "subsurface", "single_atom"])
def test_the_dummy_atom_x_is_no_element(edit: str) -> None:
    with pytest.raises(UserError, match="elements by symbol, got X"):
        SlabEdits(**{edit: ("X",)})  # type: ignore[arg-type]


def test_heights_follow_a_poisson_ratio(copper: Slab) -> None:
    """A free film of v = 1/3 under 2 % is 2 % thinner."""
    edits = SlabEdits(strain=(0.02,), poisson_ratio=1 / 3)
    made = edited(copper, edits)["strain +2 %, heights -2 %"].atoms
    assert np.isclose(np.ptp(made.positions[:, 2]), 0.98 * np.ptp(copper.atoms.positions[:, 2]))
    vacuum = made.cell.array[2, 2] - np.ptp(made.positions[:, 2])
    assert np.isclose(vacuum, copper.atoms.cell.array[2, 2] - np.ptp(copper.atoms.positions[:, 2]))


def test_texts_name_the_composition_of_what_was_exchanged(copper: Slab) -> None:
    edits = SlabEdits(skin=("Pt",), subsurface=("Ni",), strain=(-0.02,))
    formulas = {edit: slab.bulk_formula for edit, slab in edited(copper, edits).items()}
    assert formulas == {
        "": "Cu",
        "skin Pt": "Cu3Pt",
        "Ni in layer 2": "Cu3Ni",
        "strain -2 %": "Cu",
    }


def test_tags_and_fixed_atoms_are_kept_and_ids_are_of_the_content(copper: Slab) -> None:
    edits = SlabEdits(skin=("Pt",), single_atom=("Pd",), strain=(0.01, -0.01))
    made = edited(copper, edits)
    assert len({slab.slab_id for slab in made.values()}) == len(made) == 5
    for slab in made.values():
        assert slab.slab_id == slab_id(slab.atoms)
        assert slab.bulk_id == copper.bulk_id
        assert (slab.atoms.get_tags() == copper.atoms.get_tags()).all()
        assert (fixed_mask(slab.atoms) == fixed_mask(copper.atoms)).all()


def test_the_slab_itself_may_be_left_out(copper: Slab) -> None:
    assert list(edited(copper, SlabEdits(skin=("Pt",), only_edited=True))) == ["skin Pt"]


def test_an_edit_that_changes_nothing_is_refused(copper: Slab) -> None:
    edits = SlabEdits(skin=("Cu",), single_atom=("Cu",))
    slabs, refused = edited_slabs(copper, edits, TOLERANCE_ANG)
    assert [slab.edit for slab in slabs] == [""]
    assert [r.reason for r in refused] == [
        "the edit changes nothing: the layer is Cu already",
        "the edit changes nothing: the surface is Cu already",
    ]
    assert refused[0].item.endswith("skin Cu")


def test_a_foreign_atom_does_not_touch_its_images() -> None:
    narrow = copper_slab(in_plane_ang=0.0)
    _, refused = edited_slabs(narrow, SlabEdits(single_atom=("Pd",)), TOLERANCE_ANG)
    assert "2.55 Å apart, more than 2.88 needed; raise min_in_plane" in refused[0].reason


def test_an_edit_needs_layers_below_it() -> None:
    thin = copper_slab(thickness_ang=4.0)  # of two layers
    _, refused = edited_slabs(thin, SlabEdits(subsurface=("Ni",)), TOLERANCE_ANG)
    assert [r.reason for r in refused] == ["too few layers for the edit: 2, more than 2 needed"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"skin": ("Xx",)}, "elements by symbol, got Xx"),
        ({"skin": ("Pt",), "skin_layers": 0}, "1 layer or more, got 0"),
        ({"strain": (2.0,)}, "between -0.1 and 0.1, not 0, got 2: 0.02 is 2 %"),
        ({"strain": (0.0,)}, "not 0, got 0"),
        ({"poisson_ratio": 0.7}, "0 to 0.5, got 0.7"),
        ({"only_edited": True}, "needs an edit"),
    ],
)
def test_impossible_edits_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SlabEdits(**values)  # type: ignore[arg-type]
