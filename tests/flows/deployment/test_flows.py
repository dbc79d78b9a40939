"""A fine-tuning is started when enough labels are new, once."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import stored_rows as make

from flows.deployment import flows
from flows.deployment.webhook import REFUSED
from flows.errors import CampaignError
from flows.learning import start
from screening_db.database.engine import Database, open_database
from screening_db.learning.fine_tunings import FineTuningSpec, record_fine_tuning
from screening_db.queue.enqueue import enqueue
from screening_db.queue.queue import claim, complete

TUNING = FineTuningSpec("first", "mini", make.CHECKPOINT, "rows", "emt", "heads, seed 0")


class PrefectRuns:
    """The runs that a server starts: equal keys are one run."""

    def __init__(self) -> None:
        self.deployments: dict[str, str] = {}

    def __call__(self, name: str, *, idempotency_key: str, **_: Any) -> SimpleNamespace:
        self.deployments[idempotency_key] = name
        return SimpleNamespace(name="fine-tune tiny")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> PrefectRuns:
    started = PrefectRuns()
    monkeypatch.setattr(flows, "run_deployment", started)
    return started


@pytest.fixture
def db(tmp_path: Path) -> Database:
    """Give a database with a campaign of six placements, two of which are verified."""
    database = open_database(tmp_path / "screening.db")
    make.fill(database)
    make.store(database, [f"a{number}" for number in range(6)])
    verify(database, "a0", "a1")
    return database


def verify(db: Database, *ids: str) -> None:
    enqueue(db, [make.queue_row(i) for i in ids])
    for lease in claim(db, "emt", batch=len(ids), lease_s=60):
        complete(db, lease, make.label(lease.item))


def count(db: Database, after: int = 3) -> str:
    return flows.start_when_due(db.address, "first", after=after, start="fine-tune/first")


def test_too_few_labels_start_nothing(runs: PrefectRuns, db: Database) -> None:
    assert count(db) == "2 new labels, 3 start a fine-tuning"
    assert runs.deployments == {}


def test_enough_labels_start_it_once(runs: PrefectRuns, db: Database) -> None:
    verify(db, "a2")
    for _ in range(3):
        assert count(db) == "3 new labels, 3 start a fine-tuning: fine-tune tiny"
    assert list(runs.deployments.values()) == ["fine-tune/first"]


def test_another_label_starts_it_again_after_a_failure(runs: PrefectRuns, db: Database) -> None:
    verify(db, "a2")
    count(db)
    verify(db, "a3")
    count(db)
    assert len(runs.deployments) == 2


def test_the_next_one_counts_from_the_last(runs: PrefectRuns, db: Database) -> None:
    record_fine_tuning(db, TUNING, n_labels=2)
    verify(db, "a2")
    assert count(db, after=2) == "1 new labels, 2 start a fine-tuning"
    verify(db, "a3")
    assert count(db, after=2).startswith("2 new labels")
    assert len(runs.deployments) == 1


@pytest.fixture
def campaign_file(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.yaml"
    file.write_text(
        "name: tiny\nlevel: emt\nbulks: {elements: [Cu]}\nadsorbates: [O]\n"
        "target: {O: {window: [-1, 0]}}\ndatabase: of-file.db\n"
    )
    return file


def test_a_refusal_completes_the_run_and_says_so(
    monkeypatch: pytest.MonkeyPatch, campaign_file: Path
) -> None:
    no = SimpleNamespace(verdict=SimpleNamespace(reasons=("worse overall",)))
    monkeypatch.setattr(start, "start_fine_tuning", lambda *_, **__: no)
    monkeypatch.setattr(flows, "label_summary", lambda *_: "")
    ended = flows.fine_tune_campaign.fn(campaign_file, "tiny")
    assert ended.is_completed()
    assert (ended.name, ended.message) == (REFUSED, "the gate refused: worse overall")
    with pytest.raises(CampaignError, match="was deployed as campaign other"):
        flows.fine_tune_campaign.fn(campaign_file, "other")


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return what verifications and fine-tunings are given: the option, and what the file says."""
    given: list[Any] = []
    monkeypatch.setenv("SABATIER_DATABASE", "postgresql://me:hunter2@host/x")
    monkeypatch.setattr(flows, "label_summary", lambda *_: "")
    monkeypatch.setattr(flows, "start_verification", lambda *each: given.append(each[-2:]))
    tuned = SimpleNamespace(verdict=None)
    monkeypatch.setattr(
        start,
        "start_fine_tuning",
        lambda _, database, stated: given.append((database, stated)) or tuned,
    )
    return given


def test_a_deployed_verification_hands_on_the_option_and_not_the_settings(
    given: list[Any], campaign_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows, "concurrency", lambda _: nullcontext())
    flows.verify_campaign.fn(campaign_file, "tiny")
    flows.verify_campaign.fn(campaign_file, "tiny", "of-option.db")
    assert given == [(None, "of-file.db"), ("of-option.db", "of-file.db")]


def test_a_deployed_fine_tuning_hands_on_the_option_and_not_the_settings(
    given: list[Any], campaign_file: Path
) -> None:
    flows.fine_tune_campaign.fn(campaign_file, "tiny")
    assert given == [(None, "of-file.db")]


def test_a_run_is_given_no_password(campaign_file: Path) -> None:
    with pytest.raises(CampaignError, match="a database without its password") as refused:
        flows.screen_campaign.fn(campaign_file, "tiny", "postgresql://me:hunter2@host/x")
    assert "hunter2" not in str(refused.value)
