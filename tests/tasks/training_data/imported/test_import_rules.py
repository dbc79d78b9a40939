"""Which rows count, which slab an energy is counted from, and which frame is a label."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from support.labels import own_labels as make

from tasks.enumeration import adsorbate
from tasks.errors import UserError
from tasks.levels import LevelOfTheory, level
from tasks.training_data.imported.reconstruction import ReadLabels, read_labels_of
from tasks.training_data.imported.sources import read_label_sources
from tasks.training_data.imported.stated_references import StatedReferences

TOTAL = StatedReferences("total", make.GAS_EV)
ADSORPTION = StatedReferences("adsorption", molecules="CO, H2O, H2")
EMT = level("emt")


def read_frames(
    folder: Path,
    frames: list[Atoms],
    stated: StatedReferences = TOTAL,
    at: LevelOfTheory = EMT,
) -> ReadLabels:
    """Return the labels of frames that are written with what their ``info`` says of them."""
    write(folder / "frames.extxyz", frames, format="extxyz")
    return read_labels_of(read_label_sources([str(folder / "frames.extxyz")]), at, stated)


def reasons(found: ReadLabels) -> dict[str, str]:
    return {each.item.rpartition("#")[2]: each.reason for each in found.refused}


def said(atoms: Atoms, **facts: object) -> Atoms:
    """Return atoms with what their row says."""
    atoms.info.update(facts)
    return atoms


def slab(energy_ev: float) -> Atoms:
    """Return the clean slab at another energy."""
    return make.with_energy(make.clean_slab(), energy_ev)


def adslab(number: int = 0) -> Atoms:
    """Return the adslab of O, H or CO, counted from the slab at -50 eV."""
    return said(make.adslabs()[number], adsorbate=list(make.ENERGIES_EV)[number])


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"level": "vasp-oc20"}, "level: this row is of vasp-oc20"),
        ({"converged": "no"}, "not converged: it says so"),
        ({"fmax_ev_ang": 0.4}, "not converged: 0.400 eV/Å, at most 0.05"),
    ],
)
def test_a_slab_of_another_level_or_unrelaxed_moves_no_label(
    tmp_path: Path, facts: dict[str, object], reason: str
) -> None:
    found = read_frames(tmp_path, [adslab(), slab(-50.0), said(slab(-53.0), **facts)])
    assert [label.energy_ev for label in found.labels] == [pytest.approx(-1.5)]
    assert reasons(found)["2"].startswith(reason)


def test_a_molecule_that_is_not_relaxed_is_no_reference(tmp_path: Path) -> None:
    hydrogen = make.with_energy(make.gases()[1], -5.0, fmax_ev_ang=0.6)
    found = read_frames(tmp_path, [adslab(), slab(-50.0), hydrogen])
    assert [label.energy_ev for label in found.labels] == [pytest.approx(-1.5)]
    assert reasons(found)["2"].startswith("not converged: 0.600 eV/Å")


def displaced(energy_ev: float, up_ang: float) -> Atoms:
    atoms = make.clean_slab()
    atoms.set_constraint()
    atoms.positions[-1, 2] += up_ang
    return make.with_energy(atoms, energy_ev)


def test_a_distorted_slab_of_the_same_composition_is_not_taken(tmp_path: Path) -> None:
    found = read_frames(tmp_path, [adslab(), slab(-50.0), displaced(-53.0, 1.7)])
    assert [label.energy_ev for label in found.labels] == [pytest.approx(-1.5)]
    alone = read_frames(tmp_path, [adslab(), displaced(-53.0, 1.7)])
    assert reasons(alone)["0"].startswith("slab: no clean Cu")


def test_two_slabs_that_fit_and_differ_are_refused(tmp_path: Path) -> None:
    found = read_frames(tmp_path, [adslab(), slab(-50.0), displaced(-50.6, 0.8)])
    assert found.labels == ()
    assert "two clean slabs fit" in reasons(found)["0"]
    near = read_frames(tmp_path, [adslab(), slab(-50.0), slab(-50.03)])
    assert [label.energy_ev for label in near.labels] == [pytest.approx(-1.47)]


def test_the_slab_that_a_row_gives_is_its_slab(tmp_path: Path) -> None:
    write(tmp_path / "frames.extxyz", [adslab(), slab(-50.0), displaced(-50.6, 0.8)])
    content = read_label_sources([str(tmp_path / "frames.extxyz")])
    content.rows[0] = replace(content.rows[0], slab=make.own_slab().atoms)
    found = read_labels_of(content, EMT, TOTAL)
    assert [label.energy_ev for label in found.labels] == [pytest.approx(-1.5)]


def test_energies_with_and_without_smearing_never_meet(tmp_path: Path) -> None:
    free, plain = adslab(), adslab(1)
    for atoms in (free, clean := slab(-50.0)):
        atoms.calc.results["free_energy"] = atoms.calc.results["energy"] - 0.2
    stated = said(slab(-50.2), energy_ev=-50.2)
    found = read_frames(tmp_path, [free, plain, clean, stated], at=level("qe-pbe"))
    assert [label.energy_ev for label in found.labels] == [pytest.approx(-1.5)]
    assert reasons(found)["1"].startswith("energy: qe-pbe is made of free energies")


def test_without_held_atoms_the_force_on_the_adsorbate_counts(tmp_path: Path) -> None:
    loose = [adslab(number) for number in range(3)]
    for atoms, fmax in zip(loose, (0.4, 0.01, 0.01), strict=True):
        said(atoms, energy_ev=make.ENERGIES_EV[atoms.info["adsorbate"]])
        atoms.set_constraint()
        atoms.calc.results["forces"][:] = 0.0
        atoms.calc.results["forces"][0, 2] = 3.0  # of a slab atom that may have been held
        atoms.calc.results["forces"][-1, 2] = fmax
    found = read_frames(tmp_path, loose, ADSORPTION)
    assert [label.converged for label in found.labels] == [False, True, True]
    assert [label.fmax_ev_ang for label in found.labels] == pytest.approx([0.4, 0.01, 0.01])


def test_published_levels_have_a_limit_too(tmp_path: Path) -> None:
    loose = make.with_energy(make.relaxed(make.placements()[0]), -1.5, fmax_ev_ang=0.2)
    said(loose, adsorbate="O")
    (label,) = read_frames(tmp_path, [loose], ADSORPTION, replace(EMT, calculation=None)).labels
    assert [(flag.name, flag.limit) for flag in label.flags] == [("ions_not_converged", 0.1)]


def test_the_end_of_a_relaxation_is_its_label(tmp_path: Path) -> None:
    frames = [make.relaxed(make.placements()[0], up_ang) for up_ang in (0.2, 0.1, 0.05)]
    energies_ev = (-1.1, -1.4, -1.5)
    forces = (0.9, 0.3, 0.01)
    frames = [make.with_energy(*each) for each in zip(frames, energies_ev, forces, strict=True)]
    for atoms in frames:
        said(atoms, adsorbate="O")
    found = read_frames(tmp_path, frames, ADSORPTION)
    assert [(e.source, e.energy_ev) for e in found.labels] == [("frames.extxyz#2", -1.5)]
    assert reasons(found)["0"].startswith("frame: frames.extxyz#2 is of the same relaxation")
    assert found.rows == 3


def test_a_start_of_other_bonds_than_the_name_is_refused(tmp_path: Path) -> None:
    start = make.own_slab().atoms.copy()
    species = adsorbate("CHO").atoms.copy()
    species.positions += start.positions[-1] + (0.0, 0.0, 2.0) - species.positions[0]
    species.set_tags(2)
    start += species
    ended = make.with_energy(start, -1.0)
    (tmp_path / "structures").mkdir()
    for name, atoms in (("start", start), ("end", ended)):
        write(tmp_path / "structures" / f"{name}.traj", atoms)
    (tmp_path / "labels.csv").write_text(
        "structure,energy_ev,adsorbate,start\n"
        "structures/end.traj,-1.0,CHO,structures/start.traj\n"
        "structures/end.traj,-1.0,COH,structures/start.traj\n"
    )
    found = read_labels_of(read_label_sources([str(tmp_path / "labels.csv")]), EMT, ADSORPTION)
    assert [label.species.name for label in found.labels] == ["CHO"]
    (refused,) = found.refused
    assert refused.reason.startswith("start: ")


def test_data_with_u_are_refused_by_name(tmp_path: Path) -> None:
    potential = level("diep-r2scan")
    calculation = potential.require_calculation()
    stated = calculation.potentials
    assert stated is not None
    with_u = replace(
        potential,
        calculation=replace(calculation, potentials=replace(stated, trained_on="MPtrj")),
    )
    frames = [make.with_energy(make.relaxed(p), -1.0) for p in make.placements()[:2]]
    for atoms, name in zip(frames, "OH", strict=True):
        said(atoms, adsorbate=name)
        atoms.numbers[np.flatnonzero(atoms.get_tags() != 2)] = 28
    found = read_frames(tmp_path, frames, ADSORPTION, with_u)
    assert reasons(found)["0"].startswith("data with U: ")
    assert not reasons(found).get("1", "").startswith("data with U")


def test_a_list_of_names_is_refused_and_no_traceback(tmp_path: Path) -> None:
    content = read_label_sources([str(make.write_table(tmp_path / "labels.csv"))])
    content.add("mine", adslab(), {"adsorbate": ["CO"]})
    assert content.refused[-1].reason.startswith("adsorbate: it is one word or integers")


def test_a_source_in_another_unit_is_refused_whole(tmp_path: Path) -> None:
    rows = {0: {"energy_ev": "-145"}, 1: {"energy_ev": "-8.0"}, 2: {"energy_ev": "-58"}}
    content = read_label_sources([str(make.write_table(tmp_path / "labels.csv", rows))])
    with pytest.raises(UserError, match=r"2 of 3 are out of bounds, such as labels\.csv:2"):
        read_labels_of(content, EMT, ADSORPTION)


def test_an_outlier_does_not_refuse_its_source(tmp_path: Path) -> None:
    table = make.write_table(tmp_path / "labels.csv")
    good = table.read_text().splitlines()[-1]
    table.write_text(table.read_text() + (good + "\n") * 9 + "structures/O.traj,-30.0,O\n")
    found = read_labels_of(read_label_sources([str(table)]), EMT, ADSORPTION)
    assert (len(found.labels), len(found.refused)) == (12, 1)


@pytest.mark.parametrize(("unit", "energy"), [("Hartree", -1.1665), ("Ry", -2.3330)])
def test_total_energies_of_another_unit_are_told_by_hydrogen(
    tmp_path: Path, unit: str, energy: float
) -> None:
    stated = StatedReferences("total", {**make.GAS_EV, "H2": energy})
    with pytest.raises(
        UserError, match=f"^energies are in eV, and {energy:.4f} is .* H2 in {unit}"
    ):
        read_frames(tmp_path, [slab(-50.0), adslab()], stated)
