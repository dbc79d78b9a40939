"""Draws that cover, and labels that survive being stored."""

import shutil
from collections import Counter
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator

from model.data.rows import read_rows
from tasks.enumeration import FormulaSpec, SlabEdits, SlabSpec, adsorbate, resolve_bulks
from tasks.errors import UserError
from tasks.levels import level
from tasks.prediction.featurise import configuration_text
from tasks.training_data.assemble import assemble_table
from tasks.training_data.label_set import (
    LabelFamily,
    LabelPlan,
    draws,
    read_labels,
    relax_draw,
    rows_of_labels,
    write_labels,
)
from tasks.training_data.table import BOND_RULE, TrainingRow
from tasks.verification.engines import CalculationJob, EngineError, FailureKind, engine_for
from tasks.verification.engines.potentials.emt import EmtEngine
from tasks.verification.labels.checks import left_site
from tasks.verification.labels.energies import MemoryCache

EMT = level("emt")


def family(name: str, share: float, metals: str, species: str = "H O CO") -> LabelFamily:
    bulks, _ = resolve_bulks([FormulaSpec(symbol) for symbol in metals.split()])
    return LabelFamily(
        name,
        share,
        tuple(bulks),
        SlabSpec(millers=((1, 1, 1),), min_thickness_ang=4.0, min_in_plane_ang=4.5),
        SlabEdits(strain=(0.02,), only_edited=True) if name == "strained" else SlabEdits(),
        tuple(adsorbate(each) for each in species.split()),
    )


PLAN = LabelPlan((family("plain", 3, "Cu Ag Pt"), family("strained", 1, "Cu Al")), per_slab=2)


def test_families_are_drawn_by_their_shares() -> None:
    drawn = Counter(draw.family.name for draw in islice(draws(PLAN), 40))
    assert drawn == {"plain": 30, "strained": 10}


def test_crystals_and_adsorbates_come_once_before_one_comes_again() -> None:
    plain = [d for d in islice(draws(PLAN), 100) if d.family.name == "plain"]
    for start in range(0, 60, 3):
        assert {d.bulk.formula for d in plain[start : start + 3]} == {"Cu", "Ag", "Pt"}
    species = [a.name for d in plain for a in d.adsorbates]
    for start in range(0, 120, 3):
        assert set(species[start : start + 3]) == {"H", "O", "CO"}


def test_the_first_draws_are_the_same_however_many_are_wanted() -> None:
    few, many = (list(islice(draws(PLAN), n)) for n in (5, 50))
    assert few == many[:5]


def test_another_seed_draws_in_another_order() -> None:
    def order(seed: int) -> list[tuple[str, ...]]:
        plan = replace(PLAN, seed=seed)
        return [tuple(a.name for a in d.adsorbates) for d in islice(draws(plan), 20)]

    assert order(0) != order(1)


def test_a_family_without_crystals_is_refused() -> None:
    empty = replace(PLAN.families[0], bulks=())
    with pytest.raises(UserError, match="family plain needs crystals and adsorbates, got 0 and 3"):
        next(draws(LabelPlan((empty,))))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("labels") / "labels.parquet"
    engine, cache = engine_for(EMT), MemoryCache()
    rows = [row for d in islice(draws(PLAN), 4) for row in relax_draw(d, PLAN, EMT, engine, cache)]
    write_labels(path, rows)
    return path


def test_a_draw_gives_a_row_for_each_placement(stored: Path) -> None:
    labels = read_labels([stored]).to_pandas()
    assert labels.groupby("draw").size().tolist() == [2, 2, 2, 2]
    assert set(labels["level"]) == {"emt"}
    assert set(labels.loc[labels["family"] == "strained", "edit"]) == {"strain +2 %"}


