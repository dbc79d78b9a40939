"""Tries of one item on a worker: what one leaves, the next goes on from, and people are shown."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.io import read
from support.enumeration.crystals import metal_slab
from support.paths import PYTHONPATH
from support.processes import wait_until
from support.stored_rows import new_database

from flows.display import queue
from flows.records.to_rows import adsorbate_row, label_row, level_row
from flows.verification.attempts import stored_geometry
from flows.verification.executor import AdslabInputs, WorkItem, WorkResult
from flows.verification.step_events import StepListener
from flows.verification.worker import compute_work_item
from screening_db.calculations.attempts import Provenance, StoredGeometry, attempts_of
from screening_db.calculations.steps import (
    ReportedStep,
    Step,
    record_reported_steps,
    running_steps,
    steps_of,
)
from screening_db.database.engine import Database
from screening_db.queries.labels import find_label
from screening_db.queue.enqueue import enqueue
from screening_db.queue.lease import Lease
from screening_db.queue.queue import claim, complete, fail
from screening_db.queue.view import queue_items
from screening_db.records.campaigns import record_campaign
from screening_db.records.screening import (
    record_adsorbates,
    record_bulks,
    record_checkpoint,
    record_chunk,
    record_level,
    record_slabs,
)
from screening_db.tables.screening import (
    BulkRow,
    CampaignRow,
    CandidateRow,
    CheckpointRow,
    SlabRow,
)
from screening_db.tables.verification import QueueRow
from tasks.enumeration import adsorbate
from tasks.levels import LevelOfTheory, level
from tasks.structures.formats import structure_text
from tasks.structures.identity import candidate_ids, slab_id
from tasks.verification.engines import EngineLocation, FailureKind
from tasks.verification.inputs.resources import Resources
from tasks.verification.labels.checks import Flag
from tasks.verification.labels.energies import EnergyKey
from tasks.verification.labels.verify import VerifiedEnergy
from tasks.verification.relaxation.work_folder import remove_work_folder

LEVEL = level("emt")
SAME_EV = 1e-8  # EMT's neighbour list depends on its past
Known = dict[EnergyKey, float]
NITROGEN = adsorbate("N")


def slab() -> Atoms:
    return metal_slab(held=8)


def adslab() -> Atoms:
    """Return nitrogen over a bridge, from where it goes to a hollow."""
    atoms = slab()
    atoms += Atoms("N", positions=[atoms.positions[8] + [1.276, 0.25, 1.3]])
    atoms.set_tags([0] * 8 + [1] * 4 + [2])
    return atoms


SLAB_ID = slab_id(slab())
(CANDIDATE,) = candidate_ids(
    SLAB_ID, "N", adslab().numbers[12:], adslab().get_scaled_positions(wrap=False)[None, 12:]
)


@pytest.fixture
def db(tmp_path: Path) -> Database:
    """Give a database with one adslab in the queue."""
    db = new_database(tmp_path / "screening.db")
    record_bulks(db, [BulkRow(id="bulk", formula="Cu", source="fcc", structure="{}")])
    plane = {"miller_h": 1, "miller_k": 1, "miller_l": 1, "shift": 0.0, "side": "top"}
    stored = {"n_atoms": 12, "elements": ["Cu"], "structure": structure_text(slab())}
    record_slabs(db, [SlabRow(id=SLAB_ID, bulk_id="bulk", **plane, **stored)])
    record_adsorbates(db, [adsorbate_row(NITROGEN)])
    record_level(db, level_row(LEVEL))
    record_checkpoint(db, CheckpointRow(sha256="c" * 64, name="mini", kind="qe", card={}))
    run = {"config_sha256": "1" * 64, "config": "", "checkpoint_sha256": "c" * 64, "seed": 1}
    record_campaign(db, CampaignRow(name="tiny", level="emt", **run))
    placed = {"adsorbate": "N", "site_kind": "bridge", "site": "bridge Cu-Cu", "recipe": {}}
    text = structure_text(adslab())
    row = CandidateRow(id=CANDIDATE, pair_id="p", slab_id=SLAB_ID, structure=text, **placed)
    record_chunk(db, "tiny", "one", [row], [], [])
    columns = {"level": "emt", "campaign": "tiny", "why": "promising", "priority": 1.0}
    enqueue(db, [QueueRow(candidate_id=CANDIDATE, **columns)])
    return db


def lease_of(db: Database, lease_s: float = 600.0) -> Lease:
    (lease,) = claim(db, "emt", batch=1, lease_s=lease_s)
    return lease


def tried(
    lease: Lease,
    work: Path,
    settled: LevelOfTheory = LEVEL,
    known: Known | None = None,
    last: StoredGeometry | None = None,
) -> tuple[WorkResult, Known]:
    """Return what a worker makes of a lease, and the reference energies that it computed."""
    inputs = AdslabInputs(structure_text(adslab()), structure_text(slab()), SLAB_ID, NITROGEN)
    locations = {"emt": EngineLocation(work=str(work))}
    resources = Resources(ranks=1, threads=1, memory_gb=1, wall_s=60)
    item = WorkItem(lease, inputs, settled, locations, resources, known or {}, last)
    result = compute_work_item(item)
    return result, dict(result.reference_energies)


def provenance_of(outcome: WorkResult) -> Provenance:
    assert outcome.provenance is not None
    return outcome.provenance


def energy_of(outcome: WorkResult) -> float:
    assert outcome.verified is not None
    return outcome.verified.energy_ev


def hasty() -> LevelOfTheory:
    """Return the level with so little time that each try makes one step."""
    stated = LEVEL.require_calculation()
    relaxation = replace(stated.relaxation, wall_limit_s=1e-9)
    return replace(LEVEL, calculation=replace(stated, relaxation=relaxation))


def stopped_after(db: Database, work: Path, count: int, known: Known) -> None:
    """Let so many tries end at the wall limit, each a step further."""
    for number in range(count):
        outcome, _ = tried(lease_of(db), work, hasty(), known)
        assert outcome.failure is FailureKind.WALL_LIMIT
        assert [step.step for step in provenance_of(outcome).steps] == [number]
        fail(db, outcome.lease, "wall_limit", outcome.message, provenance_of(outcome))


def test_tries_that_end_at_the_wall_limit_go_on_to_the_same_energy(
    db: Database, tmp_path: Path
) -> None:
    whole, known = tried(Lease(**unrecorded()), tmp_path / "whole")
    stopped_after(db, tmp_path / "here", 4, known)
    lease = lease_of(db)
    assert lease.resumes
    done, _ = tried(lease, tmp_path / "here", LEVEL, known, stored_geometry(db, lease))
    assert energy_of(done) == pytest.approx(energy_of(whole), abs=SAME_EV)
    assert provenance_of(done).note == "rung1 goes on after step 3"
    assert provenance_of(done).steps[0].step == 4


def test_on_another_machine_the_next_try_begins_at_the_stored_geometry(
    db: Database, tmp_path: Path
) -> None:
    whole, known = tried(Lease(**unrecorded()), tmp_path / "whole")
    stopped_after(db, tmp_path / "here", 4, known)
    lease = lease_of(db)
    last = stored_geometry(db, lease)
    assert last is not None
    assert last.attempt == 4
    assert last.first_fmax == provenance_of(whole).steps[0].fmax
    done, _ = tried(lease, tmp_path / "elsewhere", LEVEL, known, last)
    assert energy_of(done) == pytest.approx(energy_of(whole), abs=5e-3)
    assert provenance_of(done).note == "begun at the last geometry of try 4"
    assert len(provenance_of(done).steps) < len(provenance_of(whole).steps)
    assert done.verified is not None
    assert done.verified.initial_fmax_ev_ang == last.first_fmax


def unrecorded() -> dict[str, Any]:
    values = {"item": CANDIDATE, "level": "emt", "kind": "adslab", "campaign": "tiny"}
    numbers = {"priority": 1.0, "why": "promising", "attempt": 1, "memory_class": 0}
    return {
        **values,
        **numbers,
        "structure_sha256": "",
        "last_failure": "",
        "failures": {},
        "token": "t",
    }


CHILD = """
import sys, time
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from ase.calculators.emt import EMT
from flows.verification import step_events
from screening_db.database.engine import open_database
from tasks.verification.engines.potentials import emt
import test_attempts as here

