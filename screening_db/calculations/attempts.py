"""Record every attempt at a calculation: its inputs, results, host, times and versions.

An attempt begins with its lease and ends with a report, or with the end of a lease that nobody
renewed. A report that the queue refuses changes nothing but the note of the attempt.
"""

import gzip
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from sqlalchemy import ColumnElement, case, delete, literal, select, update
from sqlalchemy.orm import Session

from screening_db.calculations.steps import AttemptKey, Step, delete_steps, first_fmax, store_steps
from screening_db.database import Database, batches, repeated_after_outage, upsert
from screening_db.errors import DatabaseError
from screening_db.tables import AttemptState, CalculationFileRow, CalculationRow

FILES_LIMIT_BYTES = 4_000_000  # compressed, of one attempt
MESSAGE_LIMIT = 2000


@dataclass(frozen=True)
class StoredFile:
    """A file of one attempt, compressed by gzip; ``content`` is None where it was too large."""

    name: str
    size_bytes: int  # before
    content: bytes | None


@dataclass(frozen=True)
class Provenance:
    """A worker's report of an attempt; structures are text, times are seconds since 1970, UTC.

    ``versions`` are of packages, and the checksums of the potentials that were used. ``inputs`` are
    further texts that the result depends on, such as the clean slab's structure.
    On a failure ``structure_out`` is the last geometry, from which the next attempt may resume.
    """

    host: str = ""
    engine: str = ""
    level_hash: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    structure_in: str = ""
    structure_out: str = ""
    inputs: tuple[str, ...] = ()
    started_at: float | None = None
    ended_at: float | None = None
    rungs: tuple[str, ...] = ()  # the result of each rung of the engine's SCF ladder
    files: tuple[StoredFile, ...] = ()
    steps: tuple[Step, ...] = ()  # of the relaxation, those that this attempt made
    note: str = ""  # anything else, such as the checkpoint that it resumed from

    @property
    def input_sha256(self) -> str:
        """Return the SHA-256 of the level and all inputs; empty where none were reported."""
        if not self.structure_in:
            return ""
        return sha256_of(self.level_hash, self.structure_in, *self.inputs)


@dataclass(frozen=True)
class StoredGeometry:
    """The last geometry of an attempt that was stopped: structure text, and the attempt's number.

    ``first_fmax`` is the largest force (eV/Å) at the item's own start, 0 where none is recorded.
    """

    structure: str
    attempt: int
    first_fmax: float


def sha256_of(*texts: str) -> str:
    """Return the SHA-256 of texts; their borders count, and one alone is hashed as it is."""
    if len(texts) == 1:
        return hashlib.sha256(texts[0].encode()).hexdigest()
    return hashlib.sha256("".join(f"{len(part)}:{part}" for part in texts).encode()).hexdigest()


def pack_files(
    files: Mapping[str, bytes], limit_bytes: int = FILES_LIMIT_BYTES
) -> tuple[StoredFile, ...]:
    """Compress the files of an attempt; the first that fit into ``limit_bytes`` are kept.

    List the most important first. Of one that does not fit only name and size are kept.

    Raises:
        DatabaseError: a name is not that of a file in one folder.
    """
    free, kept = limit_bytes, []
    for name, data in files.items():
        if name in ("", ".", "..") or PurePath(name).name != name or "\\" in name:
            raise DatabaseError(
                f"a kept file has a plain name, without folders; got {name!r}; rename it"
            )
        content = gzip.compress(data, mtime=0)
        fits = len(content) <= free
        free -= len(content) if fits else 0
        kept.append(StoredFile(name, len(data), content if fits else None))
    return tuple(kept)


@repeated_after_outage
def attempts_of(db: Database, item: str, level: str) -> list[CalculationRow]:
    """Return every attempt at an item, the first one first."""
    query = (
        select(CalculationRow)
        .where(CalculationRow.item == item, CalculationRow.level == level)
        # not by time alone: that may be of the clocks of several hosts
        .order_by(CalculationRow.attempt, CalculationRow.started_at, CalculationRow.token)
    )
    with db.read() as session:
        return list(session.scalars(query))


@repeated_after_outage
def stored_files(db: Database, attempt: CalculationRow) -> list[StoredFile]:
    """Return the files of one attempt by name, compressed as they are kept."""
    query = (
        select(CalculationFileRow)
        .where(
            CalculationFileRow.item == attempt.item,
            CalculationFileRow.level == attempt.level,
            CalculationFileRow.token == attempt.token,
        )
        .order_by(CalculationFileRow.name)
    )
    with db.read() as session:
        return [StoredFile(row.name, row.size_bytes, row.content) for row in session.scalars(query)]


