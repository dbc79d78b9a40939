"""The benchmark of engines: slabs the product takes, tables that say what was computed."""

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from support.scripts import BENCHMARKS, load_script

from tasks.verification.labels.verify import RelaxedGeometries
from tasks.yaml_text import read_yaml

ENGINES = BENCHMARKS / "engines"


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load_script(ENGINES / "engines.py", monkeypatch)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load_script(ENGINES / "engines_table.py", monkeypatch)


def test_every_level_is_one_that_can_be_read(engines: ModuleType) -> None:
    for name, source in engines.LEVELS.items():
        assert engines.find_level(name).name == name
        mode = engines.find_level(name).require_calculation().mode
        assert name == "qe-pbe" or (mode == "single_point") == bool(source)


def test_every_site_that_is_computed_has_a_height_and_a_published_energy(
    engines: ModuleType,
) -> None:
    published = read_yaml((ENGINES / "published_adsorption.yaml").read_text())[1]
    for adsorbate in engines.ADSORBATES:
        for metal in engines.METALS:
            item = engines.Item("emt", metal, adsorbate)
            slab, adslab = engines.structures(item, 4.0)
            assert adslab.get_tags().tolist().count(2) == len(adsorbate)
            assert np.allclose(adslab.positions[: len(slab)], slab.positions)
            values = published["energies"][adsorbate][metal]
            assert set(values) <= set(published["sources"])


def test_a_finished_energy_is_kept_and_not_computed_again(
    engines: ModuleType, tmp_path: Path
) -> None:
    item = engines.Item("emt", "Cu", "H")
    engines.compute_item(item, tmp_path)
    kept = json.loads(item.file(tmp_path).read_text())
    assert kept["energy_ev"] == pytest.approx(-0.49, abs=0.01)
    assert kept["peak_mb"] > 10
    options = type("Options", (), {"runs": tmp_path, "levels": ["emt"], "metals": ["Cu"]})()
    options.adsorbates = ["H", "O"]
    assert [left.adsorbate for left in engines.missing(options)] == ["O"]


def test_a_single_point_takes_the_geometry_of_its_source(
    engines: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines.compute_item(engines.Item("emt", "Cu", "H"), tmp_path)
    monkeypatch.setitem(engines.LEVELS, "gpaw-pbe-dense", "emt")
    start = engines.relaxed_geometries(engines.Item("gpaw-pbe-dense", "Cu", "H"), tmp_path)
    assert isinstance(start, RelaxedGeometries)
    assert len(start.adslab) == len(start.slab) + 1
    with pytest.raises(SystemExit, match="run level emt first"):
        engines.relaxed_geometries(engines.Item("gpaw-pbe-dense", "Pt", "H"), tmp_path)


def test_an_order_is_right_pair_by_pair(table: ModuleType) -> None:
    truth = {"Al": -2.0, "Cu": 1.0, "Pt": 1.6, "Au": 1.62}
    assert table.agreement(truth, truth) == ("5 of 5", "+1.00", "4 of 4")  # Pt and Au: no order
    upside_down = {metal: -energy for metal, energy in truth.items()}
    assert table.agreement(upside_down, truth) == ("0 of 5", "-1.00", "0 of 4")


def test_a_flagged_label_is_shown_and_is_in_no_order(
    engines: ModuleType, table: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for metal, energy, flags in (("Cu", -0.1, []), ("Pt", -0.3, []), ("Ni", -9.0, ["desorbed"])):
        row = {"energy_ev": energy, "flags": flags, "converged": "True"}
        row |= {"adslab_cpu_s": 2.0, "peak_mb": 100.0, "level_hash": "0" * 64, "engine": "emt 1"}
        engines.write(tmp_path / "emt" / f"{metal}-H.json", row)
    table.print_tables(tmp_path, ["emt", "gpaw-pbe-fast"])
    said = capsys.readouterr().out
    assert "-9.00*" in said
    assert "| H | emt | Pt < Cu | 1 of 1 | - | 2 of 2 |" in said
    assert "| H | gpaw-pbe-fast | - | - | - | - |" in said
    assert "gpaw-pbe-fast against gpaw-pbe-dense: -" in said
    assert "| emt | 00000000 | emt 1 | 3 | 2 (2 to 2) | 100 |" in said


def test_a_level_is_compared_with_what_is_published_of_its_functional(
    engines: ModuleType, table: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    published = {
        ("H", "Pt"): {"PBE": [-0.5, -0.4], "RPBE": [-0.3]},
        ("H", "Cu"): {"RPBE": [0.0]},
    }
    row = {"energy_ev": -0.55, "flags": [], "converged": "True"}
    found = {"gpaw-pbe-fast": {("H", "Pt"): row, ("H", "Cu"): row}}
    results = table.Results(found, published)
    assert results.energies("published") == {("H", "Pt"): -0.3, ("H", "Cu"): 0.0}
    table.print_same_functional(results, ["emt", "gpaw-pbe-fast"], ["Pt", "Cu"])
    assert capsys.readouterr().out == (
        "gpaw-pbe-fast minus published PBE (eV): H on Pt -0.10; mean size 0.10, largest 0.10\n\n"
    )
