"""Find and check what a campaign's relaxing stage names: its level, and the difference."""

from dataclasses import dataclass
from pathlib import Path

from flows.config.campaign import Campaign
from flows.errors import CampaignError
from tasks.levels import LevelOfTheory
from tasks.levels import level as named_level
from tasks.prediction.checkpoint_domain import CheckpointDomain, checkpoint_domain
from tasks.verification.engines import EngineLocations, check_level


@dataclass(frozen=True)
class ResolvedRelaxing:
    """The relaxing stage of a campaign: its level, and the model that turns its energies."""

    level: LevelOfTheory
    model: str  # as the file names the checkpoint
    checkpoint_sha256: str  # of what the file names, before any fine-tuning
    per_pair: int
    top: int


def resolved_relaxing(
    campaign: Campaign,
    folder: Path,
    verified_at: LevelOfTheory,
    locations: EngineLocations | None = None,
) -> ResolvedRelaxing | None:
    """Return the relaxing stage that a campaign states, checked.

    Args:
        campaign: The content of the campaign file.
        folder: The folder of the file, which paths in it are relative to.
        verified_at: The level of verification, which must be another one.
        locations: Where engines are.

    Returns:
        The stage with its level; None where the campaign states none.

    Raises:
        CampaignError: its level is that of verification, or the checkpoint does not turn energies
            of this level into those of the campaign's.
    """
    stated = campaign.relax
    if stated is None:
        return None
    level = named_level(stated.level, folder)
    if level.name == verified_at.name:
        raise CampaignError(
            f"relax.level and the level of verification must differ, both are {level.name}: what "
            "is verified at a level is relaxed there; leave relax out"
        )
    check_level(level, locations)
    difference = stated.difference or campaign.model
    found = checkpoint_domain(difference)
    require_difference(found, difference, level, campaign.level)
    return ResolvedRelaxing(level, difference, found.sha256, stated.per_pair, stated.top)


def require_difference(
    found: CheckpointDomain, name: str, level: LevelOfTheory, campaign_level: str
) -> None:
    """Refuse a checkpoint that cannot end a relaxing stage.

    Args:
        found: What the checkpoint answers.
        name: How messages call it.
        level: The level that pairs are relaxed at.
        campaign_level: The level of the campaign's energies.

    Raises:
        CampaignError: it starts from other energies, has no answer without them, or none at the
            campaign's level.
    """
    if found.potentials != {level.name: level.level_hash}:
        on = " and ".join(f"{n} {h[:12]}" for n, h in found.potentials.items()) or "no energies"
        raise CampaignError(
            f"relax.difference must be a checkpoint that starts from energies of {level.name} "
            f"{level.level_hash[:12]}, {name!r} starts from {on}; train one with: sabatier train "
            "difference"
        )
    if not found.has_base:
        raise CampaignError(
            f"relax.difference must answer for what is not relaxed too, {name!r} has no base; "
            "train it with difference.base, such as mini"
        )
    if campaign_level not in found.domain.levels:
        known = ", ".join(sorted(found.domain.levels))
        raise CampaignError(
            f"relax.difference turns energies into those of {known}, got level "
            f"{campaign_level!r}; choose one of these or train another difference"
        )


def relaxed_by_name(campaign: Campaign, relaxing: ResolvedRelaxing | None) -> Campaign:
    """Return the campaign with the relaxing stage's level by name, also where it is from a file."""
    if campaign.relax is None or relaxing is None:
        return campaign
    stage = campaign.relax.model_copy(update={"level": relaxing.level.name})
    return campaign.model_copy(update={"relax": stage})
