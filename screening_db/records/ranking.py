"""Rank a campaign, and rank it again by another checkpoint.

Ranks, states, queue and checkpoint change in one transaction. Items are never lost to it: a
placement is queued, kept, passed over or out of the domain after as before, each in one state. What
was requested and begun stays queued, whatever the new ranking makes of it, and keeps its priority;
what only waits follows the new ranking.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, Select, bindparam, delete, func, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from screening_db.database import Database, batches, repeated_after_outage, upsert
from screening_db.errors import DatabaseError
from screening_db.queries import find_campaign
from screening_db.queue.dependencies import lock_planning, raise_priorities, resolve_waiting
from screening_db.queue.enqueue import WAITING, enqueue_in, withdraw
from screening_db.tables import (
    CampaignRow,
    CandidateRow,
    LabelRow,
    PlacementRow,
    PredictionRow,
    QueueRow,
    RankRow,
    key_of_campaign,
    key_of_predictor,
)

_WHY = "outside the model's domain"  # where a predictor gave no reason


@dataclass(frozen=True)
class VerificationRequests:
    """The candidates that a campaign has requested verification for.

    ``waiting`` are its own that nobody has begun and no person holds: they may be withdrawn.
    """

    begun: frozenset[str]  # held, computed or being computed, or first queued by another campaign
    waiting: frozenset[str]


@dataclass(frozen=True)
class CampaignRanking:
    """A complete ranking of a campaign by the checkpoint ``checkpoint_sha256``.

    One that ends the relaxing stage is ``relaxed``: it finishes the campaign.
    """

    campaign: str
    checkpoint_sha256: str
    ranks: Sequence[RankRow] = field(repr=False)
    kept: Collection[str] = field(repr=False)  # candidate ids
    queued: Sequence[QueueRow] = field(repr=False)  # what is to wait, with its new priority
    relaxed: bool = False


@repeated_after_outage
def record_ranks(db: Database, campaign: str, ranks: Sequence[RankRow]) -> None:
    """Replace the ranks of a campaign; readers see the old ones or the new ones, never a mix."""
    strangers = {row.campaign for row in ranks} - {campaign}
    if strangers:
        raise DatabaseError(
            f"ranks replace those of one campaign, {campaign}; got some of {min(strangers)}; "
            "record each campaign by itself"
        )
    with db.write() as session:
        _replace_ranks(session, campaign, ranks)


@repeated_after_outage
def record_triage(
    db: Database, campaign: str, *, queued: Collection[str], kept: Collection[str]
) -> None:
    """Give every predicted placement of a campaign its terminal state.

    ``queued`` and ``kept`` are candidate ids; one in both is queued, and both are contenders from
    now on. All the rest are passed over. Running triage again replaces its earlier answer.
    """
    with db.write() as session:
        set_terminal_states(session, campaign, queued=queued, kept=kept)


@repeated_after_outage
def choose_to_relax(db: Database, campaign: str, candidate_ids: Collection[str]) -> None:
    """Record what a campaign's relaxing stage relaxes, so that a killed one goes on with it."""
    chosen = update(PlacementRow).where(PlacementRow.campaign_key == key_of_campaign(campaign))
    with db.write() as session:
        for ids in batches(sorted(candidate_ids)):
            session.execute(
                chosen.where(PlacementRow.candidate_key.in_(_keys(ids)))
                .values(to_relax=True)
                .execution_options(synchronize_session=False)
            )


def set_terminal_states(
    session: Session, campaign: str, *, queued: Collection[str], kept: Collection[str]
) -> None:
    """Do what ``record_triage`` does within a transaction."""
    states: dict[str, str] = dict.fromkeys(kept, "kept") | dict.fromkeys(queued, "queued")
    placements = update(PlacementRow.__table__).where(  # type: ignore[arg-type]  # a Table at run time
        PlacementRow.campaign_key == key_of_campaign(campaign)
    )
    session.execute(
        placements.where(PlacementRow.state.in_(("predicted", "queued", "kept"))).values(
            state="passed_over"
        )
    )
    if not states:
        return
    candidate = select(CandidateRow.key).where(CandidateRow.id == bindparam("item"))
    one = placements.where(
        PlacementRow.candidate_key == candidate.scalar_subquery(),
        PlacementRow.state == "passed_over",
    ).values(state=bindparam("to"), contender=True)
    session.connection().execute(
        one, [{"item": item, "to": state} for item, state in sorted(states.items())]
    )


@repeated_after_outage
def verification_requests(db: Database, campaign: str) -> VerificationRequests:
    """Return the verifications that a campaign has requested so far."""
    find_campaign(db, campaign)
    with db.read() as session:
        return _requests(session, session.get_one(CampaignRow, campaign))


@repeated_after_outage
def replace_ranking(db: Database, ranking: CampaignRanking) -> None:
    """Rank a campaign anew, in one transaction; readers see it before or after, never between."""
    with db.write() as session:
        replace_ranking_in(session, ranking)


def replace_ranking_in(session: Session, ranking: CampaignRanking) -> None:
    """Rank a campaign anew within a transaction.

    Raises:
        DatabaseError: the campaign is not there, or not finished.
    """
    lock_planning(session)
    campaign = session.get(CampaignRow, ranking.campaign, with_for_update=True)
    if campaign is None or not (campaign.status == "finished" or ranking.relaxed):
        raise DatabaseError(
            f"a ranking is replaced once there is one; campaign {ranking.campaign} is not "
            "finished; run: sabatier screen FILE"
        )
    _refuse_half(session, campaign, ranking.checkpoint_sha256)
    campaign.checkpoint_sha256 = ranking.checkpoint_sha256
    if ranking.relaxed:
        campaign.relaxed_with, campaign.status = ranking.checkpoint_sha256, "finished"
    session.flush()
    _replace_ranks(session, ranking.campaign, ranking.ranks)
    _requeue(session, campaign, ranking)
    _set_states(session, campaign, ranking)


