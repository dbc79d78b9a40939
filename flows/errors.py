"""The faults of campaign files and commands."""

from tasks.errors import UserError


class CampaignError(UserError):
    """The campaign file, or a name or setting given with it, cannot be used."""
