"""An adslab from a file becomes what a model reads, or is refused with a way out."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, fcc111
from ase.io import write

from model.text.configuration_text import parse_text
from tasks.errors import UserError
from tasks.prediction.adslab_file import (
    AdslabDescription,
    adslab_configuration,
    adslab_from_file,
)
from tasks.structures.formats import cif_text

CO_ON_COPPER = AdslabDescription("CO", (1, 1, 1))


def adslab() -> Atoms:
    atoms = fcc111("Cu", (3, 3, 3), vacuum=8.0)
    add_adsorbate(atoms, "C", 1.8, "ontop")
    add_adsorbate(atoms, "O", 2.95, "ontop")
    return atoms


def test_a_cif_is_read_with_its_adsorbate_found(tmp_path: Path) -> None:
    file = tmp_path / "co.cif"
    file.write_text(cif_text(adslab()))
    read = adslab_from_file(file, "CO")
    assert sorted(read.get_chemical_symbols()[-2:]) == ["C", "O"]
    assert read.get_tags().tolist()[-2:] == [2, 2]
    assert (read.get_tags() == 1).sum() == 9
    configuration = adslab_configuration(read, CO_ON_COPPER, "beef-vdw-ch4", "co.cif", "radii")
    text = parse_text(configuration.text)
    assert (text.adsorbate, text.bulk, text.miller) == ("CO", "Cu", (1, 1, 1))
    assert [site.kind for site in text.sites] == ["atop"]


def test_tags_in_the_file_name_the_adsorbate(tmp_path: Path) -> None:
    tagged = adslab()
    tagged.set_tags(np.where(tagged.numbers == 29, 0, 2))
    tagged.write(tmp_path / "co.extxyz")
    assert (adslab_from_file(tmp_path / "co.extxyz", "CO").get_tags() == 2).sum() == 2


def test_another_adsorbate_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    (tmp_path / "co.cif").write_text(cif_text(adslab()))
    with pytest.raises(UserError, match="an adslab with OH holds at least 1 H"):
        adslab_from_file(tmp_path / "co.cif", "OH")


@pytest.mark.parametrize("content", ["", "data_x\n_cell_length_a 3\n", "garbage"])
def test_a_damaged_cif_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "broken.cif").write_text(content)
    with pytest.raises(UserError, match=r"broken\.cif cannot be read") as refused:
        adslab_from_file(tmp_path / "broken.cif", "CO")
    assert "\n" not in str(refused.value)


def test_a_cif_of_two_structures_is_no_adslab(tmp_path: Path) -> None:
    one = cif_text(adslab())
    (tmp_path / "two.cif").write_text(one + one.replace("data_", "data_again"))
    with pytest.raises(UserError, match=r"two\.cif cannot be read .* the file holds 2"):
        adslab_from_file(tmp_path / "two.cif", "CO")


def test_a_trajectory_is_read_at_its_end(tmp_path: Path) -> None:
    end = adslab()
    end.set_tags(0)
    start = end.copy()
    start.symbols[-2:] = "NO"
    write(tmp_path / "run.extxyz", [start, end])
    assert (adslab_from_file(tmp_path / "run.extxyz", "CO").get_tags() == 2).sum() == 2


def test_a_molecule_in_a_box_is_no_adslab(tmp_path: Path) -> None:
    Atoms("CO", [[0, 0, 0], [0, 0, 1.1]]).write(tmp_path / "co.xyz")
    with pytest.raises(UserError, match="periodic in its plane"):
        adslab_from_file(tmp_path / "co.xyz", "CO")


def test_a_missing_file_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"read from a file, got .*none\.cif, which is none"):
        adslab_from_file(tmp_path / "none.cif", "CO")
