"""Plans say at once that nothing is left to screen, or that nothing can verify it."""

from pathlib import Path

import pytest
from ase.build import fcc111
from ase.io import write

from flows.errors import CampaignError
from flows.screening.start import start_plan
from model.checkpoint import embedded_names

pytestmark = pytest.mark.skipif("mini" not in embedded_names(), reason="no checkpoint is here")

CAMPAIGN = """\
name: nothing
level: emt
slabs: [copper.extxyz]
surfaces: {skin: {elements: [Cu]}, only_edited: true}
adsorbates: [H]
target: {H: {window: [-1, 0]}}
triage: {budget: 1}
"""


def test_a_plan_without_slabs_ends_with_a_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "copper.extxyz", fcc111("Cu", (1, 1, 4), vacuum=8.0, periodic=True))
    file = tmp_path / "nothing.yaml"
    file.write_text(CAMPAIGN)
    with pytest.raises(CampaignError, match="none is left to screen: all were refused"):
        start_plan(file)
    said = capsys.readouterr().out
    assert "0 slabs" in said
    assert "the edit changes nothing: the layer is Cu already" in said
    assert "about" not in said


@pytest.mark.parametrize(
    ("level", "verification", "said"),
    [
        (
            "beef-vdw-ch4",
            "",
            "nothing here verifies the queue of verified: level beef-vdw-ch4 (BEEF-vdW of "
            "quantum-espresso) holds published labels and states no settings to compute it with; "
            "verify at a level that does, such as verification: {level: gpaw-rpbe} in the campaign",
        ),
        (
            "emt",
            "verification: {level: qe-pbe}",
            "nothing here verifies the queue of verified: level qe-pbe needs quantum-espresso; "
            "no-pw.x is not found: apt-get install quantum-espresso",
        ),
        (
            "emt",
            "verification: {level: qe-pbe, engine: quantum-espresso}",
            "level qe-pbe needs quantum-espresso; no-pw.x is not found",
        ),
        ("emt", "", ""),
        ("beef-vdw-ch4", "verification: {level: emt}", ""),
    ],
)
def test_a_plan_says_that_nothing_here_can_verify_it(
    level: str,
    verification: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SABATIER_QE_COMMAND", "no-pw.x")
    file = tmp_path / "verified.yaml"
    file.write_text(
        f"name: verified\nlevel: {level}\n{verification}\nbulks: {{elements: [Cu]}}\n"
        "surfaces: {millers: [[1, 1, 1]], min_thickness: 4.0, min_in_plane: 3.0}\n"
        "adsorbates: [H]\ntarget: {H: {window: [-1, 0]}}\ntriage: {budget: 1}\n"
    )
    start_plan(file)
    lines = [x for x in capsys.readouterr().out.splitlines() if "nothing here verifies" in x]
    assert len(lines) == bool(said)
    assert said in "".join(lines)
