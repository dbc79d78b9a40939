"""The benchmark of the baselines prints what it measured, from tables alone."""

import sys
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.scripts import BENCHMARKS, load_script
from support.synthetic import rows as made_up
from support.synthetic import table

from model.training import baseline


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the script as a module, its boosting quick."""
    fewer = {"n_estimators": 40, "learning_rate": 0.2}
    monkeypatch.setattr(baseline, "_PARAMETERS", baseline._PARAMETERS | fewer)
    return load_script(BENCHMARKS / "accuracy" / "baselines.py", monkeypatch)


@pytest.mark.medium
def test_each_baseline_has_a_line_and_published_predictions_stand_beside_them(
    benchmark: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [*made_up("text"), *made_up("clean")]
    pq.write_table(table(rows), tmp_path / "mixed.parquet")
    said = [{"uid": r.uid, "model": "their", "energy_ev": r.energy_ev + 0.25} for r in rows[:50]]
    pq.write_table(pa.Table.from_pylist(said), tmp_path / "published.parquet")
    monkeypatch.setattr(sys, "argv", ["baselines.py", "--tables", str(tmp_path)])
    benchmark.main()
    lines = capsys.readouterr().out.splitlines()
    reported = sum(row.fold == 4 for row in rows)
    names = ("median", "adsorbate median", "boosting")
    maes = {}
    for name in names:
        (line,) = [line for line in lines if line.startswith(f"mixed          {name} ")]
        folds, count, mae = line[15 + 18 :].split()[:3]
        assert (folds, count) == ("1", str(reported))
        maes[name] = float(mae)
    assert maes["boosting"] < maes["adsorbate median"] < maes["median"]
    (their,) = [line for line in lines if line.startswith("  published their")]
    assert their.split()[2:6] == ["0.250", "of", "50", "rows"]


def test_a_fold_split_by_surface_is_calibrated_on_surfaces_never_seen(
    benchmark: ModuleType,
) -> None:
    rows = made_up("clean")
    assert not benchmark._split_by_surface(rows, 4)
    alone = [row for row in rows if row.fold != 4 or row.group == "Cu3Pt"]
    alone = [row for row in alone if row.group != "Cu3Pt" or row.fold == 4]
    assert benchmark._split_by_surface(alone, 4)
