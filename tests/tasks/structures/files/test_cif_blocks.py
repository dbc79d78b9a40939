"""What a CIF holds is read as the dictionary means it, or refused with its block's name."""

import pytest
from ase import Atoms

from tasks.errors import UserError
from tasks.structures.files.cif_blocks import FileStructure, UnreadStructure, read_cif_blocks

HEXAGONAL = (2.7, 2.7, 4.28, 90, 90, 120)
P63_MMC = "_symmetry_space_group_name_H-M 'P 63/m m c'\n_symmetry_Int_Tables_number 194\n"


def cif(
    *sites: str,
    name: str = "a",
    cell: tuple[float, ...] = (3.61, 3.61, 3.61, 90, 90, 90),
    before: str = "",
    columns: str = "label type_symbol fract_x fract_y fract_z occupancy",
) -> str:
    keys = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    lines = [f"_cell_{key} {value}" for key, value in zip(keys, cell, strict=True)]
    loop = [f"_atom_site_{column}" for column in columns.split()]
    return "\n".join([f"data_{name}", *lines, before, "loop_", *loop, *sites, ""])


FCC = ("Cu1 Cu 0 0 0 1", "Cu2 Cu 0.5 0.5 0 1", "Cu3 Cu 0.5 0 0.5 1", "Pt1 Pt 0 0.5 0.5 1")


def read(text: str) -> Atoms:
    (found,) = read_cif_blocks(text, keep_order=False)
    assert isinstance(found, FileStructure), found
    return found.atoms


def reason(text: str) -> str:
    (found,) = read_cif_blocks(text, keep_order=False)
    assert isinstance(found, UnreadStructure), found
    assert "\n" not in found.reason
    return found.reason


def test_blocks_that_cannot_be_read_leave_the_others_and_keep_their_names() -> None:
    over = [*FCC[:3], "Pt1 Pt 0 0.5 0.5 1.02"]
    unknown = [*FCC[:3], "Pt1 Pt ? ? ? 1"]
    text = "".join(
        cif(*sites, name=name)
        for name, sites in (("one", FCC), ("two", over), ("three", FCC), ("four", unknown))
    )
    found = read_cif_blocks(text, keep_order=False)
    assert [each.name for each in found] == ["one", "two", "three", "four"]
    reasons = [each.reason for each in found if isinstance(each, UnreadStructure)]
    assert "site Pt1 has 1.02" in reasons[0]
    assert "site Pt1 is '?'" in reasons[1]


def test_blocks_of_one_name_are_two() -> None:
    found = read_cif_blocks(cif(*FCC) + cif(*FCC), keep_order=False)
    assert [each.name for each in found] == ["a", "a.2"]


def test_a_block_of_authors_is_no_structure_and_a_text_field_no_block() -> None:
    authors = "data_global\n_publ_section_title\n;\ndata_not_a_block\nloop_\n;\n"
    assert len(read(authors + cif(*FCC))) == 4


def test_a_text_field_that_never_ends_hides_nothing() -> None:
    with pytest.raises(UserError, match="never ends"):
        read_cif_blocks(cif(*FCC) + "_title\n;\nsome text\n" + cif(*FCC), keep_order=False)


@pytest.mark.parametrize("unknown", ["?", ".", "1.0(0)", "1.00(2)", "0.999"])
def test_an_occupancy_that_is_not_stated_is_one(unknown: str) -> None:
    assert len(read(cif(f"Cu1 Cu 0 0 0 {unknown}", *FCC[1:]))) == 4


@pytest.mark.parametrize("occupancy", ["0", "-1", "0,5", "0.5", "1.2", "half"])
def test_an_odd_occupancy_is_refused(occupancy: str) -> None:
    assert "Cu1" in reason(cif(f"Cu1 Cu 0 0 0 {occupancy}", *FCC[1:]))


def test_mixed_valence_is_one_element() -> None:
    valence = ("Fe1 Fe2+ 0 0 0 0.5", "Fe2 Fe3+ 0 0 0 0.5", "O1 O2- 0.5 0.5 0.5 1")
    assert str(read(cif(*valence)).symbols) in {"FeO", "OFe"}


def test_deuterium_and_hydrogen_share_a_site() -> None:
    shared = ("D1 D 0 0 0 0.6", "H1 H 0 0 0 0.4", "Pd1 Pd 0.5 0.5 0.5 1")
    assert sorted(read(cif(*shared)).get_chemical_symbols()) == ["H", "Pd"]


def test_disorder_names_its_site_and_species() -> None:
    said = reason(cif("M1 Cu 0 0 0 0.5", "M2 Au 0 0 0 0.5"))
    assert "partial occupancy" in said
    assert "Cu" in said
    assert "Au" in said


