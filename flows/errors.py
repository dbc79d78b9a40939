"""The faults that are the user's to mend: one line and exit status 2, never a traceback."""

from model.errors import ModelError
from screening_db.errors import DatabaseError
from tasks.errors import UserError


class CampaignError(UserError):
    """The campaign file, or a name or setting given with it, cannot be used."""


# The model and the screening database import nothing of each other, and neither has a package above
# it to take a common class from: each has one root exception, and this is what catches all three.
USER_FAULTS = (UserError, DatabaseError, ModelError)
USER_FAULT_STATUS = 2  # of a process that ends with one of them
