"""What a campaign names is found, and what cannot be verified is refused before it is screened."""

from pathlib import Path

import pytest
from support.campaigns import parse_campaign

from flows.config.campaign import Campaign
from flows.config.resolve import resolve_campaign
from flows.errors import CampaignError
from flows.screening.surfaces import cut_bulks_locally
from model.checkpoint import embedded_names
from tasks.errors import UserError
from tasks.levels import level as named_level
from tasks.reports.plan import plan_campaign
from tasks.verification.engines import EngineLocation
from tasks.verification.relaxation.admission import pair_fault, slab_fault

pytestmark = pytest.mark.skipif("mini" not in embedded_names(), reason="no checkpoint is here")

SULPHUR = """\
name: sulphur
bulks: {elements: [Cu]}
surfaces: {millers: [[1, 1, 1]], min_thickness: 4.0, min_in_plane: 4.0}
adsorbates: [CH2O, {smiles: CS, binding: [1], name: CH3SH}]
target: {CH3SH: {window: [-1.0, 0.0]}}
level: pbe-d2-molecule
verification: {level: emt}
"""


def stated(old: str = "", new: str = "") -> Campaign:
    assert old in SULPHUR
    return parse_campaign(SULPHUR.replace(old, new), Path("sulphur.yaml"))


def quantum_espresso(folder: Path, *symbols: str) -> dict[str, EngineLocation]:
    """Return where a program that is there finds the pseudopotentials of a few elements."""
    for symbol in symbols:
        (folder / f"{symbol}.upf").touch()
    return {"quantum-espresso": EngineLocation(command="true", potentials=str(folder))}


def own_level(folder: Path, text: str) -> None:
    (folder / "own.yaml").write_text(f"name: own\n{text}")


def test_an_adsorbate_without_a_reference_is_refused_by_name(tmp_path: Path) -> None:
    resolved = resolve_campaign(stated(), tmp_path, None)
    assert [a.name for a in resolved.adsorbates] == ["CH2O"]
    (refused,) = resolved.refused
    assert (refused.item, refused.stage) == ("CH3SH", "adsorbate")
    assert refused.reason == (
        "adsorbate that level emt cannot verify: CH3SH holds S, which has no gas reference among "
        "CO, H2O, H2, N2; choose a level of theory whose references hold S, or drop the adsorbate"
    )
    with pytest.raises(CampaignError, match=r"all of them were refused: CH3SH: .* holds S"):
        resolve_campaign(stated("CH2O, "), tmp_path, None)


def test_a_level_of_published_labels_verifies_all_that_it_refers_to(tmp_path: Path) -> None:
    assert resolve_campaign(stated("verification: {level: emt}", ""), tmp_path, None).refused == ()


def test_an_adsorbate_or_a_reference_without_a_potential_is_refused(tmp_path: Path) -> None:
    references = "reference: {kind: reactions, molecules: [CO2, H2O, H2, N2, SH2]}"
    own_level(tmp_path, f"based_on: qe-pbe\n{references}\n")
    campaign = stated("level: emt", "level: own.yaml")
    assert resolve_campaign(campaign, tmp_path, None).refused == ()  # an engine that is elsewhere
    locations = quantum_espresso(tmp_path, "Cu", "H", "C", "S")
    rule = (
        "CH3SH: adsorbate that level own cannot verify: CH3SH, measured against CO2, H2O, H2, SH2, "
        "needs a potential of O, which engine quantum-espresso does not have here; install it"
    )
    with pytest.raises(CampaignError, match=rule):
        resolve_campaign(campaign, tmp_path, None, locations)
    assert resolve_campaign(campaign, tmp_path, None, quantum_espresso(tmp_path, "O")).refused == ()


def test_a_slab_is_refused_by_the_engine_where_the_engine_lacks_the_element(
    tmp_path: Path,
) -> None:
    own_level(tmp_path, "based_on: qe-pbe\n")
    locations = quantum_espresso(tmp_path, "Pt", "H", "C", "O")
    campaign = stated("level: emt", "level: own.yaml")
    cut = cut_bulks_locally(resolve_campaign(campaign, tmp_path, None, locations))
    assert {r.reason for surface in cut for r in surface.refused} == {
        "element that engine quantum-espresso has no potential for: Cu"
    }


