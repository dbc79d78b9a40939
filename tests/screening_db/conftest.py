"""Each test of the database runs on SQLite and on PostgreSQL."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from screening_db.engine import Database, open_database
from screening_db.record import (
    record_adsorbates,
    record_bulks,
    record_campaign,
    record_checkpoint,
    record_chunk,
    record_level,
    record_slabs,
)
from screening_db.tables import (
    AdsorbateRow,
    BulkRow,
    CampaignItemRow,
    CampaignRow,
    CandidateRow,
    CheckpointRow,
    LevelOfTheoryRow,
    PredictionRow,
    RankRow,
    SlabRow,
)
from screening_db.verification_tables import LabelRow, QueueRow

CHECKPOINT = "c" * 64


class Make:
    """Builds rows that fit those that the fixture ``db`` stored, and stores chunks of them."""

    @staticmethod
    def campaign(name: str = "first", **changed: object) -> CampaignRow:
        values: dict[str, object] = {
            "name": name,
            "config_sha256": "1" * 64,
            "config": "seed: 1\n",
            "level": "emt",
            "checkpoint_sha256": CHECKPOINT,
            "seed": 1,
        }
        return CampaignRow(**values | changed)

    @staticmethod
    def candidate(candidate_id: str, pair_id: str = "pair", slab_id: str = "slab") -> CandidateRow:
        return CandidateRow(
            id=candidate_id,
            pair_id=pair_id,
            slab_id=slab_id,
            adsorbate="OH",
            site_kind="bridge",
            site="bridge Cu-Pt",
            recipe={"atoms": [4, 7], "rotation_deg": 90.0},
        )

    @staticmethod
    def prediction(
        candidate_id: str, energy_ev: float = -0.5, sigma_ev: float = 0.1
    ) -> PredictionRow:
        return PredictionRow(
            candidate_id=candidate_id,
            checkpoint_sha256=CHECKPOINT,
            level="emt",
            energy_ev=energy_ev,
            sigma_ev=sigma_ev,
            regression_ev=energy_ev,
            token_ev=None,
            in_domain=True,
        )

    @staticmethod
    def predicted(candidate_id: str, campaign: str = "first") -> CampaignItemRow:
        return CampaignItemRow(
            campaign=campaign, stage="placement", item_id=candidate_id, state="predicted"
        )

    @staticmethod
    def label(candidate_id: str, energy_ev: float = -0.4, *, trainable: bool = True) -> LabelRow:
        return LabelRow(
            candidate_id=candidate_id,
            level="emt",
            energy_ev=energy_ev,
            e_adslab=-10.0,
            e_slab=-9.0,
            e_references={"H2": -6.9, "H2O": -12.8},
            converged=True,
            flags=[] if trainable else ["desorbed"],
            steps=12,
            fmax=0.03,
            structure="{}",
            trainable=trainable,
        )

    @staticmethod
    def rank(
        candidate_id: str, place: int, pair_id: str | None = None, campaign: str = "first"
    ) -> RankRow:
        return RankRow(
            campaign=campaign,
            rank=place,
            rank_group=1,
            pair_id=pair_id or f"pair-{candidate_id[0]}",
            candidate_id=candidate_id,
            adsorbate="OH",
            energy_ev=-0.5,
            sigma_ev=0.1,
            probability=0.9,
        )

    @staticmethod
    def queue_row(candidate_id: str, campaign: str = "first") -> QueueRow:
        return QueueRow(
            candidate_id=candidate_id, level="emt", campaign=campaign, priority=1.0, why="uncertain"
        )

    @staticmethod
    def store(
        db: Database,
        ids: Sequence[str],
        chunk: str = "chunk",
        campaign: str = "first",
        energy_ev: float = -0.5,
    ) -> None:
        """Store a chunk; a letter names the pair, and each number lies 0.1 eV lower."""
        record_chunk(
            db,
            campaign,
            chunk,
            [Make.candidate(i, pair_id=f"pair-{i[0]}") for i in ids],
            [Make.prediction(i, energy_ev - 0.1 * int(i[1:])) for i in ids],
            [Make.predicted(i, campaign) for i in ids],
        )


def fill_database(db: Database, campaign: str = "first") -> None:
    """Store one bulk, slab, adsorbate, level, checkpoint and campaign."""
    record_bulks(db, [BulkRow(id="bulk", formula="CuPt", source="L1_0", structure="{}")])
    slab = SlabRow(
        id="slab",
        bulk_id="bulk",
        miller_h=1,
        miller_k=-1,
        miller_l=0,
        shift=0.25,
        side="top",
        n_atoms=12,
        elements=["Cu", "Pt"],
        structure="{}",
    )
    record_slabs(db, [slab])
    oh = AdsorbateRow(name="OH", formula="OH", structure="{}", binding=[0])
    record_adsorbates(db, [oh])
    level = LevelOfTheoryRow(
        name="emt", level_hash="e" * 64, engine="EMT", functional="", settings={}, reference={}
    )
    record_level(db, level)
    record_checkpoint(db, CheckpointRow(sha256=CHECKPOINT, name="mini", kind="qe", card={}))
    record_campaign(db, Make.campaign(campaign))


@pytest.fixture
def make() -> type[Make]:
    """Give the builders of rows; test modules cannot import a conftest."""
    return Make


@pytest.fixture
def fill() -> Callable[..., None]:
    """Give the function that stores what the fixture ``db`` begins with."""
    return fill_database


@pytest.fixture(params=["sqlite", "postgresql"])
def database_place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the path or URL of a database that is not there yet or is empty."""
    if request.param == "sqlite":
        return str(tmp_path / "screening.db")
    return str(request.getfixturevalue("empty_postgres"))


@pytest.fixture
def empty_postgres(postgres_server: str) -> str:
    """Give the URL of a database without tables; a new schema costs less than a new database."""
    import psycopg

    url = f"{postgres_server}/postgres"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        admin.execute("DROP SCHEMA public CASCADE")
        admin.execute("CREATE SCHEMA public")
    return url


@pytest.fixture
def db(database_place: str) -> Iterator[Database]:
    """Give a database with one campaign that has found nothing yet."""
    database = open_database(database_place)
    fill_database(database)
    yield database
    database.close()
