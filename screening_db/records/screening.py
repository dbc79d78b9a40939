"""Write what a screening finds. Everything is an upsert keyed by content: a rerun adds no row.

Each function is one transaction: it is stored in full or not at all. Rows keyed by content
(bulks, slabs, candidates) keep what was stored first; predictions, states and ranks are
overwritten.
"""

import difflib
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.orm import Session

from screening_db.database.bulk import upsert
from screening_db.database.engine import Database
from screening_db.errors import DatabaseError
from screening_db.queries.ranking import find_campaign
from screening_db.queue.dependencies import resolve_waiting
from screening_db.queue.withdraw import WAITING, withdraw
from screening_db.tables.learning import RoundRow
from screening_db.tables.screening import (
    AdsorbateRow,
    BulkRow,
    CampaignItemRow,
    CampaignRow,
    CampaignStatus,
    CandidateRow,
    CheckpointRow,
    ChunkRow,
    LevelOfTheoryRow,
    PredictionRow,
    RankRow,
    SlabRow,
)
from screening_db.tables.verification import QueueRow, ReferenceEnergyRow


def record_bulks(db: Database, bulks: Sequence[BulkRow]) -> None:
    """Store bulks; one that is there keeps its first source."""
    with db.write() as session:
        upsert(session, bulks, overwrite=False)


def record_slabs(db: Database, slabs: Sequence[SlabRow]) -> None:
    """Store slabs; their bulks are there already."""
    with db.write() as session:
        upsert(session, slabs, overwrite=False)


def record_adsorbates(db: Database, adsorbates: Sequence[AdsorbateRow]) -> None:
    """Store adsorbates; a name stands for one structure for ever, because pairs are named by it.

    Raises:
        DatabaseError: the name is there with another structure.
    """
    with db.write() as session:
        for new in adsorbates:
            old = session.get(AdsorbateRow, new.name)
            if old is not None and (old.formula, old.structure, old.binding) != (
                new.formula,
                new.structure,
                new.binding,
            ):
                raise DatabaseError(
                    f"adsorbate {new.name} is stored in {db.where} with another structure or "
                    "other binding atoms; give the new one another name"
                )
        upsert(session, adsorbates, overwrite=False)


def record_level(db: Database, level: LevelOfTheoryRow) -> None:
    """Store a level of theory; a name stands for one hash for ever.

    Raises:
        DatabaseError: the name is there with other settings, or the settings under another name.
    """
    with db.write() as session:
        stored = session.scalars(
            select(LevelOfTheoryRow).where(
                (LevelOfTheoryRow.name == level.name)
                | (LevelOfTheoryRow.level_hash == level.level_hash)
            )
        )
        for old in stored:
            if (old.name, old.level_hash) != (level.name, level.level_hash):
                raise DatabaseError(
                    "a level of theory has one name and one hash, so that energies of two levels "
                    f"never mix; stored is {old.name} {old.level_hash[:12]}, got {level.name} "
                    f"{level.level_hash[:12]}; use the stored name and settings, or another name "
                    "for other settings"
                )
        upsert(session, [level], overwrite=False)


def record_checkpoint(db: Database, checkpoint: CheckpointRow) -> None:
    """Store a checkpoint; one that is there keeps its name, model, parent and folder."""
    with db.write() as session:
        record_checkpoint_in(session, checkpoint)


def record_checkpoint_in(session: Session, checkpoint: CheckpointRow) -> None:
    """Do what ``record_checkpoint`` does within a transaction.

    Equal weights that two campaigns call by two names belong to the first of these models.
    """
    upsert(session, [checkpoint], overwrite=False)
    stored = session.get_one(CheckpointRow, checkpoint.sha256)
    stored.card = stored.card or checkpoint.card


def record_campaign(db: Database, campaign: CampaignRow) -> None:
    """Store a campaign, or go on with the one of the same name and the same configuration.

    Raises:
        DatabaseError: the name was run with another configuration, level, checkpoint or seed.
    """
    with db.write() as session:
        old = session.get(CampaignRow, campaign.name)
        if old is None:
            upsert(session, [campaign], overwrite=False)
            return
        changes = _changes(old, campaign)
        if changes:
            raise DatabaseError(
                f"campaign {campaign.name} is stored in {db.where} with another configuration "
                f"({changes}); choose another name, or run: sabatier forget {campaign.name}"
            )


def set_campaign_status(db: Database, campaign: str, status: CampaignStatus) -> None:
    """Say whether a campaign is running or finished."""
    with db.write() as session:
        session.execute(
            update(CampaignRow).where(CampaignRow.name == campaign).values(status=status)
        )


def record_items(db: Database, items: Sequence[CampaignItemRow]) -> None:
    """Store the states of bulks, slabs, adsorbates and other items that have no prediction."""
    with db.write() as session:
        upsert(session, items, overwrite=True)


def record_chunk(
    db: Database,
    campaign: str,
    chunk_id: str,
    candidates: Sequence[CandidateRow],
    predictions: Sequence[PredictionRow],
    items: Sequence[CampaignItemRow],
) -> None:
    """Store all that a chunk found and that it is done, in one transaction."""
    with db.write() as session:
        upsert(session, candidates, overwrite=False)
        upsert(session, predictions, overwrite=True)
        upsert(session, items, overwrite=True)
        done = ChunkRow(campaign=campaign, chunk_id=chunk_id, n_items=len(items))
        upsert(session, [done], overwrite=True)


