import lzma
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from ase import Atoms
from ase.build import fcc111, fcc211, hcp0001
from ase.constraints import FixAtoms
from ase.io import write

from model.data.rows import TABLE_SCHEMA
from tasks.enumeration import adsorbate
from tasks.errors import Refusal, UserError
from tasks.structures.standard_frame import bulk_formula, standard_frame
from tasks.training_data import emt_set
from tasks.training_data.assemble import set_rows
from tasks.training_data.ideal_slab import ideal_slab
from tasks.training_data.recovered_placements import PlacementRecovery, RecoveredPlacement
from tasks.training_data.sources import LabelledStructure, SetSpec, miller_from_facet, read_frames
from tasks.training_data.table import Label, training_row, write_rows


def truncated(facet: str = "111") -> Atoms:
    """Return a bulk-truncated slab without tags, its lower half fixed."""
    makers = {
        "111": lambda: fcc111("Cu", (3, 3, 4), vacuum=8.0),
        "211": lambda: fcc211("Rh", (3, 3, 4), vacuum=8.0),
        "0001": lambda: hcp0001("Ru", (3, 3, 6), vacuum=8.0),
    }
    slab = makers[facet]()
    z = slab.positions[:, 2]
    plain = Atoms(slab.numbers, slab.positions, cell=slab.cell, pbc=(True, True, False))
    plain.set_constraint(FixAtoms(indices=np.flatnonzero(z < np.median(z))))
    return plain


def relaxed(slab: Atoms, name: str, xy: tuple[float, float], height: float) -> Atoms:
    """Return a slab whose free atoms moved a little, with an adsorbate on it."""
    atoms = slab.copy()
    free = np.setdiff1d(np.arange(len(atoms)), atoms.constraints[0].index)
    atoms.positions[free] += np.random.default_rng(0).normal(0.0, 0.05, (len(free), 3))
    molecule = adsorbate(name).atoms.copy()
    molecule.rotate(40.0, "z")
    molecule.positions += (*xy, slab.positions[:, 2].max() + height)
    return atoms + molecule


WWL = SetSpec("wwl_simple", "set.extxyz.xz", "beef-vdw-ch4", "relaxed", "MIT", "BEEF-vdW", "CH4")


def frame(atoms: Atoms, name: str, miller: tuple[int, int, int] = (1, 1, 1)) -> LabelledStructure:
    return LabelledStructure(
        "one", "wwl_simple", "beef-vdw-ch4", name, "Cu", miller, -1.0, 2, atoms
    )


def replaced(
    atoms: Atoms, name: str, miller: tuple[int, int, int] = (1, 1, 1)
) -> RecoveredPlacement:
    made = PlacementRecovery(WWL)(frame(atoms, name, miller))
    assert isinstance(made, RecoveredPlacement), made
    return made


@pytest.mark.parametrize("facet", ["111", "211", "0001"])
def test_the_ideal_slab_is_found_again_under_a_relaxed_one(facet: str) -> None:
    slab = truncated(facet)
    moved = standard_frame(relaxed(slab, "O", (1.0, 1.0), 1.3))
    found = ideal_slab(moved[moved.get_tags() != 2])
    unmoved = standard_frame(slab + Atoms("O", positions=[slab.positions.max(axis=0) + 1.3]))
    expected = unmoved.positions[:-1] - unmoved.positions[0]
    np.testing.assert_allclose(found.positions - found.positions[0], expected, atol=0.02)


def test_a_reconstructed_slab_has_no_ideal_one() -> None:
    slab = truncated()
    slab.positions[-1] += (1.3, 0.6, 1.5)
    moved = standard_frame(relaxed(slab, "O", (1.0, 1.0), 3.0))
    with pytest.raises(UserError, match="no bulk lattice continues the held layers"):
        ideal_slab(moved[moved.get_tags() != 2])


def test_a_slab_that_hangs_upside_down_off_z_is_turned_and_not_mirrored() -> None:
    upright = relaxed(truncated("211"), "CH3", (2.0, 2.0), 1.8)
    hanging = upright.copy()
    hanging.rotate(160.0, (1.0, 2.0, 0.5), rotate_cell=True)
    one, other = standard_frame(upright), standard_frame(hanging)
    assert other.cell.array[2, :2] == pytest.approx((0.0, 0.0))
    assert np.linalg.det(other.cell.array) > 0
    assert other.positions[-1, 2] > other.positions[:-4, 2].max()
    np.testing.assert_allclose(
        one.get_all_distances(mic=True), other.get_all_distances(mic=True), atol=1e-6
    )
    handed = [np.linalg.det(a.positions[[5, 17, 30]] - a.positions[0]) for a in (one, other)]
    assert handed[0] == pytest.approx(handed[1])


