"""A fine-tuning is started when enough labels are new, once."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows.deployment import label_trigger
from flows.deployment.hooks import REFUSED
from flows.learning import start as learn_start
from screening_db.learning.labels import NewLabels


class Asked:
    """Notes which runs are asked for; equal keys are one run, as on a server."""

    def __init__(self) -> None:
        self.runs: dict[str, str] = {}

    def __call__(self, name: str, *, idempotency_key: str, **_: Any) -> SimpleNamespace:
        self.runs[idempotency_key] = name
        return SimpleNamespace(name="fine-tune tiny")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    found = Asked()
    database = SimpleNamespace(close=lambda: None)
    monkeypatch.setattr(label_trigger, "open_database", lambda *_, **__: database)
    monkeypatch.setattr(label_trigger, "find_campaign", lambda *_: None)
    monkeypatch.setattr(label_trigger, "run_deployment", found)
    return found


def look(
    monkeypatch: pytest.MonkeyPatch,
    labels: NewLabels,
    last: SimpleNamespace | None = None,
    after: int = 3,
) -> str:
    """Count once, with so many labels; what is new since the last fine-tuning is asked for."""

    def counted(_: Any, __: str, since: float | None) -> NewLabels:
        assert since == (last.started_at if last else None)
        return labels

    monkeypatch.setattr(label_trigger, "new_labels", counted)
    monkeypatch.setattr(label_trigger, "fine_tunings", lambda *_, **__: [last] if last else [])
    return label_trigger.start_when_due("x.db", "tiny", after=after, start="fine-tune/tiny")


def test_too_few_labels_start_nothing(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    assert look(monkeypatch, NewLabels(2, 1.0)) == "2 new labels, 3 start a fine-tuning"
    assert asked.runs == {}


def test_enough_labels_start_it_once(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        assert look(monkeypatch, NewLabels(3, 1.0)).endswith("fine-tune tiny")
    assert list(asked.runs.values()) == ["fine-tune/tiny"]


def test_another_label_tries_again_what_failed(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    look(monkeypatch, NewLabels(3, 1.0))
    look(monkeypatch, NewLabels(4, 2.0))
    assert len(asked.runs) == 2


def test_the_next_one_counts_from_the_last(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    look(monkeypatch, NewLabels(3, 1.0))
    look(monkeypatch, NewLabels(3, 9.0), last=SimpleNamespace(id="first one", started_at=5.0))
    assert len(asked.runs) == 2


def test_a_refusal_completes_the_run_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from flows.deployment import flows as deployed

    (tmp_path / "tiny.yaml").write_text(
        "name: tiny\nlevel: emt\nbulks: {elements: [Cu]}\nadsorbates: [O]\n"
        "target: {O: {window: [-1, 0]}}\n"
    )
    no = SimpleNamespace(verdict=SimpleNamespace(reasons=("worse overall",)))
    monkeypatch.setattr(learn_start, "start_fine_tuning", lambda *_: no)
    monkeypatch.setattr(deployed, "label_summary", lambda *_: "")
    ended = deployed.fine_tune_campaign.fn(tmp_path / "tiny.yaml", "tiny")
    assert ended.is_completed()
    assert (ended.name, ended.message) == (REFUSED, "the gate refused: worse overall")
    with pytest.raises(Exception, match="was deployed as campaign other"):
        deployed.fine_tune_campaign.fn(tmp_path / "tiny.yaml", "other")
