"""Tables are compared row by row, where several rows have one key too."""

from types import ModuleType

import pandas as pd
import pytest
from support.scripts import BENCHMARKS, load_script


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load_script(BENCHMARKS / "reference" / "results.py", monkeypatch)


def tables(results: ModuleType, energies: list[float]) -> dict[str, pd.DataFrame]:
    """Return two predictions of one candidate, by two fine-tuned checkpoints, and no other row."""
    both = pd.DataFrame({"candidate": "a1", "shipped": 0, "energy_ev": energies})
    others = pd.DataFrame({f"column {number}": [1] for number in range(4)})
    return dict.fromkeys(results.TABLES, others) | {"prediction": both}


def test_rows_that_share_a_key_differ_by_their_values_and_not_by_their_order(
    results: ModuleType,
) -> None:
    before = tables(results, [0.1, 0.3])
    assert results.differences(before, tables(results, [0.3, 0.1]), 1e-9) == []
    (line,) = results.differences(before, tables(results, [0.3, 0.2]), 1e-9)
    assert line.startswith("prediction: energy_ev differs in 1 rows, by 0.1 at most")
