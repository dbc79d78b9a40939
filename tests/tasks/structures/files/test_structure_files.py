"""One reader for all files: each structure is read as it is meant or says why it is not."""

import gzip
import pickle
from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write

from tasks.errors import UserError
from tasks.structures.files.cif_blocks import FileStructure, UnreadStructure
from tasks.structures.files.structure_files import read_structure, read_structures
from tasks.structures.formats import cif_text

XYZ_CO = "2\n\nC 0 0 0\nO 0 0 1.15\n"


def in_file(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def reason(file: Path) -> str:
    with pytest.raises(UserError) as raised:
        read_structure(file)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("name", ["cu.cif", "POSCAR_cu", "cu.vasp", "cu.contcar", "cu.extxyz"])
@pytest.mark.parametrize("packed", [False, True])
def test_each_format_gives_the_same_crystal(tmp_path: Path, name: str, packed: bool) -> None:
    copper = bulk("Cu", cubic=True)
    file = tmp_path / name
    if name.endswith(".cif"):
        file.write_text(cif_text(copper))
    else:
        copper.write(file, format="extxyz" if name.endswith("xyz") else "vasp")
    if packed:
        file = in_file(tmp_path, f"{name}.gz", gzip.compress(file.read_bytes()))
    read = read_structure(file)
    assert read.positions == pytest.approx(copper.positions, abs=1e-6)


@pytest.mark.parametrize(
    "name", ["Cu[conv].cif", "a@1.xyz", "st*r?.xyz", "two words.traj", "kupfer_ü@0.cif"]
)
def test_the_name_of_a_file_means_nothing(tmp_path: Path, name: str) -> None:
    write(tmp_path / "plain.cif", bulk("Cu"))
    suffix = name.rpartition(".")[2]
    write(tmp_path / f"made.{suffix}", [bulk("Cu")])
    file = (tmp_path / f"made.{suffix}").rename(tmp_path / name)
    assert len(read_structures(file)) == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encoding_and_line_ends_do_not_matter(tmp_path: Path, encoding: str, end: str) -> None:
    cif = f"# Müller, Sørensen\n{cif_text(bulk('Cu', cubic=True))}".replace("\n", end)
    assert len(read_structure(in_file(tmp_path, "cu.cif", cif.encode(encoding)))) == 4


@pytest.mark.parametrize(("keep_order", "symbols"), [(True, "OC"), (False, "CO")])
def test_atoms_of_a_cif_are_sorted_unless_their_order_counts(
    tmp_path: Path, keep_order: bool, symbols: str
) -> None:
    molecule = Atoms("OC", [[1, 1, 2.1], [1, 1, 1]], cell=[4, 4, 6], pbc=True)
    molecule.write(tmp_path / "co.cif")
    read = read_structure(tmp_path / "co.cif", keep_order=keep_order)
    assert "".join(read.get_chemical_symbols()) == symbols


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.xyz", "", "the file is empty"),
        ("no.cif", "this is no CIF", "begin with data_"),
        ("zeros.cif", b"\0" * 100, "no text"),
        ("none.xyz", "two\n\nC 0 0 0\n", "line 1 must be the number of atoms"),
        ("short.xyz", "3\n\nC 0 0 0\n", "a frame of 3 atoms has as many lines: this has 1"),
        ("more.xyz", XYZ_CO + "O 0 0 5\n", "after 2 is 'O 0 0 5'"),
        ("words.xyz", "1\n\nC 0 0\n", "an element and three numbers: got 'C 0 0'"),
        ("huge.xyz", "1000000\n\nC 0 0 0\n", "1 to 2,000 atoms"),
        ("x.xyz", "1\n\nX 0 0 0\n", "needs an element such as Cu or O: got 'X'"),
        ("group.xyz", "1\n\nOH 0 0 0\n", "got 'OH'"),
        ("nan.xyz", "1\n\nC 0 0 nan\n", "finite numbers"),
        ("notes.py", "import os", "a structure file is a CIF, POSCAR"),
        ("atoms.pckl", pickle.dumps({"a": 1}), "a structure file is a CIF, POSCAR"),
        ("packed.traj.gz", gzip.compress(b"a", mtime=0), "unpack it"),
    ],
)
def test_a_bad_file_says_why_in_a_line(
    tmp_path: Path, name: str, content: str | bytes, words: str
) -> None:
    assert words in reason(in_file(tmp_path, name, content))


def test_a_packed_file_is_bounded_by_what_it_unpacks_to(tmp_path: Path) -> None:
    bomb = gzip.compress(b"0" * (65 * 2**20))
    assert "at most 64 MiB" in reason(in_file(tmp_path, "bomb.cif.gz", bomb))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.cif").mkdir()
    assert "no such file" in reason(tmp_path / "a.cif")


def test_deuterium_is_hydrogen_in_an_xyz(tmp_path: Path) -> None:
    plain = "3\n\nO 0 0 0.119\nD 0 0.763 -0.477\nD 0 -0.763 -0.477\n"
    extended = plain.replace("\n\n", "\nProperties=id:I:1:species:S:1:pos:R:3\n", 1)
    for number, symbol in enumerate("ODD"):
        extended = extended.replace(f"\n{symbol} ", f"\n{number} {symbol} ", 1)
    for name, text in (("d2o.xyz", plain), ("d2o.extxyz", extended)):
        assert str(read_structure(in_file(tmp_path, name, text)).symbols) == "OH2"


