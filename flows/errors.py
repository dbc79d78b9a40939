"""The faults that are the user's to mend: one line and exit status 2, never a traceback."""

from model.errors import ModelError
from screening_db.errors import DatabaseError
from tasks.errors import UserError


class CampaignError(UserError):
    """The campaign file, or a name or setting given with it, cannot be used."""


USER_FAULTS = (UserError, DatabaseError, ModelError)
