"""What a worker keeps of one try: where it goes on from, whom it tells, what it leaves."""

from collections.abc import Sequence
from dataclasses import replace

from flows.verification.step_events import StepReporter
from screening_db.calculations.attempts import (
    Provenance,
    StoredGeometry,
    last_geometry,
    pack_files,
    sha256_of,
)
from screening_db.calculations.steps import Step
from screening_db.database.engine import Database
from screening_db.queue.lease import Lease
from tasks.structures.json_text import structure_from_text, structure_text
from tasks.verification.relaxation.checkpoint import RelaxationFrame
from tasks.verification.relaxation.logbook import LastGeometry, Logbook


def stored_geometry(db: Database, lease: Lease) -> StoredGeometry | None:
    """Return where an earlier try of a leased item was stopped, if this one goes on from there."""
    return last_geometry(db, lease.item, lease.level) if lease.resumes else None


def logbook(
    lease: Lease,
    level_hash: str,
    texts: Sequence[str],
    last: StoredGeometry | None,
    reporter: StepReporter,
) -> Logbook:
    """Return the logbook of a try; ``texts`` are the structures that go in."""
    key = sha256_of(lease.item, level_hash, *texts)[:16]
    book = Logbook(
        item=lease.item,
        folder=f"{lease.kind}-{_plain(lease.item)}-{key}",
        attempt=lease.attempt,
        last=None if last is None else _read(last),
    )
    book.watch = lambda frame: reporter.report(_step(frame), lambda: _structure(book))
    return book


def with_logbook(provenance: Provenance, book: Logbook) -> Provenance:
    """Return what is told of a try with all that its logbook holds.

    The structure that came out is the last geometry where there is no other.
    """
    start = "" if book.start is None else structure_text(book.start)
    return replace(
        provenance,
        versions={**provenance.versions, **book.versions},
        structure_in=provenance.structure_in or start,
        structure_out=provenance.structure_out or _structure(book),
        files=pack_files(book.files),
        steps=tuple(_step(frame) for frame in book.frames),
        rungs=tuple(book.rungs) or provenance.rungs,  # else a reference failed that it needs
        note="; ".join(book.notes),
    )


def _structure(book: Logbook) -> str:
    return "" if book.atoms is None else structure_text(book.atoms)


def _read(last: StoredGeometry) -> LastGeometry:
    return LastGeometry(structure_from_text(last.structure), last.attempt, last.first_fmax)


def _step(frame: RelaxationFrame) -> Step:
    return Step(frame.step, frame.energy_ev, frame.fmax_ev_ang, frame.at)


def _plain(item: str) -> str:
    """Return the beginning of an id, or a molecule, as part of a folder's name."""
    return "".join(c if c.isalnum() else "_" for c in item[:12])
