"""Plans say at once that nothing is left to screen."""

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
