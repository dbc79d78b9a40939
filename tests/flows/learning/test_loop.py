"""A loop spends its budget round by round, goes on after a kill, and says why it ends."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from support import stored_rows as make
from support.stored_rows import new_database

from flows.errors import CampaignError
from flows.learning.fine_tuning import FineTuningResult
from flows.learning.loop import Loop
from flows.learning.start import start_loop
from model.fine_tuning.gate import GateVerdict
from screening_db.database.engine import Database
from screening_db.database.lock import campaign_lock
from screening_db.errors import DatabaseError
from screening_db.learning.rounds import rounds
from screening_db.queue.enqueue import enqueue
from screening_db.queue.queue import claim, complete, fail
from screening_db.records.ranking import record_triage
from screening_db.records.screening import record_chunk
from screening_db.tables.learning import RoundRow
from tasks.acquisition.rank import Window

IDS = [f"c{number:02d}" for number in range(12)]
PREDICTED_EV, LABEL_EV = -0.5, -0.3
FILE = """\
name: mine
bulks: {elements: [Cu]}
adsorbates: [H]
target:
  H: {window: [-0.5, 0.5]}
level: emt
triage: {budget: 4}
"""


class KilledError(Exception):
    pass


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """Give a finished campaign of twelve candidates, four of them queued."""
    made = new_database(tmp_path / "loop.db")
    make.record(made, make.bulk(), make.slab(), make.adsorbate("H"), make.level())
    make.record(made, make.checkpoint("first"), make.checkpoint("second"))
    make.record(made, make.campaign("mine", checkpoint_sha256="first"))
    candidates = [make.candidate(i, f"pair-{i}", adsorbate="H") for i in IDS]
    predictions = [make.prediction(i, PREDICTED_EV, 0.05, checkpoint_sha256="first") for i in IDS]
    items = [make.placement(i, "mine") for i in IDS]
    record_chunk(made, "mine", "chunk", candidates, predictions, items)
    queue(made, IDS[:4])
    yield made
    made.close()


def queue(db: Database, names: list[str]) -> None:
    enqueue(db, [make.queue_row(n, "mine", why="promising") for n in names])
    record_triage(db, "mine", queued=names, kept=[])


@dataclass
class Parts:
    """Parts that take no time; ``learnt`` is what each round's fine-tuning comes to, in turn."""

    db: Database
    learnt: list[FineTuningResult] = field(default_factory=list)
    breaks: bool = False  # whether every calculation fails
    killed_in: str = ""  # the part in which the process ends, once
    label_ev: float = LABEL_EV
    verified: list[int] = field(default_factory=list)

    def verify(self, limit: int) -> None:
        self.verified.append(limit)
        self._may_die("verify")
        if limit < 1:
            return
        leases = claim(self.db, "emt", batch=limit, lease_s=60, campaign="mine")
        for lease in leases:
            if self.breaks:
                fail(self.db, lease, "bad_input", "the engine prints nonsense")
            else:
                complete(self.db, lease, make.label(lease.item, self.label_ev))

    def fine_tune(self) -> FineTuningResult:
        self._may_die("learn")
        return (
            self.learnt.pop(0)
            if self.learnt
            else FineTuningResult("first", 4, why="too few labels")
        )

    def rerank(self, calculations: int) -> None:
        self._may_die("rank_again")
        done = 4 * (len([r for r in rounds(self.db, "mine") if r.state == "finished"]) + 1)
        queue(self.db, IDS[done : done + calculations])

    def _may_die(self, part: str) -> None:
        if self.killed_in == part:
            self.killed_in = ""
            raise KilledError(part)


def verdict(*, accepted: bool) -> GateVerdict:
    errors = {"mae_before_ev": 0.2, "mae_after_ev": 0.1 if accepted else 0.4}
    numbers = {
        "errors": {"labels": errors},
        "coverage_90": {"labels": {"before": 0.5, "after": 0.9}},
    }
    return GateVerdict(accepted, () if accepted else ("it is worse",), numbers)


def loop(db: Database, *, rounds: int = 3, budget: int = 100, patience: int = 2) -> Loop:
    on_round_end: list[RoundRow] = []
    return Loop(
        db=db,
        campaign="mine",
        windows={"H": Window(-0.35, 0.0)},
        rounds=rounds,
        budget=budget,
        per_round=4,
        patience=patience,
        on_round_end=on_round_end.append,
    )


