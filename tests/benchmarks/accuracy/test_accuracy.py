"""What benchmarks change and make up is what their tables say."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, fcc111, molecule
from support.scripts import BENCHMARKS, load_script

from flows.learning.training import read_recipe, training_plan
from model.data.rows import Row

ACCURACY = BENCHMARKS / "accuracy"


def test_every_ablation_is_a_recipe_that_differs_from_the_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ablations = load_script(ACCURACY / "ablations.py", monkeypatch)
    plans = {}
    for variant in ablations.VARIANTS:
        run = ablations.Run(variant, 2, tmp_path / "t.parquet", tmp_path)
        settings = read_recipe(ablations.RECIPE, run.changes)
        plans[variant] = training_plan(settings, ablations.RECIPE, run.table, run.folder)
    reference = plans.pop(ablations.REFERENCE)
    assert [stage.seed for stage in reference.stages] == [2, 2, 2]
    assert len({repr(plan) for plan in plans.values()}) == len(plans)
    assert all(plan != reference for plan in plans.values())


def test_all_recipes_of_benchmarks_can_be_run(tmp_path: Path) -> None:
    files = sorted((ACCURACY / "recipes").glob("*.yaml"))
    assert files
    for file in files:
        assert training_plan(read_recipe(file), file, tmp_path / "t.parquet", tmp_path).stages


def placed(metal: str) -> tuple[Row, Atoms]:
    slab = fcc111(metal, (3, 3, 3), vacuum=8.0, periodic=True)
    tags_N = np.where(slab.get_tags() == 1, 1, 0)
    methanol = molecule("CH3OH")
    add_adsorbate(slab, methanol, 2.8, "ontop")
    tags_N = np.concatenate([tags_N, np.full(len(methanol), 2)])
    row = Row(
        uid="a#initial",
        pair="a",
        set="fg",
        level="pbe-d2-molecule",
        adsorbate="CH3OH",
        text=f"CH3OH</s>{metal} (1 1 1)</s>[]",
        kind="initial",
        fold=0,
        energy_ev=-0.4,
        numbers_N=slab.numbers,
        positions_N3=slab.positions,
        cell_33=slab.cell.array,
        tags_N=tags_N,
    )
    return row, methanol


def test_a_molecule_moves_to_another_metal_unbent_and_no_nearer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row, methanol = placed("Cu")
    distillation = load_script(ACCURACY / "distillation.py", monkeypatch)
    there = distillation._on_metal(row, "Cu", "Pt", "scaled")
    is_slab_N = there.tags_N < 2
    assert set(there.numbers_N[is_slab_N]) == {78}
    assert there.text.startswith("CH3OH</s>Pt (1 1 1)</s>")
    apart_AA = np.linalg.norm(
        there.positions_N3[~is_slab_N][:, None] - there.positions_N3[~is_slab_N][None], axis=2
    )
    assert apart_AA == pytest.approx(methanol.get_all_distances(), abs=1e-6)
    stretch = np.linalg.norm(there.cell_33[0]) / np.linalg.norm(row.cell_33[0])
    assert stretch == pytest.approx(3.92 / 3.61, abs=1e-3)

    def height(positions_N3: np.ndarray) -> float:
        return float(positions_N3[~is_slab_N, 2].mean() - positions_N3[is_slab_N, 2].max())

    assert height(there.positions_N3) == pytest.approx(height(row.positions_N3), abs=1e-6)