def last_geometry(db: Database, item: str, level: str) -> StoredGeometry | None:
    """Return the last geometry of an attempt without a result, or of an anomaly to be repeated."""
    for attempt in reversed(attempts_of(db, item, level)):
        if attempt.state in ("failed", "anomalous") and attempt.structure_out:
            fmax = first_fmax(db, item, level)
            return StoredGeometry(attempt.structure_out, attempt.attempt, fmax)
    return None


def relaxed_structures(db: Database, level: str, items: Sequence[str]) -> dict[str, str]:
    """Return, by item, the structure (text) that its calculation at a level ended with."""
    return {
        row.item: row.structure_out
        for row in attempts_with_result(db, level, items)
        if row.state == "converged" and row.structure_out
    }


@repeated_after_outage
def attempts_with_result(db: Database, level: str, items: Sequence[str]) -> list[CalculationRow]:
    """Return the attempts at a level that ended with a result, by item and time."""
    found: list[CalculationRow] = []
    with db.read() as session:
        for ids in batches(items):
            query = select(CalculationRow).where(
                CalculationRow.level == level,
                CalculationRow.item.in_(ids),
                CalculationRow.state.in_(("converged", "anomalous")),
            )
            found += session.scalars(
                query.order_by(CalculationRow.item, CalculationRow.reported_at)
            )
    return found


def begin_attempts(session: Session, rows: Sequence[CalculationRow]) -> None:
    """Record that items were leased."""
    upsert(session, rows, overwrite=False)


def end_attempt(
    session: Session,
    key: AttemptKey,
    state: AttemptState,
    now: float,
    *,
    failure: tuple[str, str] = ("", ""),
    provenance: Provenance | None = None,
) -> None:
    """Record how an attempt ended; one that was never recorded is passed over.

    Args:
        session: Session of the caller's transaction.
        key: Item, level and token of the attempt.
        state: The state it ended in.
        now: Time of the database in seconds since 1970.
        failure: Class and message of its failure, empty without one.
        provenance: What the worker reports, its files and steps (eV, eV/Å); None keeps what was
            reported before.
    """
    values: dict[str, object] = {
        "state": state,
        "ended_at": now,
        "reported_at": now,
        "error_class": failure[0],
        "error_message": failure[1],
    }
    if provenance is not None:  # else what was reported before stays
        values |= _reported(provenance)
    ended = update(CalculationRow).where(*_is(key)).values(values).returning(CalculationRow.item)
    if session.execute(ended).first() is None:  # attempts at older leases were not recorded
        return
    if provenance is not None:
        upsert(session, _file_rows(key, provenance.files), overwrite=True)
        store_steps(session, key, provenance.steps)


def _reported(provenance: Provenance) -> dict[str, object]:
    """Return the columns that a worker reports at the end of an attempt."""
    values: dict[str, object] = {
        "host": provenance.host,
        "engine": provenance.engine,
        "level_hash": provenance.level_hash,
        "versions": dict(provenance.versions),
        "input_sha256": provenance.input_sha256,
        "structure_in": provenance.structure_in,
        "structure_out": provenance.structure_out,
        "rungs": list(provenance.rungs),
        "note": provenance.note,
    }
    times = {"started_at": provenance.started_at, "ended_at": provenance.ended_at}
    return values | {name: time for name, time in times.items() if time is not None}


def delete_attempts(session: Session, keys: Iterable[AttemptKey]) -> None:
    """Take back that items were leased: they were given back before they were begun."""
    for key in keys:
        delete_steps(session, key)
        session.execute(delete(CalculationRow).where(*_is(key)))


def note_refused_report(session: Session, key: AttemptKey, now: float, why: str) -> None:
    """Note that a report of an attempt was refused; nothing else of it is kept."""
    noted = case(
        (CalculationRow.note == "", ""), else_=CalculationRow.note + literal("; ")
    ) + literal(f"{why} (at {now:.0f} s)")
    session.execute(
        update(CalculationRow)
        .where(*_is(key))
        .values(refused=CalculationRow.refused + 1, note=noted)
    )


def one_line(message: str) -> str:
    """Return a message as one line of bounded length."""
    return " ".join(message.split())[:MESSAGE_LIMIT]


def _is(key: AttemptKey) -> tuple[ColumnElement[bool], ...]:
    item, level, token = key
    return (
        CalculationRow.item == item,
        CalculationRow.level == level,
        CalculationRow.token == token,
    )


def _file_rows(key: AttemptKey, files: Sequence[StoredFile]) -> list[CalculationFileRow]:
    """Return the rows of an attempt's files; the limit holds whoever packed them."""
    item, level, token = key
    free, rows = FILES_LIMIT_BYTES, []
    for file in files:
        content = file.content
        if content is not None and len(content) > free:
            content = None
        free -= len(content or b"")
        rows.append(
            CalculationFileRow(
                item=item,
                level=level,
                token=token,
                name=file.name,
                size_bytes=file.size_bytes,
                content=content,
            )
        )
    return rows