def test_species_are_labels_numbers_and_capitals(tmp_path: Path) -> None:
    xyz = "3\n\nCu1 0 0 0\nFE 0 0 3\n78 0 0 6\n"
    assert str(read_structure(in_file(tmp_path, "a.xyz", xyz)).symbols) == "CuFePt"


def test_a_bad_frame_leaves_the_others(tmp_path: Path) -> None:
    bad = XYZ_CO.replace("O 0", "Q 0")
    found = read_structures(in_file(tmp_path, "many.xyz", XYZ_CO + bad + XYZ_CO))
    assert [type(each) for each in found] == [FileStructure, UnreadStructure, FileStructure]
    assert [each.name for each in found] == ["0", "1", "2"]


def test_the_last_frame_of_a_trajectory_is_its_structure(tmp_path: Path) -> None:
    write(tmp_path / "run.traj", [bulk("Cu"), bulk("Pt")])
    assert str(read_structure(tmp_path / "run.traj").symbols) == "Pt"


POSCAR = """{comment}
{scale}
3.61 0 0
0 3.61 0
0 0 3.61
{species}{counts}
{mode}
0 0 0
0.5 0.5 0
0.5 0 0.5
0 0.5 0.5
"""


def poscar(
    comment: str = "",
    scale: str = "1",
    species: str = "",
    counts: str = "3 1",
    mode: str = "Direct",
) -> str:
    return POSCAR.format(comment=comment, scale=scale, species=species, counts=counts, mode=mode)


@pytest.mark.parametrize("comment", ["Cu Pt", "Cu3 Pt1", "Cu3Pt", "CuPt", "alloy: Cu Pt"])
def test_elements_of_vasp_4_come_from_a_comment_that_fits(tmp_path: Path, comment: str) -> None:
    file = in_file(tmp_path, "POSCAR", poscar(comment))
    assert str(read_structure(file).symbols) == "Cu3Pt"


@pytest.mark.parametrize("comment", ["", "alloy", "Cu", "Pt3Cu5", "Cu Pt Ni", "made by hand"])
def test_elements_of_vasp_4_are_not_guessed(tmp_path: Path, comment: str) -> None:
    write(tmp_path / "other.cif", bulk("Cu"))
    (tmp_path / "POTCAR").write_text("TITEL  = PAW_PBE Cu\nTITEL  = PAW_PBE Pt\n")
    assert "names its elements in the comment" in reason(
        in_file(tmp_path, "POSCAR", poscar(comment))
    )


@pytest.mark.parametrize("species", ["Cu Pt\n", "CU PT\n", "Cu_pv Pt_GW/ab12cd\n", "Cu Pt ! x\n"])
def test_elements_of_a_poscar_may_name_potentials(tmp_path: Path, species: str) -> None:
    file = in_file(tmp_path, "POSCAR", poscar("H He", species=species))
    assert str(read_structure(file).symbols) == "Cu3Pt"


def test_a_negative_scale_is_the_volume(tmp_path: Path) -> None:
    file = in_file(tmp_path, "a.vasp", poscar("Cu Pt", scale="-60"))
    assert read_structure(file).get_volume() == pytest.approx(60.0)


def test_cartesian_positions_are_scaled_and_selective_dynamics_fix(tmp_path: Path) -> None:
    lines = ["Cu", "3.61", "1 0 0", "0 1 0", "0 0 1", "Cu", "2", "Selective dynamics", "Cartesian"]
    text = "\n".join([*lines, "0 0 0 F F F", "0.5 0.5 0 T T T Cu", ""])
    read = read_structure(in_file(tmp_path, "a.vasp", text))
    assert read.positions[1] == pytest.approx([1.805, 1.805, 0])
    (fixed,) = read.constraints
    assert fixed.index.tolist() == [0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (poscar("Cu Pt", counts="2 1"), "positions as its counts say: it has more than 3"),
        (poscar("Cu Pt", counts="3 2"), "as its counts say: 5"),
        (poscar("Cu Pt", counts="3 1000000"), "1 to 2,000 atoms"),
        (poscar("Cu Pt", mode=""), "says Direct or Cartesian"),
        (poscar(species="Cu X\n"), "got 'X'"),
        (poscar(species="Cu\n"), "a count for each element"),
        (poscar(species="Cu Pt\n").replace("0 0.5 0.5", "0 0.5 0.5 Cu"), "labelled Cu"),
    ],
)
def test_a_poscar_that_contradicts_itself_is_refused(tmp_path: Path, text: str, words: str) -> None:
    assert words in reason(in_file(tmp_path, "POSCAR", text))


def test_a_cell_sheared_by_a_digit_too_many_is_refused(tmp_path: Path) -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.cell[1, 0] = 834367.0  # its volume is the same
    write(tmp_path / "POSCAR", atoms)
    assert "opposite faces of a cell are 0.05 Å or more apart" in reason(tmp_path / "POSCAR")
    atoms.cell[1, 0] = 10 * atoms.cell[0, 0]
    write(tmp_path / "POSCAR", atoms)
    assert read_structure(tmp_path / "POSCAR").cell[1, 0] == pytest.approx(36.1)