def test_thirds_that_were_rounded_are_thirds() -> None:
    for third, two_thirds in (("0.3333", "0.6667"), ("0.333", "0.667"), ("0.333", "0.666")):
        row = f"Ru1 Ru {third} {two_thirds} 0.25 1"
        atoms = read(cif(row, cell=HEXAGONAL, before=P63_MMC + "_cell_formula_units_Z 2\n"))
        assert len(atoms) == 2
        assert atoms.get_scaled_positions()[0] == pytest.approx([1 / 3, 2 / 3, 0.25], abs=1e-9)


def test_images_of_an_atom_that_nearly_coincide_are_one() -> None:
    rows = ("O1 O 0.1667 0.333 0.25 1",)  # x, 2x: a special position to 3 decimals
    assert len(read(cif(*rows, cell=(5.0, 5.0, 8.0, 90, 90, 120), before=P63_MMC))) == 6


def test_an_atom_listed_twice_is_one_and_two_elements_at_a_place_are_refused() -> None:
    assert len(read(cif(FCC[0], *FCC))) == 4
    assert "one element" in reason(cif("Au1 Au 0 0 0 1", *FCC))


@pytest.mark.parametrize(
    ("formula", "z", "fits"),
    [
        ("'Cu3 Pt'", "1", True),
        ("'Cu3 Pt1'", "?", True),
        ("'Cu6 Pt2'", "?", False),  # half a formula
        ("'Cu3 Pt'", "4", False),
        ("'Cu4 Pt'", "1", False),
        ("Cu4", "1", False),
        ("?", "1", True),
        ("'Cu3 Pt H2'", "1", False),
    ],
)
def test_the_composition_that_a_block_states_is_what_is_read(
    formula: str, z: str, fits: bool
) -> None:
    stated = f"_chemical_formula_sum {formula}\n_cell_formula_units_Z {z}\n"
    text = cif(*FCC, before=stated)
    if fits:
        assert len(read(text)) == 4
    else:
        assert "the sites give Cu3Pt1" in reason(text)


def test_a_formula_of_the_whole_cell_beside_z_is_understood() -> None:
    rows = [row.replace("Pt", "Cu") for row in FCC]
    stated = "_chemical_formula_sum Cu4\n_cell_formula_units_Z 4\n"
    assert len(read(cif(*rows, before=stated))) == 4


@pytest.mark.parametrize(
    ("symbol", "element"),
    [
        ("Cu", "Cu"),
        ("CU", "Cu"),
        ("cu", "Cu"),
        ("Cu2+", "Cu"),
        ("O2-", "O"),
        ("2H", "H"),
        ("Fe+3", "Fe"),
    ],
)
def test_symbols_are_elements_with_charges(symbol: str, element: str) -> None:
    assert read(cif(f"a {symbol} 0 0 0 1")).get_chemical_symbols() == [element]


@pytest.mark.parametrize("symbol", ["X", "Wat", "OH", "Ow", "M", "T", "Cu,Au", "Xx"])
def test_what_is_no_element_is_refused(symbol: str) -> None:
    assert "needs an element" in reason(cif(f"a {symbol} 0 0 0 1"))


@pytest.mark.parametrize(
    ("labels", "formula", "elements"),
    [
        (("Cu1A", "O2-"), "", ["Cu", "O"]),
        (("FE", "NI1"), "", ["Fe", "Ni"]),
        (("CO1", "O1"), "'Co O'", ["Co", "O"]),
        (("CO1", "O1"), "'C O'", ["C", "O"]),
        (("CO1", "O1"), "", None),
        (("Wat", "O1"), "", None),
    ],
)
def test_labels_without_symbols_begin_with_their_element(
    labels: tuple[str, str], formula: str, elements: list[str] | None
) -> None:
    text = cif(
        f"{labels[0]} 0 0 0",
        f"{labels[1]} 0.5 0.5 0.5",
        columns="label fract_x fract_y fract_z",
        before=f"_chemical_formula_sum {formula}\n" if formula else "",
    )
    if elements is None:
        assert "label" in reason(text)
    else:
        assert sorted(read(text).get_chemical_symbols()) == sorted(elements)


def test_case_and_dots_of_keys_do_not_matter() -> None:
    operations = "loop_\n_Space_Group_Symop.Operation_XYZ\n'x,y,z'\n'x+1/2,y+1/2,z'\n"
    text = cif("Cu1 Cu 0 0 0 1", before=operations).replace("loop_", "LOOP_")
    assert len(read(text)) == 2


def test_a_space_group_that_is_not_understood_is_not_p1() -> None:
    said = reason(cif(FCC[0], before="_symmetry_space_group_name_H-M 'Q 9 9'\n"))
    assert "list the symmetry operations" in said


def test_a_rhombohedral_group_takes_the_axes_of_its_cell() -> None:
    angles = (4.0, 4.0, 4.0, 60, 60, 60)
    group = "_symmetry_space_group_name_H-M 'R -3 m{}'\n"
    row = "Bi1 Bi 0.23 0.23 0.23 1"
    assert len(read(cif(row, cell=angles, before=group.format("")))) == 2
    assert "other axes" in reason(cif(row, cell=angles, before=group.format(" :H")))