class Slow(EMT):
    def calculate(self, *args, **kwargs):
        time.sleep(0.05)
        super().calculate(*args, **kwargs)

emt.EMT, step_events.REPORT_INTERVAL_S = Slow, 0.0
here.tried(here.lease_of(open_database(sys.argv[1]), lease_s=4.0), Path(sys.argv[2]))
"""


@pytest.mark.medium
def test_a_worker_that_is_killed_loses_one_step_at_most(db: Database, tmp_path: Path) -> None:
    whole, known = tried(Lease(**unrecorded()), tmp_path / "whole")
    work = tmp_path / "here"
    listener = StepListener(db, str(work))
    arguments = (db.address, str(work), str(Path(__file__).parent))
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments],
        env=os.environ | {"PYTHONPATH": PYTHONPATH},
    )
    try:
        assert wait_until(lambda: _last_step(db, listener) >= 3 or child.poll() is not None)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    _last_step(db, listener)
    (lost,) = attempts_of(db, CANDIDATE, "emt")
    seen = steps_of(db, (CANDIDATE, "emt", lost.token))
    assert lost.structure_out  # another machine could go on from there
    again = _again(db)
    done, _ = tried(again, work, LEVEL, known, stored_geometry(db, again))
    assert energy_of(done) == pytest.approx(energy_of(whole), abs=SAME_EV)
    assert provenance_of(done).steps[0].step >= len(seen)
    assert len(seen) + len(provenance_of(done).steps) >= len(provenance_of(whole).steps) - 1
    assert complete(db, again, label_row(db, again, _verified(done)), provenance_of(done))
    first, second = attempts_of(db, CANDIDATE, "emt")
    assert (first.state, first.error_class, second.state) == ("failed", "run_stopped", "converged")
    assert "goes on after step" in second.note


def _last_step(db: Database, listener: StepListener) -> int:
    listener.store()
    last = running_steps(db).get((CANDIDATE, "emt"))
    return -1 if last is None else last.step


def _again(db: Database) -> Lease:
    """Return the item once its lease has run out."""
    leases: list[Lease] = []

    def claimed() -> bool:
        leases.extend(claim(db, "emt", batch=1, lease_s=600.0))
        return bool(leases)

    assert wait_until(claimed)
    return leases[0]


def _verified(outcome: WorkResult) -> VerifiedEnergy:
    assert outcome.verified is not None
    return outcome.verified


def test_a_label_tells_where_the_adsorbate_ended_and_a_person_is_shown_all(
    db: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome, _ = tried(lease_of(db), tmp_path / "work")
    assert complete(
        db, outcome.lease, label_row(db, outcome.lease, _verified(outcome)), provenance_of(outcome)
    )
    remove_work_folder(outcome.work_folder)
    assert not Path(outcome.work_folder).exists()
    row = find_label(db, CANDIDATE, "emt")
    assert row is not None
    assert (row.site_before, row.site_after) == ("bridge Cu-Cu", "hollow Cu-Cu-Cu")
    assert row.migrated
    assert row.relaxed_text.startswith("N</s>Cu (1 1 1)</s>[N Cu Cu Cu hollow ")
    assert row.level_hash == LEVEL.level_hash
    (item,) = queue_items(db)
    queue.show_queue_item(db, item)
    said = capsys.readouterr().out
    assert "hollow Cu-Cu-Cu, begun on bridge Cu-Cu" in said
    assert row.relaxed_text in said
    assert "rung1.extxyz" in said
    shown = [line for line in said.splitlines() if line.startswith("  step ")]
    assert len(shown) == row.steps + 1
    assert f"{row.e_adslab:.6f} eV" in shown[-1]
    queue.write_attempts(db, item, tmp_path / "out")
    (folder,) = (tmp_path / "out").iterdir()
    assert len(read(folder / "rung1.extxyz", ":")) == row.steps + 1


def test_the_numbers_of_flags_are_stored_with_their_limits(db: Database, tmp_path: Path) -> None:
    outcome, _ = tried(lease_of(db), tmp_path)
    flags = (Flag("desorbed", 1.7, 1.5), Flag("not_reproducible", float("inf"), 0.05))
    flagged = replace(_verified(outcome), flags=flags, two_start_ev=float("inf"))
    row = label_row(db, outcome.lease, flagged)
    assert row.flag_numbers == {"desorbed": [1.7, 1.5], "not_reproducible": [None, 0.05]}
    assert row.two_start_ev is None
    assert not row.trainable
    assert complete(db, outcome.lease, row, provenance_of(outcome))


def test_a_running_relaxation_is_seen_in_the_list(
    db: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    lease = lease_of(db)
    record_reported_steps(db, [ReportedStep(*lease.key, Step(7, -3.0, 0.125, 0.0), "{}")])
    queue.show_queue("tiny", queue_items(db), 5, running_steps(db))
    said = capsys.readouterr().out
    assert "leased, step 7" in said  # the rest may stand on the next line
    assert "0.12" in said
