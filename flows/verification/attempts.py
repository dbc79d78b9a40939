"""One attempt at a work item on a worker: the state it resumes from, and the record it leaves."""

import platform
import socket
import time
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

from flows.verification.executor import WorkItem, WorkResult
from flows.verification.step_events import StepReporter
from screening_db.calculations import (
    Provenance,
    Step,
    StoredGeometry,
    last_geometry,
    pack_files,
    sha256_of,
)
from screening_db.database import Database
from screening_db.queue.lease import Lease
from tasks.structures.formats import structure_from_text, structure_text
from tasks.verification.relaxation.checkpoint import RelaxationFrame
from tasks.verification.relaxation.logbook import LastGeometry, Logbook

_PACKAGES = ("sabatier", "ase", "numpy", "scipy")  # whose versions are recorded, with the engine's


def stored_geometry(db: Database, lease: Lease) -> StoredGeometry | None:
    """Return where an earlier attempt at a leased item was stopped, if this one goes on there."""
    return last_geometry(db, lease.item, lease.level) if lease.resumes else None


def open_logbook(item: WorkItem, reporter: StepReporter) -> Logbook:
    """Return the logbook of an attempt; each of its steps is reported as it is made.

    Its folder is named by the item, the level and the structures, so that the next attempt at the
    same calculation on this machine finds it, and no other does.
    """
    lease, last = item.lease, item.last_geometry
    key = sha256_of(lease.item, item.level.level_hash, *item.inputs.structures)[:16]
    plain = "".join(c if c.isalnum() else "_" for c in lease.item[:12])
    book = Logbook(
        item=lease.item,
        folder=f"{lease.kind}-{plain}-{key}",
        attempt=lease.attempt,
        last=None
        if last is None
        else LastGeometry(structure_from_text(last.structure), last.attempt, last.first_fmax),
    )
    book.watch = lambda frame: reporter.report(_step(frame), lambda: _last_structure(book))
    return book


def provenance_of(
    item: WorkItem, result: WorkResult, began: float, book: Logbook | None = None
) -> Provenance:
    """Return the record of an attempt.

    Args:
        item: The work item as it came.
        result: How the attempt ended.
        began: When it began (s since the epoch).
        book: Its logbook; None where nothing could be begun. The structure that came out is the
            last geometry of the logbook where there is no other.

    Returns:
        Host, versions, structures, inputs, times (s), steps and rungs of the attempt.
    """
    start, *inputs = item.inputs.structures
    relaxed = structure_text(result.verified.atoms) if result.verified else ""
    found = Provenance(
        host=socket.gethostname(),
        engine=item.level.engine,
        level_hash=item.level.level_hash,
        versions=_versions(item.level.engine),
        structure_in=start,
        structure_out=relaxed,
        inputs=tuple(inputs),
        started_at=began,
        ended_at=time.time(),
        rungs=result.rungs,
    )
    if book is None:
        return found
    first = "" if book.start is None else structure_text(book.start)
    return replace(
        found,
        versions={**found.versions, **book.versions},
        structure_in=start or first,
        structure_out=relaxed or _last_structure(book),
        files=pack_files(book.files),
        steps=tuple(_step(frame) for frame in book.frames),
        rungs=tuple(book.rungs) or result.rungs,  # else a reference that it needs failed
        note="; ".join(book.notes),
    )


def _last_structure(book: Logbook) -> str:
    return "" if book.atoms is None else structure_text(book.atoms)


def _step(frame: RelaxationFrame) -> Step:
    return Step(frame.step, frame.energy_ev, frame.fmax_ev_ang, frame.at)


def _versions(engine: str) -> dict[str, str]:
    """Return the versions of Python packages; an engine that is none reports its own."""
    found = {"python": platform.python_version()}
    for package in (*_PACKAGES, engine):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