def test_tags_and_periodicity_are_those_of_a_screening() -> None:
    atoms = standard_frame(relaxed(truncated(), "CO", (1.0, 1.0), 1.8))
    assert atoms.pbc.all()
    assert atoms.get_tags().tolist() == [0] * 27 + [1] * 9 + [2] * 2
    assert bulk_formula(atoms[:-2]) == "Cu"


def test_a_slab_split_by_the_cell_border_is_joined() -> None:
    whole = relaxed(truncated(), "O", (1.0, 1.0), 1.3)
    whole.pbc = True
    split = whole.copy()
    split.positions[:, 2] -= 10.0
    split.wrap()
    np.testing.assert_allclose(
        standard_frame(split).positions[:, 2], standard_frame(whole).positions[:, 2], atol=1e-6
    )


@pytest.mark.parametrize(("site", "kind"), [((0.0, 0.0), "atop"), ((1.28, 0.74), "hollow")])
def test_the_adsorbate_goes_back_to_the_site_it_relaxed_on(
    site: tuple[float, float], kind: str
) -> None:
    slab = truncated()
    top = slab.positions[-9]  # the first atom of the top layer
    end = relaxed(slab, "O", (top[0] + site[0] + 0.15, top[1] + site[1]), 1.2)
    made = replaced(end, "O")
    assert made.shifted_ang < 0.3
    row = training_row(
        Label(
            "one", "Cu", "wwl_simple", "beef-vdw-ch4", "O", made.bulk_formula, (1, 1, 1), 2, -1.0
        ),
        "unrelaxed",
        made.unrelaxed,
    )
    assert f" {kind} " in row.text


def test_the_unrelaxed_slab_is_ideal_and_the_molecule_the_stored_one() -> None:
    made = replaced(relaxed(truncated(), "CH3", (1.0, 1.0), 1.9), "CH3")
    tags = made.unrelaxed.get_tags()
    heights = np.unique(made.unrelaxed.positions[tags != 2, 2].round(3))
    assert len(heights) == 4
    np.testing.assert_allclose(
        made.unrelaxed[tags == 2].get_all_distances(),
        adsorbate("CH3").atoms.get_all_distances(),
        atol=1e-6,
    )
    assert made.moved_ang < 1.0


def test_the_rotation_is_the_nearest_one() -> None:
    slab = truncated()
    made = replaced(relaxed(slab, "CH2", tuple(slab.positions[-9, :2]), 2.0), "CH2")
    assert made.moved_ang < 0.4


def test_an_adsorbate_across_the_cell_border_is_joined_first() -> None:
    end = relaxed(truncated(), "CO", (1.0, 1.0), 1.8)
    wrapped = end.copy()
    wrapped.positions[-1] += wrapped.cell[0] - wrapped.cell[1]
    assert replaced(wrapped, "CO").moved_ang == pytest.approx(replaced(end, "CO").moved_ang)


def test_a_dissociated_adsorbate_is_refused_with_the_reason() -> None:
    end = relaxed(truncated(), "CO", (1.0, 1.0), 1.8)
    end.positions[-1] += (2.0, 0.0, -0.5)
    made = PlacementRecovery(WWL)(frame(end, "CO"))
    assert isinstance(made, Refusal)
    assert "is not CO any more" in made.reason


def test_an_unknown_species_is_refused_and_nothing_is_guessed() -> None:
    made = PlacementRecovery(WWL)(frame(relaxed(truncated(), "CO", (1.0, 1.0), 1.8), "XO"))
    assert isinstance(made, Refusal)
    assert "no adsorbate is called 'XO'" in made.reason


@pytest.mark.parametrize(
    ("facet", "miller"), [("(111)", (1, 1, 1)), ("(0001)", (0, 0, 1)), ("(211)", (2, 1, 1))]
)
def test_facets_become_three_indices(facet: str, miller: tuple[int, int, int]) -> None:
    assert miller_from_facet(facet) == miller


def test_a_facet_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(UserError, match=r"a facet is written \(hkl\)"):
        miller_from_facet("111")


def _write_set(folder: Path) -> SetSpec:
    good = relaxed(truncated(), "CO", (1.0, 1.0), 1.8)
    bad = good.copy()
    bad.positions[-1] += (2.0, 0.0, -0.5)
    info = {"surface": "Cu", "facet": "(111)", "e_ads": -0.5, "fold": 3, "adsorbate": "CO[x:1]"}
    for index, atoms in enumerate((good, bad)):
        atoms.info.update(info, uid=f"set/{index}")
        write(folder / "set.extxyz", atoms, format="extxyz", append=True)
    text = (folder / "set.extxyz").read_text()
    with lzma.open(folder / "set.extxyz.xz", "wt") as file:
        file.write(text)
    return WWL


