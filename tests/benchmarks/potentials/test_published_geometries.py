"""Potentials on published geometries: what is one slab, what an offset takes away."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.build import add_adsorbate, fcc111
from support.scripts import BENCHMARKS, load_script

from tasks.levels import level
from tasks.structures.identity import fixed_mask
from tasks.training_data.sources import LabelledStructure

POTENTIALS = BENCHMARKS / "potentials"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load_script(POTENTIALS / "published_geometries.py", monkeypatch)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load_script(POTENTIALS / "published_geometries_table.py", monkeypatch)


def adslab(species: str = "H", metal: str = "Cu") -> Atoms:
    made = fcc111(metal, (2, 2, 5), a=3.65, vacuum=8.0)
    add_adsorbate(made, species, 1.0, "fcc")
    made.pbc = True
    return made


def frame(uid: str, atoms: Atoms, energy_ev: float = 0.0) -> LabelledStructure:
    return LabelledStructure(
        uid, "wwl_simple", "beef-vdw-ch4", "H", "Cu", (1, 1, 1), energy_ev, 0, atoms
    )


def test_the_lower_part_is_held_where_a_set_holds_nothing(benchmark: ModuleType) -> None:
    framed = benchmark.held(adslab(), 3 / 5)
    heights_N, held_N = framed.positions[:, 2], fixed_mask(framed)
    assert held_N.sum() == 12
    assert heights_N[held_N].max() < heights_N[~held_N].min()


def test_frames_whose_slabs_relaxed_a_little_apart_share_a_clean_slab(
    benchmark: ModuleType,
) -> None:
    first = benchmark.held(adslab("H"), 3 / 5)
    moved = benchmark.held(adslab("O"), 3 / 5)
    moved.positions[-2] += (0.0, 0.0, 0.3)
    other = benchmark.held(adslab("H", "Ni"), 3 / 5)
    frames = [frame("a", first), frame("b", moved), frame("c", other)]
    grounds = benchmark.clean_slabs(frames)
    assert [grounds[uid].uid for uid in ("a", "b", "c")] == ["a", "a", "c"]
    ways = [(item.frame.uid, item.way) for item in benchmark.items(frames, grounds)]
    assert ways.count(("a", "clean slab")) == ways.count(("c", "clean slab")) == 1
    assert ("b", "clean slab") not in ways


def test_what_is_kept_is_not_computed_again(benchmark: ModuleType, tmp_path: Path) -> None:
    theory, cache = level("emt"), tmp_path / "kept.parquet"
    frames = [frame("a", benchmark.held(adslab(), 3 / 5), -0.2)]
    grounds = benchmark.clean_slabs(frames)
    wanted = list(benchmark.items(frames, grounds))
    benchmark.fill(cache, wanted, theory, limit_s=0.0)
    first = benchmark.read_cache(cache, theory)
    assert first.way.tolist() == ["as published"]  # at least one, however short the time
    benchmark.fill(cache, wanted, theory, limit_s=60.0)
    kept = benchmark.read_cache(cache, theory)
    assert kept.way.tolist() == ["as published", "clean slab", "relaxed"]
    assert kept.cpu_s[0] == first.cpu_s[0]
    rows = benchmark.energies(frames, grounds, kept)
    assert rows.way.tolist() == ["as published", "relaxed"]
    assert rows.potential_ev.between(-5, 5).all()
    assert benchmark.read_cache(cache, replace(theory, functional="other")).empty


def test_an_offset_for_each_adsorbate_comes_from_other_folds(table: ModuleType) -> None:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "uid": [f"{i}" for i in range(40)],
            "way": "as published",
            "adsorbate": ["H", "O"] * 20,
            "surface": ["Pt", "Au#Ni", "Ru", "Zr"] * 10,
            "fold": np.repeat(range(5), 8),
            "dft_ev": rng.normal(size=40),
            "flags": "",
            "moved": False,
            "cpu_s": 1.0,
            "atoms": 13,
        }
    )
    rows["potential_ev"] = rows.dft_ev + rows.adsorbate.map({"H": 3.0, "O": -2.0})
    lower = rows[10:30].assign(way="relaxed")
    lower["potential_ev"] -= 0.3
    assert table.with_errors(pd.concat([rows, lower])).error.abs().max() < 1e-9
    off = rows.fold == 0
    rows.loc[off, "potential_ev"] += 0.5  # its own fold tells a row's offset nothing
    found = table.with_errors(rows)
    assert found.error[off].to_numpy() == pytest.approx(0.5)
    assert found.kind.tolist()[:4] == ["late", "magnetic", "late", "early"]