def test_each_round_is_reported_with_its_costs_hits_and_errors(db: Database) -> None:
    parts = Parts(db, [FineTuningResult("second", 4, "heads", verdict(accepted=True))])
    assert loop(db, rounds=2).run(parts) == "2 rounds are done"
    first, second = rounds(db, "mine")
    assert (first.converged, first.labels, first.found, first.verdict) == (4, 4, 4, "accepted")
    assert (first.mae_new_ev, first.coverage_new) == (pytest.approx(0.2), 0.0)
    assert (first.mae_before_ev, first.mae_after_ev) == (0.2, 0.1)
    assert (first.coverage_before, first.coverage_after) == (0.5, 0.9)
    assert first.checkpoint_after == "second"
    assert (second.labels, second.verdict, second.note) == (8, "", "too few labels")
    assert (first.stopped, second.stopped) == ("", "2 rounds are done")


def test_the_same_command_again_adds_nothing_and_more_rounds_go_on(db: Database) -> None:
    parts = Parts(db)
    loop(db, rounds=1).run(parts)
    assert loop(db, rounds=1).run(parts) == "1 rounds are done"
    assert parts.verified == [4]
    loop(db, rounds=2).run(parts)
    assert parts.verified == [4, 4]


@pytest.mark.parametrize("part", ["verify", "learn", "rank_again"])
def test_a_loop_that_was_killed_ends_as_if_it_had_not_been(db: Database, part: str) -> None:
    parts = Parts(
        db, [FineTuningResult("first", 4, "heads", verdict(accepted=False))], killed_in=part
    )
    with pytest.raises(KilledError):
        loop(db, rounds=1).run(parts)
    loop(db, rounds=1).run(parts)
    (row,) = rounds(db, "mine")
    assert (row.state, row.converged, row.labels) == ("finished", 4, 4)
    assert row.mae_new_ev == pytest.approx(0.2)
    if part != "rank_again":  # there the fake has no verdict left; the real one keeps it
        assert row.verdict == "rejected"


def test_a_budget_is_never_overspent(db: Database) -> None:
    parts = Parts(db)
    assert loop(db, budget=6).run(parts) == "the budget is spent"
    assert parts.verified == [4, 2]
    assert [row.spent for row in rounds(db, "mine")] == [4.0, 2.0]


def test_what_a_relaxing_stage_computed_is_no_calculation_of_a_round(db: Database) -> None:
    make.record(db, make.level("potential", "f" * 64))
    enqueue(db, [make.queue_row(n, "mine", level="potential", why="promising") for n in IDS[:4]])
    for lease in claim(db, "potential", batch=4, lease_s=60, campaign="mine"):
        complete(db, lease, replace(make.label(lease.item, -9.0), level="potential"))
    parts = Parts(db)
    loop(db, rounds=1).run(parts)
    (row,) = rounds(db, "mine")
    assert parts.verified == [4]
    assert (row.converged, row.spent, row.labels) == (4, 4.0, 4)
    assert row.mae_new_ev == pytest.approx(0.2)


def test_an_engine_that_always_fails_stops_the_loop_and_loses_nothing(db: Database) -> None:
    parts = Parts(db, breaks=True)
    assert loop(db).run(parts) == "all 4 calculations of the round failed"
    (row,) = rounds(db, "mine")
    assert (row.failed, row.labels) == (4, 0)


def test_rounds_that_find_and_teach_nothing_are_converged(db: Database) -> None:
    rejected = [FineTuningResult("first", 4, "heads", verdict(accepted=False)) for _ in range(3)]
    parts = Parts(db, rejected, label_ev=0.4)
    assert loop(db).run(parts) == "converged: 2 rounds found nothing and taught nothing"


def test_a_loop_needs_a_budget(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(FILE)
    with pytest.raises(CampaignError, match="at least 1 calculation, got a budget of 0"):
        start_loop(file, rounds=3, budget=0, database=str(tmp_path / "none.db"))


def test_a_second_loop_on_one_campaign_is_refused(tmp_path: Path, db: Database) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(FILE)
    with campaign_lock(db, "mine"), pytest.raises(DatabaseError, match="by another process"):
        start_loop(file, rounds=3, budget=1, database=str(tmp_path / "loop.db"))
