"""A choice knows what the database knows: labels, tries, clean slabs, sizes, prices."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import stored_rows as make
from support.campaigns import parse_campaign
from support.stored_rows import new_database

from flows.config.campaign import load_campaign
from flows.config.resolve import resolve_campaign
from flows.errors import CampaignError
from flows.records.from_rows import recorded_campaign, recorded_prices
from flows.records.to_rows import campaign_row
from flows.screening.ranking.rerank import new_ranking
from flows.screening.ranking.triage import best_found, choose_pairs
from screening_db.database.engine import Database
from screening_db.records.ranking import record_triage
from screening_db.records.screening import record_chunk
from tasks.acquisition import Prices, PriceTable
from tasks.acquisition.rank import LowestPlacement, RankedPair, Window, rank_pairs
from tasks.errors import UserError

ATOMS = {"Cu": 50, "Pt": 100}
WINDOWS = {"H": Window(-0.5, 0.5)}
FILE = """\
name: mine
bulks: {elements: [Cu, Pt]}
adsorbates: [H]
target:
  H: {window: [-0.5, 0.5]}
level: emt
triage: {budget: 1}
"""


def candidate(metal: str) -> LowestPlacement:
    return LowestPlacement(
        candidate_id=metal,
        pair_id=f"pair-{metal}",
        slab_id=f"slab-{metal}",
        bulk_id=metal,
        adsorbate="H",
        energy_ev={"Cu": 0.1, "Pt": 0.0}[metal],
        sigma_ev=0.2,
    )


RANKED: list[RankedPair] = rank_pairs([candidate("Cu"), candidate("Pt")], WINDOWS)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """Give a database with one candidate on copper and one on platinum."""
    made = new_database(tmp_path / "choice.db")
    make.record(made, make.adsorbate("H"), make.level(), make.checkpoint(), make.campaign("mine"))
    for metal, n_atoms in ATOMS.items():
        scored = candidate(metal)
        slab = make.slab(scored.slab_id, metal, n_atoms=n_atoms, elements=[metal])
        make.record(made, make.bulk(metal, metal), slab)
        record_chunk(
            made,
            "mine",
            metal,
            [make.candidate(metal, scored.pair_id, scored.slab_id, adsorbate="H")],
            [make.prediction(metal, scored.energy_ev, scored.sigma_ev)],
            [make.placement(metal, "mine")],
        )
    yield made
    made.close()


def verify(db: Database, metal: str, energy_ev: float) -> None:
    with db.write() as session:
        session.add(make.label(metal, energy_ev))


def chosen(db: Database, triage: str = "{budget: 1}", **more: object) -> list[str]:
    campaign = parse_campaign(FILE.replace("{budget: 1}", triage), Path("mine.yaml"))
    found = choose_pairs(db, campaign, WINDOWS, RANKED, **more)  # type: ignore[arg-type]
    return [c.pair.minimum.candidate_id for c in found]


def test_the_most_probable_is_chosen_first(db: Database) -> None:
    assert chosen(db) == ["Pt"]


def test_a_labelled_candidate_is_not_chosen_again(db: Database) -> None:
    verify(db, "Pt", 0.3)
    assert chosen(db) == ["Cu"]


def test_a_choice_made_again_after_a_kill_is_the_same(db: Database) -> None:
    record_triage(db, "mine", queued=chosen(db, repeat=True), kept=[])
    verify(db, "Pt", 0.3)
    assert chosen(db, repeat=True) == ["Pt"]
    assert chosen(db) == ["Cu"]


def test_a_smaller_cell_is_the_better_bargain(db: Database) -> None:
    assert chosen(db, "{budget: 1, costs: {}}") == ["Cu"]


def test_a_cost_budget_is_not_overspent(db: Database) -> None:
    # copper costs 2 with its slab, platinum eleven
    assert chosen(db, "{budget: 2, costs: {budget: 3}}") == ["Cu"]


@pytest.mark.parametrize(("budget", "queued"), [(13, []), (14, ["Pt"])])
def test_begun_calculations_are_paid_from_the_cost_budget(
    db: Database, budget: int, queued: list[str]
) -> None:
    record_triage(db, "mine", queued=["Cu"], kept=[])
    with db.write() as session:
        session.add(make.queue_row("Cu", "mine", state="converged"))
    triage = f"{{budget: 2, costs: {{budget: {budget}}}}}"
    campaign = parse_campaign(FILE.replace("{budget: 1}", triage), Path("mine.yaml"))
    row = campaign_row(resolve_campaign(campaign, Path(), None))
    ranking = new_ranking(db, row, make.CHECKPOINT)
    assert [item.item for item in ranking.queued] == queued


@pytest.mark.parametrize(("budget", "queued"), [(2, []), (3, ["Cu-again"])])
def test_a_clean_slab_is_paid_once_before_its_energy_is_there(
    db: Database, budget: int, queued: list[str]
) -> None:
    repeat = make.candidate("Cu-again", "pair-again", "slab-Cu", adsorbate="H")
    record_chunk(
        db,
        "mine",
        "again",
        [repeat],
        [make.prediction("Cu-again", 0.1, 0.2)],
        [make.placement("Cu-again", "mine")],
    )
    record_triage(db, "mine", queued=["Cu"], kept=[])
    with db.write() as session:
        session.add(make.queue_row("Cu", "mine", state="converged"))
    triage = f"{{budget: 2, costs: {{budget: {budget}}}}}"
    campaign = parse_campaign(FILE.replace("{budget: 1}", triage), Path("mine.yaml"))
    ranking = new_ranking(
        db, campaign_row(resolve_campaign(campaign, Path(), None)), make.CHECKPOINT
    )
    assert [item.item for item in ranking.queued] == queued


def test_the_cheaper_metal_is_chosen_where_prices_count(db: Database) -> None:
    prices = Prices(PriceTable(values={"Cu": 6.0, "Pt": 31500.0}))
    assert chosen(db, prices=prices) == ["Cu"]


def test_the_best_found_is_the_nearest_clean_label(db: Database) -> None:
    assert best_found(db, "mine", WINDOWS, {"Cu", "Pt"}) == {}
    verify(db, "Pt", 0.3)
    verify(db, "Cu", -0.2)
    assert best_found(db, "mine", WINDOWS, {"Cu", "Pt"}) == {"H": pytest.approx(0.2)}
    assert best_found(db, "mine", WINDOWS, {"Pt"}) == {"H": pytest.approx(0.3)}


def test_new_keys_that_say_the_default_leave_the_id_of_a_campaign_alone(tmp_path: Path) -> None:
    ids = []
    for triage in ("{budget: 1}", "{budget: 1, policy: batch, promising: 0.5}"):
        (tmp_path / "mine.yaml").write_text(FILE.replace("{budget: 1}", triage))
        ids.append(
            resolve_campaign(load_campaign(tmp_path / "mine.yaml"), tmp_path, None).config_sha256
        )
    assert ids[0] == ids[1]


def test_prices_decide_the_id_of_a_campaign(tmp_path: Path) -> None:
    stated = FILE.replace("{budget: 1}", "{budget: 1, prices: {table: own.yaml}}")
    (tmp_path / "mine.yaml").write_text(stated)
    ids = []
    for platinum in (30000, 40000):
        (tmp_path / "own.yaml").write_text(f"values: {{Cu: 6, Pt: {platinum}}}")
        ids.append(
            resolve_campaign(load_campaign(tmp_path / "mine.yaml"), tmp_path, None).config_sha256
        )
    assert ids[0] != ids[1]


def test_a_table_of_ones_own_is_recorded_whole(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("values: {Cu: 6, Pt: 30000}")
    stated = FILE.replace("{budget: 1}", "{budget: 1, prices: {table: own.yaml}}")
    resolved = resolve_campaign(parse_campaign(stated, tmp_path / "mine.yaml"), tmp_path, None)
    file.unlink()
    repeat = recorded_campaign(campaign_row(resolved))
    assert recorded_prices(repeat) == resolved.prices


def test_an_element_without_a_price_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("values: {Cu: 6, Ag: 500}")
    stated = FILE.replace("{budget: 1}", "{budget: 1, prices: {table: own.yaml}}")
    campaign = parse_campaign(stated, tmp_path / "mine.yaml")
    with pytest.raises(CampaignError, match=r"own\.yaml has no Pt; add them"):
        resolve_campaign(campaign, tmp_path, None)


def test_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    stated = FILE.replace("{budget: 1}", "{budget: 1, prices: {table: own.yaml}}")
    with pytest.raises(UserError, match=r"own\.yaml does not exist"):
        resolve_campaign(parse_campaign(stated, tmp_path / "mine.yaml"), tmp_path, None)
