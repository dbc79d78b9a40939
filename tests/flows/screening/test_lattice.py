"""``sabatier lattice``: a campaign's bulks at a level's lattice constants, computed once."""

from pathlib import Path

import pytest

from flows.config.campaign import load_campaign
from flows.config.resolve import resolve_campaign
from flows.errors import CampaignError
from flows.screening.lattice import start_lattice
from flows.screening.surfaces import cut_bulks_locally
from tasks.errors import UserError
from tasks.verification.lattice import Equilibrium

CAMPAIGN = """\
name: sized
bulks: {elements: [Cu, Fe], alloys: [{formula: Cu3Pt, prototype: L1_2}]}
surfaces: {millers: [[1, 1, 1]], min_thickness: 4.0, min_in_plane: 4.0}
adsorbates: [O]
target: {O: {window: [-2.0, -1.2]}}
level: emt
model: baseline
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "sized.yaml").write_text(CAMPAIGN)
    return tmp_path / "sized.yaml"


def test_bulks_are_computed_once_and_a_campaign_takes_them(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = file.parent / "crystals"
    start_lattice(file, "emt", out)
    first = capsys.readouterr().out
    assert "3.610" in first
    assert "3.590" in first
    assert "+0.56" in first
    assert "refused bulk Fe: engine emt has no potential for Fe" in first
    assert "bulks: {structures: [crystals/*.extxyz]}" in first

    def nothing(*_: object) -> Equilibrium:
        raise CampaignError("it is computed again")

    monkeypatch.setattr("flows.screening.lattice.equilibrium", nothing)
    start_lattice(file, "emt", out)
    assert "refused bulk Fe: it is computed again" in capsys.readouterr().out

    line = next(words for words in CAMPAIGN.splitlines() if words.startswith("bulks"))
    file.write_text(CAMPAIGN.replace(line, "bulks: {structures: [crystals/*.extxyz]}"))
    resolved = resolve_campaign(load_campaign(file), file.parent, None)
    assert [bulk.formula for bulk in resolved.bulks] == ["Cu", "Cu3Pt"]
    cut = cut_bulks_locally(resolved)
    assert [r for surface in cut for r in surface.refused] == []
    copper = cut[0].slabs[0].slab.atoms.get_all_distances(mic=True)
    assert copper[copper > 0].min() == pytest.approx(3.5898 / 2**0.5, abs=1e-3)


def test_files_beside_those_of_the_campaign_are_not_named(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file.parent / "mine.extxyz").touch()
    start_lattice(file, "emt", file.parent)
    said = capsys.readouterr().out
    assert "structures: [Cu-e5da72fac89b.extxyz, Cu3Pt-e6831b1c1cab.extxyz]" in said


@pytest.mark.parametrize(
    ("level", "old", "new", "says"),
    [
        ("beef-vdw-co", "", "", "holds published labels"),
        (
            "emt",
            "[Cu, Fe], alloys: [{formula: Cu3Pt, prototype: L1_2}]",
            "[Fe]",
            "no bulk of .* at emt",
        ),
        ("none.yaml", "", "", "cannot be read"),
    ],
)
def test_a_bulk_without_a_lattice_constant_is_one_line(
    file: Path, level: str, old: str, new: str, says: str
) -> None:
    file.write_text(CAMPAIGN.replace(old, new))
    with pytest.raises(UserError, match=says):
        start_lattice(file, level, file.parent / "crystals")
    assert not (file.parent / "crystals").exists()