@pytest.mark.parametrize(
    ("kind", "flag"),
    [
        (FailureKind.KILLED, ""),
        (FailureKind.OUT_OF_MEMORY, ""),
        (FailureKind.ENGINE, "slab_engine"),
    ],
)
def test_what_fails_by_the_machine_is_no_row_of_the_set(kind: FailureKind, flag: str) -> None:
    @dataclass(frozen=True)
    class Failing(EmtEngine):
        def calculator(self, job: CalculationJob) -> Calculator:
            raise EngineError(kind, "as it was told to")

    def relaxed() -> list[list[str]]:
        draw = next(draws(PLAN))
        return [row["flags"] for row in relax_draw(draw, PLAN, EMT, Failing(), MemoryCache())]

    if flag:
        assert relaxed() == [[flag], [flag]]
    else:
        with pytest.raises(EngineError, match="as it was told to"):
            relaxed()


def test_a_placement_that_two_files_hold_counts_once(stored: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.parquet"
    again.write_bytes(stored.read_bytes())
    assert read_labels([stored, again]).num_rows == read_labels([stored]).num_rows


def test_a_placement_counts_once_at_each_level(stored: Path, tmp_path: Path) -> None:
    rows = [row | {"level_hash": "of another"} for row in read_labels([stored]).to_pylist()]
    write_labels(tmp_path / "other.parquet", rows)
    assert read_labels([stored, tmp_path / "other.parquet"]).num_rows == 2 * len(rows)


def test_a_label_is_stored_and_trained_on_with_where_it_ends(stored: Path) -> None:
    """Each row has the text of its own atoms; a site that changed is the one of the stored end."""
    labels = read_labels([stored])
    changed = {row["pair"]: row["site_changed"] for row in labels.to_pylist()}
    rows = list(rows_of_labels(labels))
    for start, end in zip(rows[::2], rows[1::2], strict=True):
        for row in (start, end):
            text = configuration_text(_atoms(row), row.adsorbate, row.bulk, row.miller, BOND_RULE)
            assert row.text == text
        assert left_site(_atoms(start), _atoms(end)) == changed[start.pair]
    assert any(start.text != end.text for start, end in zip(rows[::2], rows[1::2], strict=True))


def _atoms(row: TrainingRow) -> Atoms:
    return Atoms(
        row.numbers,
        np.reshape(row.positions, (-1, 3)),
        cell=np.reshape(row.cell, (3, 3)),
        pbc=True,
        tags=row.tags,
    )


def test_training_reads_start_and_end_of_each_good_label(stored: Path) -> None:
    labels = read_labels([stored])
    rows = list(rows_of_labels(labels))
    good = [r for r in labels.to_pylist() if not r["flags"] and np.isfinite(r["energy_ev"])]
    assert good
    assert [row.kind for row in rows] == ["unrelaxed", "relaxed"] * len(good)
    assert all(
        first.energy_ev == second.energy_ev
        for first, second in zip(rows[::2], rows[1::2], strict=True)
    )


def test_a_training_table_takes_sets_of_labels_and_says_what_it_left_out(
    stored: Path, tmp_path: Path
) -> None:
    labels = read_labels([stored])
    shutil.copy(stored, tmp_path / "labels-000000-000000.parquet")
    out = tmp_path / "table.parquet"
    (report,) = assemble_table(tmp_path, None, out, names=(), labels=[tmp_path])
    rows = read_rows(out)
    assert report.frames == labels.num_rows
    assert len(rows) == report.rows == 2 * (labels.num_rows - len(report.refused))
    assert {row.level for row in rows} == {"emt"}
    assert len({row.uid for row in rows}) == len(rows)


def test_stored_ends_are_the_relaxed_ones(stored: Path) -> None:
    """Forces at the stored end are those of a relaxed structure, to the rounding of positions."""
    from ase.calculators import emt

    ends = [row for row in rows_of_labels(read_labels([stored])) if row.kind == "relaxed"]
    for row in ends:
        atoms = _atoms(row)
        atoms.calc = emt.EMT()
        free = np.array(row.tags) > 0
        assert np.linalg.norm(atoms.get_forces()[free], axis=1).max() < 0.15