WITH_U = """\
based_on: diep-r2scan
calculation: {potentials: {family: own, trained_on: OMat24, checksums: {model: 0123456789abcdef}}}
"""


def test_pairs_that_a_potential_with_u_cannot_know_are_refused_and_no_others(
    tmp_path: Path,
) -> None:
    own_level(tmp_path, WITH_U)
    campaign = parse_campaign(
        "name: u\nlevel: beef-vdw-ch4\nverification: {level: own.yaml}\n"
        "bulks: {elements: [Ni, Cu]}\nadsorbates: [H, O, OH]\n"
        "surfaces: {millers: [[1, 1, 1]], min_thickness: 4.0, min_in_plane: 4.0}\n"
        "target: {H: {window: [-1, 0]}}\ntriage: {budget: 1}\n",
        tmp_path / "u.yaml",
    )
    cut = cut_bulks_locally(resolve_campaign(campaign, tmp_path, None))
    counted = {s.slab.bulk_formula: s for surface in cut for s in surface.slabs}
    left_out = {name: set(slab.left_out) for name, slab in counted.items()}
    assert left_out == {"Ni": {"O", "OH"}, "Cu": set()}
    assert 0 < counted["Ni"].placements < counted["Cu"].placements
    refused = [r for surface in cut for r in surface.refused]
    assert {r.stage for r in refused} == {"pair"}
    assert {r.item.rpartition(" ")[2] for r in refused} == {"O", "OH"}
    (reason,) = {r.reason for r in refused}
    assert reason.startswith("pair that level own cannot verify: level own (own) was trained on ")
    assert "OMat24, which adds U to Ni as soon as there is O" in reason
    planned = plan_campaign(cut, 3, model="mini", workers=1, keep_per_pair=1)
    assert planned.pairs == 4
    assert [(group.stage, group.count) for group in planned.refused] == [("pair", 2)]


def test_a_slab_with_oxygen_of_such_a_metal_is_refused_itself(tmp_path: Path) -> None:
    own_level(tmp_path, WITH_U)
    at = named_level("own.yaml", tmp_path)
    assert slab_fault(["Ni", "O"], at).startswith("slab that level own cannot verify: level own")
    assert slab_fault(["Ni"], at) == slab_fault(["Cu", "O"], at) == ""
    assert pair_fault(["Ni"], ["H"], at) == pair_fault(["Ni"], ["O"], named_level("emt")) == ""


def test_a_level_that_its_engine_cannot_compute_is_refused_before_screening(
    tmp_path: Path,
) -> None:
    own_level(tmp_path, "based_on: gpaw-pbe-fast\ncalculation: {dispersion: D3}\n")
    campaign = stated("level: emt", "level: own.yaml")
    with pytest.raises(UserError, match="gpaw computes dispersion none; level own states D3"):
        resolve_campaign(campaign, tmp_path, None)


def test_a_model_that_reads_only_texts_is_refused_strained_slabs(tmp_path: Path) -> None:
    strained = stated("min_in_plane: 4.0}", "min_in_plane: 4.0, strain: [0.02]}\nmodel: baseline")
    with pytest.raises(
        CampaignError, match=r"strain is in the atoms of.*'baseline' reads only texts"
    ):
        resolve_campaign(strained, tmp_path, None)


def test_bulks_that_are_refused_for_one_reason_are_named_once(tmp_path: Path) -> None:
    draws = "{composition: {Cu: 0.3, Pt: 0.7}, prototype: fcc, atoms: 32, number: 4}"
    campaign = stated("elements: [Cu]", f"random_alloys: [{draws}]")
    rule = r"all of them were refused: random alloy Cu 0.3 .* 0.0 and 3 more: shares are whole"
    with pytest.raises(CampaignError, match=rule) as caught:
        resolve_campaign(campaign, tmp_path, None)
    assert str(caught.value).count("shares are") == 1