@pytest.mark.parametrize(
    ("group", "stated", "row", "atoms"),
    [
        ("F d -3 m :1", "", "Si Si 0 0 0 1", 8),
        ("F d -3 m S", "", "Si Si 0 0 0 1", 8),
        ("F d -3 m :2", "", "Si Si 0.125 0.125 0.125 1", 8),
        ("F d -3 m", "_chemical_formula_sum Si\n_cell_formula_units_Z 8\n", "Si Si 0 0 0 1", 8),
        ("F d -3 m", "", "Si Si 0 0 0 1", None),  # 8 or 16 atoms
        ("F m -3 m", "", "Cu Cu 0 0 0 1", 4),
        ("Q 9 9", "_space_group_IT_number 225\n", "Cu Cu 0 0 0 1", None),
        ("P 1", "_space_group_IT_number 225\n", "Cu Cu 0 0 0 1", None),
    ],
)
def test_a_space_group_without_operations_is_the_setting_that_fits(
    group: str, stated: str, row: str, atoms: int | None
) -> None:
    named = f"_symmetry_space_group_name_H-M '{group}'\n{stated}"
    text = cif(row, cell=(5.43, 5.43, 5.43, 90, 90, 90), before=named)
    if atoms is None:
        assert "list the symmetry operations" in reason(text)
    else:
        assert len(read(text)) == atoms


@pytest.mark.parametrize(
    ("group", "image"),
    [
        ("P 21/c", (-0.1, 0.7, 0.2)),
        ("P 21/n", (0.4, 0.7, 0.2)),
        ("P 1 21/c 1", (-0.1, 0.7, 0.2)),
        ("P 1 1 21/b", None),  # its cell has another unique axis
    ],
)
def test_a_monoclinic_setting_is_the_one_that_is_named(
    group: str, image: tuple[float, float, float] | None
) -> None:
    named = f"_space_group_name_H-M_alt '{group}'\n"
    text = cif("O O 0.1 0.2 0.3 1", cell=(5.0, 6.0, 7.0, 90, 100, 90), before=named)
    if image is None:
        assert "other axes" in reason(text)
    else:
        scaled = read(text).get_scaled_positions().round(6).tolist()
        assert [round(x % 1, 6) for x in image] in scaled


def test_a_named_group_with_the_identity_alone_needs_all_atoms() -> None:
    named = "_symmetry_Int_Tables_number 225\nloop_\n_symmetry_equiv_pos_as_xyz\n'x, y, z'\n"
    all_copper = [row.replace("Pt", "Cu") for row in FCC]
    assert len(read(cif(*all_copper, before=named))) == 4
    assert "lists no operation" in reason(cif(*all_copper[:2], before=named))


def test_a_minus_of_the_typesetter_is_a_minus() -> None:
    sites = ("Cu1 Cu 0 0 0 1", "O1 O \N{MINUS SIGN}0.25 0.5 0.5 1")
    assert read(cif(*sites)).get_scaled_positions()[:, 0].max() == pytest.approx(0.75)


@pytest.mark.parametrize("cell", [(-3.6, 3, 3, 90, 90, 90), (3, 3, 3, 10, 100, 170), (0,) * 6])
def test_a_cell_without_a_volume_is_refused(cell: tuple[float, ...]) -> None:
    assert "lengths and angles of a volume" in reason(cif(*FCC, cell=cell))


def test_what_the_parser_passes_over_stands_beside_the_reason() -> None:
    said = reason(cif(*FCC, before="_chemical_formula_sum Cu3 Pt\n"))  # not quoted
    assert "Cu3 is stated, the sites give Cu3Pt1" in said
    assert "at line: Pt" in said


def test_hydrogen_without_a_position_is_not_left_out() -> None:
    columns = "label type_symbol fract_x fract_y fract_z occupancy attached_hydrogens"
    assert "hydrogen" in reason(cif("O1 O 0 0 0 1 2", columns=columns))


def test_sizes_are_bounded_before_symmetry_is_applied() -> None:
    rows = [f"Cu{i} Cu 0 0 {i / 3000} 1" for i in range(2001)]
    assert "1 to 2,000 atoms" in reason(cif(*rows))


def test_magnetic_operations_are_those_of_the_cell() -> None:
    magnetic = "loop_\n_space_group_symop_magn_operation.xyz\n'x,y,z,+1'\n'x+1/2,y+1/2,z+1/2,-1'\n"
    assert len(read(cif("Fe1 Fe 0 0 0 1", before=magnetic))) == 2


def test_a_file_that_was_cut_off_is_refused_with_its_block() -> None:
    whole = cif(*FCC, name="copper")
    assert "one of block copper has not" in reason(whole[: whole.rindex(" 0.5 0.5")])
