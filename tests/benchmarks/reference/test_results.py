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


def ranks(results: ModuleType, order: str, moved_ev: float = 0.0) -> dict[str, pd.DataFrame]:
    """Return ranks of three candidates; the probabilities of b and c are equal to 1e-6."""
    known = {"a": (-0.9, 0.02, 0.6), "b": (-0.8, 0.02, 0.300001), "c": (-0.7, 0.01, 0.3)}
    rows = [
        (rank, 1, each, known[each][0] + moved_ev, known[each][1], known[each][2])
        for rank, each in enumerate(order, start=1)
    ]
    names = ["rank", "rank_group", "candidate", "energy_ev", "sigma_ev", "probability"]
    table = pd.DataFrame(rows, columns=names)
    table = table[["candidate", *(name for name in names if name != "candidate")]]
    return tables(results, [0.1, 0.3]) | {"rank": table}


def test_candidates_of_one_probability_may_exchange_ranks_and_no_others(
    results: ModuleType,
) -> None:
    before = ranks(results, "abc")
    assert results.differences(before, ranks(results, "acb", 2e-5), 1e-4) == []
    (line,) = results.differences(before, ranks(results, "acb"), 1e-9)
    assert line.startswith("rank: rank differs in 2 rows")
    (line,) = results.differences(before, ranks(results, "bac"), 1e-4)
    assert line.startswith("rank: rank differs in 2 rows")
    assert any(
        "energy_ev" in line
        for line in results.differences(before, ranks(results, "abc", 2e-4), 1e-4)
    )