def _refuse_half(session: Session, campaign: CampaignRow, checkpoint_sha256: str) -> None:
    """Raise where a contender has no prediction of the checkpoint: no ranking is of two."""
    missing = session.scalars(unpredicted_contenders(campaign, checkpoint_sha256)).all()
    if missing:
        raise DatabaseError(
            f"a ranking is of one checkpoint; {checkpoint_sha256[:12]} has yet to predict "
            f"{len(missing)} contenders of campaign {campaign.name}; run: sabatier rescore "
            f"{campaign.name}"
        )


def _replace_ranks(session: Session, campaign: str, ranks: Sequence[RankRow]) -> None:
    session.execute(delete(RankRow).where(RankRow.campaign == campaign))
    upsert(session, ranks, overwrite=False)


def _requeue(session: Session, campaign: CampaignRow, ranking: CampaignRanking) -> None:
    """Bring waiting items in line with the ranking: some leave, some come, priorities change."""
    level = campaign.verified_at
    queued_ids = {row.item for row in ranking.queued}
    waiting = _requests(session, campaign).waiting
    withdraw(session, campaign.name, level, sorted(waiting - queued_ids))
    for row in ranking.queued:
        session.execute(
            update(QueueRow)
            .where(
                QueueRow.item == row.item,
                QueueRow.level == level,
                QueueRow.campaign == campaign.name,
                QueueRow.state.in_(WAITING),
            )
            .values(priority=row.priority, why=row.why)
            .execution_options(synchronize_session=False)
        )
    enqueue_in(session, ranking.queued)
    raise_priorities(session, level)
    resolve_waiting(session, level)


def _set_states(session: Session, campaign: CampaignRow, ranking: CampaignRanking) -> None:
    """Give each contender the one state that the checkpoint and the ranking make of it."""
    begun = sorted(_requests(session, campaign).begun)
    queued_ids = [row.item for row in ranking.queued]
    contenders = (
        update(PlacementRow)
        .where(*_contenders(campaign.name))
        .execution_options(synchronize_session=False)
    )
    session.execute(contenders.values(state="predicted", reason=""))
    outside = _predictions(campaign, ranking.checkpoint_sha256).where(~PredictionRow.in_domain)
    reason = outside.with_only_columns(func.coalesce(func.nullif(PredictionRow.reason, ""), _WHY))
    session.execute(
        contenders.where(outside.exists()).values(
            state="out_of_domain", reason=reason.scalar_subquery()
        )
    )
    for ids in batches(begun):  # a request stays, whatever the new ranking says
        session.execute(
            contenders.where(PlacementRow.candidate_key.in_(_keys(ids))).values(
                state="predicted", reason=""
            )
        )
    set_terminal_states(session, campaign.name, queued=[*queued_ids, *begun], kept=ranking.kept)


def unpredicted_contenders(campaign: CampaignRow, checkpoint_sha256: str) -> Select[tuple[str]]:
    """Select the contenders of a campaign that a checkpoint has not predicted, in order."""
    predicted = _predictions(campaign, checkpoint_sha256).exists()
    return (
        select(CandidateRow.id)
        .join(PlacementRow, PlacementRow.candidate_key == CandidateRow.key)
        .where(*_contenders(campaign.name), ~predicted)
        .order_by(CandidateRow.id)
    )


def _contenders(campaign: str) -> tuple[ColumnElement[bool] | InstrumentedAttribute[bool], ...]:
    return (
        PlacementRow.campaign_key == key_of_campaign(campaign),
        PlacementRow.contender,
    )


def _keys(candidate_ids: Sequence[str]) -> Select[tuple[int]]:
    """Select the short keys of candidates."""
    return select(CandidateRow.key).where(CandidateRow.id.in_(candidate_ids))


def _predictions(campaign: CampaignRow, checkpoint_sha256: str) -> Select[tuple[int]]:
    """Select a checkpoint's prediction of the placement of the outer query."""
    return (
        select(PredictionRow.candidate_key)
        .where(
            PredictionRow.candidate_key == PlacementRow.candidate_key,
            PredictionRow.predictor_key == key_of_predictor(checkpoint_sha256, campaign.level),
        )
        .correlate(PlacementRow)
    )


def _requests(session: Session, campaign: CampaignRow) -> VerificationRequests:
    level = campaign.verified_at
    queued = list(
        session.scalars(
            select(CandidateRow.id)
            .join(PlacementRow, PlacementRow.candidate_key == CandidateRow.key)
            .where(*_contenders(campaign.name), PlacementRow.state == "queued")
        )
    )
    begun: set[str] = set()
    waiting: set[str] = set()
    for ids in batches(queued):
        rows = session.execute(
            select(QueueRow.item, QueueRow.campaign, QueueRow.state, QueueRow.attempts).where(
                QueueRow.level == level, QueueRow.item.in_(ids)
            )
        )
        for item, owner, state, attempts in rows:
            idle = owner == campaign.name and state in ("queued", "waiting") and not attempts
            (waiting if idle else begun).add(item)
        begun |= set(
            session.scalars(
                select(LabelRow.candidate_id).where(
                    LabelRow.level == level, LabelRow.candidate_id.in_(ids)
                )
            )
        )
    return VerificationRequests(frozenset(begun), frozenset(waiting - begun))
