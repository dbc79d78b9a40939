"""Generation writes a CIF and a row for each design, and lets valid ones enter a campaign."""

import csv
from pathlib import Path

import pytest
from support.designer import designer_checkpoint

from flows.display.tables import show_designs
from flows.screening.designs import (
    SUMMARY,
    GeneratedDesigns,
    GenerationRequest,
    cif_name,
    run_generation,
    summary_lines,
    table_rows,
)
from flows.screening.start import start_generation
from model.contract import BondRule, Domain, LevelDomain, Prediction
from model.errors import ModelError
from tasks.design.checks import DesignVerdict
from tasks.design.generate import Design, DesignedAdslab
from tasks.design.request import DesignRequest
from tasks.errors import UserError

pytestmark = pytest.mark.medium


class NothingToPredict:
    """A predictor for runs of an untrained designer, in which nothing is valid."""

    checkpoint_sha256 = "0" * 64
    bond_rule: BondRule = "radii"
    domain = Domain({"emt": LevelDomain()})

    def predict(self, _configurations: object) -> list[Prediction]:
        return []


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("flows.screening.designs.load_predictor", lambda _: NothingToPredict())
    return str(designer_checkpoint(tmp_path / "checkpoint").folder)


def run(checkpoint: str, out: Path, **changed: object) -> GeneratedDesigns:
    stated = {"adsorbate": "O", "target_ev": 0.5, "count": 3, "level": "emt", "bulk": "Cu"}
    return run_generation(GenerationRequest(model=checkpoint, out=out, **{**stated, **changed}))  # type: ignore[arg-type]


def test_every_attempt_is_in_the_table(checkpoint: str, tmp_path: Path) -> None:
    generated = run(checkpoint, tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out" / SUMMARY).open()))
    assert [row["number"] for row in rows] == ["1", "2", "3"]
    assert [row["cause"] for row in rows] == [d.verdict.cause or "" for d in generated.designs]
    assert rows[0]["stream"].split()[0].startswith("<m:")


def test_one_seed_makes_one_table(checkpoint: str, tmp_path: Path) -> None:
    tables = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(checkpoint, tmp_path / name, seed=seed)
        tables.append((tmp_path / name / SUMMARY).read_text())
    assert tables[0] == tables[1] != tables[2]


def test_a_folder_that_holds_something_is_left_alone(checkpoint: str, tmp_path: Path) -> None:
    (tmp_path / "mine.cif").write_text("mine")
    with pytest.raises(UserError, match="new or empty"):
        run(checkpoint, tmp_path)


@pytest.mark.parametrize(
    ("changed", "error", "says"),
    [
        ({"count": 0}, UserError, "1 or more, got 0"),
        ({"adsorbate": "Q"}, UserError, "has not seen the adsorbate Q"),
        ({"bulk": "Zr"}, UserError, "got Zr"),
        ({"target_ev": 99.0}, UserError, "lie within its labels"),
        ({"model": "baseline"}, ModelError, "has no designer"),
        ({"campaign": "no spaces"}, UserError, "campaign 'no spaces': name"),
    ],
)
def test_an_impossible_request_is_refused_before_anything_is_written(
    checkpoint: str, tmp_path: Path, changed: dict[str, object], error: type[Exception], says: str
) -> None:
    folder = changed.pop("model", checkpoint)
    with pytest.raises(error, match=says):
        run(str(folder), tmp_path / "out", **changed)
    assert not (tmp_path / "out").exists()


def valid(number: int, energy_ev: float, order: DesignRequest, key: str) -> Design:
    made = DesignedAdslab(key, "slab", "CO", None, "Cu", (1, 1, -1), "")  # type: ignore[arg-type]
    said = Prediction(key, order.level, "0" * 64, energy_ev, 0.1, energy_ev, energy_ev, True)
    return Design(number, (), "", DesignVerdict(), made, said)


def test_the_summary_counts_valid_and_distinct_designs_and_causes(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    order = run(checkpoint, tmp_path / "out").request
    designs = (
        valid(1, 0.9, order, "a"),
        valid(2, 0.6, order, "b"),
        valid(3, 0.6, order, "b"),
        Design(4, (), None, DesignVerdict("unfinished", "")),
    )
    generated = GeneratedDesigns(order, designs, tmp_path, "d" * 64)
    assert [d.number for d in generated.valid] == [2, 3, 1]
    assert cif_name(designs[0], order) == "001-O-Cu-11-1.cif"
    lines = summary_lines(generated)
    assert lines[0] == "valid        3 of 4 (75%)"
    assert lines[1] == "distinct     2 of 3"
    assert lines[2].startswith("unfinished   1: ")
    assert lines[3] == "off target   0.10 eV median, 0.10 eV best"
    show_designs("designs", table_rows(generated), summary_lines(generated))
    assert "+0.60 ± 0.10" in capsys.readouterr().out


def test_a_run_without_a_valid_design_makes_no_campaign(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match="at least one valid design"):
        start_generation(
            GenerationRequest(
                adsorbate="O",
                target_ev=0.5,
                count=2,
                out=tmp_path / "out",
                level="emt",
                model=checkpoint,
                campaign="mine",
            ),
            database=str(tmp_path / "designs.db"),
        )
    assert "valid        0 of 2 (0%)" in capsys.readouterr().out
