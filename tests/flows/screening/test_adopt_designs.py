from collections.abc import Iterator
from pathlib import Path

import pytest
from support.designer import LayerPredictor, ScriptedSampler
from support.stored_rows import new_database
from support.streams import adslab, reread

from flows.errors import CampaignError
from flows.screening.adopt_designs import adopt_designs
from flows.screening.designs import GeneratedDesigns, designs_campaign
from model.generation.design import Designer, SeenAdsorbate, SeenLevel
from model.generation.stream_grammar import decode_stream
from model.generation.structure_stream import Structure
from screening_db.database.engine import Database
from screening_db.errors import DatabaseError
from screening_db.queries.campaigns import funnel_counts
from screening_db.queries.enumeration import candidates_by_id, slabs_by_id
from screening_db.queries.ranking import top_candidates
from tasks.design.generate import generate_designs
from tasks.design.request import DesignRequest, design_request
from tasks.levels import LevelOfTheory
from tasks.structures.formats import structure_from_text
from tasks.structures.identity import require_stored_ids

CO = SeenAdsorbate(("C0 O0 0-1",), 10, -1.0, 0.5)
ETHANOL = SeenAdsorbate(("C3 C2 O1 0-1 1-2",), 10, -1.0, 0.5)
LEVELS = {"emt": SeenLevel(-3.0, 2.0, ("Cu", "Pt"), {"CO": CO, "C2H6O": ETHANOL})}
LOW = reread(adslab("Cu (1 1 1)", "CO", height=1.9))
HIGH = reread(adslab("Cu (1 1 1)", "CO", height=2.3, across=(0.3, 0.1)))
FAR = reread(adslab("Cu (1 1 1)", "CO", height=5.0))


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = new_database(tmp_path / "designs.db")
    yield database
    database.close()


def generated(folder: Path, *script: Structure, count: int = 4) -> GeneratedDesigns:
    writer = Designer("d" * 64, LEVELS, ScriptedSampler(script))  # type: ignore[arg-type]
    order = design_request(LEVELS, "CO", -1.9)
    designs = generate_designs(writer, LayerPredictor(), order, count=count)
    return GeneratedDesigns(order, tuple(designs), folder, writer.checkpoint_sha256)


def entered(db: Database, found: GeneratedDesigns, name: str = "mine", seed: int = 0) -> int:
    campaign = designs_campaign(name, found.request, model="mini", seed=seed)
    return adopt_designs(found, campaign, db)


def test_valid_designs_become_ranked_candidates(db: Database, tmp_path: Path) -> None:
    assert entered(db, generated(tmp_path, LOW, FAR, HIGH, LOW)) == 2  # one of them comes twice
    first, *rest = top_candidates(db, "mine")
    assert rest == []  # both are on one slab: one pair, ranked by its lowest
    assert first.energy_ev == pytest.approx(-2.3, abs=0.02)
    states = {(row.stage, row.state): row.count for row in funnel_counts(db, "mine")}
    assert states[("slab", "used")] == 1
    assert sum(count for (stage, _), count in states.items() if stage == "placement") == 2


def test_a_candidate_can_be_verified_and_built_again_from_its_stream(
    db: Database, tmp_path: Path
) -> None:
    found = generated(tmp_path, LOW)
    entered(db, found)
    made = found.designs[0].adslab
    assert made is not None
    row = candidates_by_id(db, [made.candidate_id])[made.candidate_id]
    slab = slabs_by_id(db, [row.slab_id])[row.slab_id]
    require_stored_ids(
        structure_from_text(row.structure or ""),
        structure_from_text(slab.structure),
        "CO",
        stored_candidate=row.id,
        stored_slab=slab.id,
    )
    assert sorted(decode_stream(row.recipe["stream"].split()).numbers_N) == sorted(LOW.numbers_N)


def test_entering_again_adds_nothing_and_another_order_needs_another_name(
    db: Database, tmp_path: Path
) -> None:
    found = generated(tmp_path, LOW, HIGH)
    assert entered(db, found) == entered(db, found) == 2
    with pytest.raises(DatabaseError, match=r"stored in .* with another configuration"):
        entered(db, found, seed=1)


def test_designs_that_their_level_cannot_verify_are_refused_by_pair(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(symbols: list[str], _species: tuple[str, ...], level: LevelOfTheory) -> str:
        return f"pair that {level.name} cannot verify" if "Pt" in symbols else ""

    monkeypatch.setattr(f"{adopt_designs.__module__}.pair_fault", fault)
    platinum = reread(adslab("Pt (1 0 0)", "CO", height=1.9))
    with pytest.raises(CampaignError, match="got none: pair that emt cannot verify"):
        entered(db, generated(tmp_path, platinum))
    assert entered(db, generated(tmp_path, LOW, platinum)) == 1
    states = {(row.stage, row.state): row.count for row in funnel_counts(db, "mine")}
    assert (states[("pair", "refused")], states[("slab", "used")]) == (1, 1)


def test_nothing_valid_is_no_campaign(db: Database, tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match="at least one valid design"):
        entered(db, generated(tmp_path, FAR))


def formula_order() -> DesignRequest:
    return design_request(LEVELS, "C2H6O", -0.5)


@pytest.mark.parametrize(
    ("name", "order", "says"),
    [
        ("mine", formula_order(), "C2H6O is a formula"),
        ("no spaces", design_request(LEVELS, "CO", -0.5), "campaign 'no spaces': name:"),
    ],
)
def test_designs_that_cannot_be_a_campaign_are_refused(
    name: str, order: DesignRequest, says: str
) -> None:
    with pytest.raises(CampaignError, match=says):
        designs_campaign(name, order, model="mini", seed=0)


def test_a_stored_name_makes_a_formula_a_molecule() -> None:
    order = design_request(LEVELS, "CH3CH2OH", -0.5)
    campaign = designs_campaign("mine", order, model="mini", seed=3)
    assert campaign.adsorbate_names() == ["CH3CH2OH"]
    assert campaign.windows()["CH3CH2OH"].centre_ev == pytest.approx(-0.5)
