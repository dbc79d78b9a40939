"""Rows that a difference is learnt on: relaxed structures that the potential has an energy for."""

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from support.scripts import BENCHMARKS, load_script
from support.synthetic import rows as made_up
from support.synthetic import table

from tasks.levels import level


@pytest.mark.medium
def test_rows_take_the_energy_of_their_own_structure_less_slab_and_gas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for beside in ("published_geometries.py", "left_out.py"):
        load_script(BENCHMARKS / "potentials" / beside, monkeypatch)
    script = load_script(BENCHMARKS / "potentials" / "difference_on_wwl.py", monkeypatch)
    theory, rows = level("emt"), made_up("adslab")
    monkeypatch.setattr(script, "KIND", rows[0].kind)
    monkeypatch.setattr(script, "gas_references", lambda names, _: dict.fromkeys(names, 2.0))
    pq.write_table(table(rows), tmp_path / "set.parquet")
    kept = pd.DataFrame({"uid": sorted({row.pair for row in rows})[:3]})
    kept = kept.assign(way="as published", hash=theory.level_hash, energy_ev=-7.0, slab_ev=-8.0)
    kept.loc[2, "energy_ev"] = float("nan")  # the engine failed
    kept.to_parquet(tmp_path / "kept.parquet")
    found = script.rows_with_energies(tmp_path / "set.parquet", tmp_path / "kept.parquet", theory)
    assert {row.pair for row in found} == set(kept.uid[:2])
    assert {row.configuration().energies_ev["emt"] for row in found} == {-1.0}