def record_predictions(db: Database, predictions: Sequence[PredictionRow]) -> None:
    """Store what another checkpoint predicts of candidates that are there."""
    with db.write() as session:
        upsert(session, predictions, overwrite=True)


def done_chunks(db: Database, campaign: str) -> frozenset[str]:
    """Return the ids of the chunks that need not run again."""
    with db.read() as session:
        return frozenset(
            session.scalars(select(ChunkRow.chunk_id).where(ChunkRow.campaign == campaign))
        )


def record_ranks(db: Database, campaign: str, ranks: Sequence[RankRow]) -> None:
    """Replace the ranks of a campaign; readers see the old ones or the new ones, never a mix."""
    strangers = {row.campaign for row in ranks} - {campaign}
    if strangers:
        raise DatabaseError(
            f"ranks replace those of one campaign, {campaign}; got some of {min(strangers)}; "
            "record each campaign by itself"
        )
    with db.write() as session:
        session.execute(delete(RankRow).where(RankRow.campaign == campaign))
        upsert(session, ranks, overwrite=False)


def record_triage(
    db: Database, campaign: str, *, queued: Collection[str], kept: Collection[str]
) -> None:
    """Give every predicted placement of a campaign its terminal state.

    ``queued`` and ``kept`` are candidate ids; one in both is queued, and both are contenders from
    now on. All the rest are passed over. Running triage again replaces its earlier answer.
    """
    with db.write() as session:
        set_terminal_states(session, campaign, queued=queued, kept=kept)


def set_terminal_states(
    session: Session, campaign: str, *, queued: Collection[str], kept: Collection[str]
) -> None:
    """Do what ``record_triage`` does within a transaction."""
    wanted: dict[str, str] = dict.fromkeys(kept, "kept") | dict.fromkeys(queued, "queued")
    placements = update(CampaignItemRow).where(
        CampaignItemRow.campaign == campaign, CampaignItemRow.stage == "placement"
    )
    session.execute(
        placements.where(CampaignItemRow.state.in_(("predicted", "queued", "kept"))).values(
            state="passed_over"
        )
    )
    if not wanted:
        return
    one = placements.where(
        CampaignItemRow.item_id == bindparam("item"), CampaignItemRow.state == "passed_over"
    ).values(state=bindparam("to"), contender=True)
    session.connection().execute(
        one, [{"item": item, "to": state} for item, state in sorted(wanted.items())]
    )


def store_structures(db: Database, structures: Mapping[str, str]) -> None:
    """Store the structures (JSON text) of candidates that are kept or queued, by candidate id."""
    if not structures:
        return
    statement = (
        update(CandidateRow.__table__)  # type: ignore[arg-type]  # a Table at run time
        .where(CandidateRow.id == bindparam("candidate"))
        .values(structure=bindparam("text"))
    )
    values = [{"candidate": key, "text": text} for key, text in sorted(structures.items())]
    with db.write() as session:
        session.connection().execute(statement, values)


def record_references(db: Database, references: Sequence[ReferenceEnergyRow]) -> None:
    """Store reference energies; the first calculation of each is kept for ever.

    Adslabs of the queue that waited for them go on.
    """
    with db.write() as session:
        upsert(session, references, overwrite=False)
        for level in sorted({row.level for row in references}):
            resolve_waiting(session, level)


def forget_campaign(db: Database, campaign: str) -> None:
    """Delete a campaign: its states, ranks, chunks, rounds and waiting calculations.

    Candidates, predictions, labels, fine-tunings and calculations that were begun stay, because
    they are keyed by content and serve other campaigns. A waiting calculation that another
    campaign of the same level queued as well is handed to that one.

    Raises:
        DatabaseError: there is no such campaign.
    """
    find_campaign(db, campaign)
    with db.write() as session:
        for table in (CampaignItemRow, RankRow, ChunkRow, RoundRow):
            session.execute(delete(table).where(table.campaign == campaign))
        _withdraw_all(session, campaign)
        session.execute(delete(CampaignRow).where(CampaignRow.name == campaign))


def _withdraw_all(session: Session, campaign: str) -> None:
    """Take back every calculation of adslabs that waits, also what a person holds."""
    wanted = select(QueueRow.item, QueueRow.level).where(
        QueueRow.campaign == campaign,
        QueueRow.kind == "adslab",
        QueueRow.state.in_(WAITING),
    )
    by_level: dict[str, list[str]] = {}
    for item, level in session.execute(wanted):
        by_level.setdefault(level, []).append(item)
    for level, items in by_level.items():
        withdraw(session, campaign, level, items)


def _changes(old: CampaignRow, new: CampaignRow) -> str:
    """Return what differs between two campaigns of one name, or nothing."""
    changes = [
        f"{what} {str(before)[:12]} -> {str(after)[:12]}"
        for what, before, after in (
            ("level", old.level, new.level),
            ("checkpoint", old.screened_with, new.screened_with),
            ("seed", old.seed, new.seed),
        )
        if before != after
    ]
    if old.config_sha256 != new.config_sha256:
        lines = difflib.ndiff(old.config.splitlines(), new.config.splitlines())
        changed = [line for line in lines if line[:2] in ("- ", "+ ") and line[2:].strip()]
        changes += [f"{line[0]} {line[2:].strip()}" for line in changed[:4]]
        changes = changes or ["another file"]
    return ", ".join(changes)
