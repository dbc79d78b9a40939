"""Find the predictions of a campaign that a superseded checkpoint made and that matter."""

from screening_db.database import Database, repeated_after_outage
from screening_db.errors import DatabaseError
from screening_db.learning.serving import serving_sha256
from screening_db.queries import find_campaign
from screening_db.records.ranking import unpredicted_contenders
from screening_db.tables import CampaignRow, CheckpointRow


@repeated_after_outage
def model_of_campaign(db: Database, campaign: str) -> str:
    """Return the model that ranks a campaign: that of its relaxing stage, else of its screening."""
    row = find_campaign(db, campaign)
    with db.read() as session:
        return session.get_one(CheckpointRow, row.relaxed_with or row.screened_with).model


@repeated_after_outage
def stale_predictions(
    db: Database, campaign: str, checkpoint_sha256: str | None = None
) -> list[str]:
    """Return the ids of the candidates that the serving checkpoint has yet to predict, in order.

    Only the campaign's contenders count: those that any of its rankings kept, ranked or queued.
    ``checkpoint_sha256`` names another checkpoint than the serving one. Where nothing was
    promoted, there are none.
    """
    sha256 = checkpoint_sha256 or serving_sha256(db, model_of_campaign(db, campaign))
    if sha256 is None:
        return []
    row = find_campaign(db, campaign)
    with db.read() as session:
        return list(session.scalars(unpredicted_contenders(row, sha256)))


def is_stale(db: Database, campaign: str, checkpoint_sha256: str) -> bool:
    """Tell whether a campaign is ranked by another checkpoint, or lacks predictions of this one."""
    if find_campaign(db, campaign).checkpoint_sha256 != checkpoint_sha256:
        return True
    return bool(stale_predictions(db, campaign, checkpoint_sha256))


def require_finished(db: Database, campaign: CampaignRow) -> None:
    """Raise where a campaign has no ranking yet.

    Raises:
        DatabaseError: it is still being screened, or its screening was stopped.
    """
    if campaign.status != "finished":
        raise DatabaseError(
            f"what is ranked is scored again; campaign {campaign.name} in {db.where} is not "
            "finished; go on with: sabatier screen FILE"
        )