def test_a_relaxed_set_enters_in_two_forms_under_one_pair(tmp_path: Path) -> None:
    rows, report = set_rows(tmp_path, _write_set(tmp_path))
    assert [row.kind for row in rows] == ["unrelaxed", "relaxed"]
    assert {(row.pair, row.energy_ev, row.fold, row.level) for row in rows} == {
        ("set/0", -0.5, 3, "beef-vdw-ch4")
    }
    assert rows[0].text.startswith("CO</s>Cu (1 1 1)</s>[C Cu")
    assert (report.frames, report.rows, len(report.refused)) == (2, 2, 1)
    assert any("1 refused" in line for line in report.lines())


def test_a_missing_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the set wwl_simple cannot be read from"):
        list(read_frames(tmp_path, WWL))


def test_a_table_is_written_whole_with_its_columns(tmp_path: Path) -> None:
    rows, _ = set_rows(tmp_path, _write_set(tmp_path))
    assert write_rows(tmp_path / "out" / "train.parquet", rows) == 2
    table = pq.read_table(tmp_path / "out" / "train.parquet")
    assert table.schema.equals(TABLE_SCHEMA)
    assert len(table["positions"][0].as_py()) == 3 * len(table["numbers"][0].as_py())
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["train.parquet"]


def test_the_emt_set_covers_the_metals_and_their_alloys() -> None:
    formulas = [item.formula for item in emt_set.emt_bulks()]
    assert set(emt_set.METALS) <= set(formulas)
    assert len(formulas) == 7 + 42 + 21


@pytest.fixture(scope="module")
def jobs() -> list[emt_set.SlabJob]:
    """Return the jobs of two metals and their alloys: the whole set takes seconds to cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(emt_set, "METALS", ("Cu", "Pt"))
        planned = emt_set.plan_emt_set(400, 0)
        again = emt_set.plan_emt_set(400, 0)
    assert [(j.slab.slab_id, j.counts) for j in again] == [
        (j.slab.slab_id, j.counts) for j in planned
    ]
    return planned


@pytest.fixture(scope="module")
def few(jobs: list[emt_set.SlabJob]) -> list[emt_set.SlabJob]:
    small = [job for job in jobs if len(job.slab.atoms) < 17 and job.counts]
    return [emt_set.SlabJob(job.slab, job.counts[:2]) for job in small[:2]]


def test_the_plan_is_balanced_over_the_adsorbates(jobs: list[emt_set.SlabJob]) -> None:
    counts = dict.fromkeys(emt_set.ADSORBATES, 0)
    for job in jobs:
        for name, count in job.counts:
            counts[name] += count
    assert sum(counts.values()) == pytest.approx(400, rel=0.05)
    assert max(counts.values()) < 1.5 * min(counts.values())


def test_a_stopped_run_goes_on_and_repeats_nothing(
    few: list[emt_set.SlabJob], tmp_path: Path
) -> None:
    first = list(emt_set.relax_all(few[:1], out=tmp_path, seed=0, processes=1))
    written = first[0].stat().st_mtime_ns
    done = list(emt_set.relax_all(few, out=tmp_path, seed=0, processes=1))
    assert done[0].stat().st_mtime_ns == written
    assert len(list(tmp_path.glob("part-*.parquet"))) == 2
    assert "relaxations" in emt_set.outcome_lines(tmp_path)[0]


def test_labels_are_relaxed_energies_of_unrelaxed_placements(few: list[emt_set.SlabJob]) -> None:
    rows, outcomes = emt_set.relax_slab(few[0], seed=0)
    trainable = [item for item in outcomes if item.converged and not item.flags]
    assert [row.kind for row in rows] == ["unrelaxed", "relaxed"] * len(trainable)
    for start, end in zip(rows[::2], rows[1::2], strict=True):
        assert start.pair == end.pair
        assert start.level == "emt"
        assert start.energy_ev == end.energy_ev
        assert start.positions != end.positions
        assert 0 <= start.fold < 5


def test_no_placements_and_no_processes_are_refused() -> None:
    with pytest.raises(UserError, match="at least 1 placement, got 0"):
        emt_set.plan_emt_set(0, 0)
    with pytest.raises(UserError, match="processes is at least 1, got 0"):
        list(emt_set.relax_all([], out=Path(), seed=0, processes=0))
