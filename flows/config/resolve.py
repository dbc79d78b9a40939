"""Turn a campaign file into bulks, adsorbates, a level of theory and a checked predictor."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flows.config.campaign import Campaign, FileAdsorbate, SmilesAdsorbate
from flows.config.relaxing import ResolvedRelaxing, relaxed_by_name, resolved_relaxing
from flows.errors import CampaignError
from model.contract import Domain
from tasks.acquisition import PRICE_TABLES, Prices
from tasks.acquisition.rank import Window
from tasks.enumeration import (
    Adsorbate,
    Bulk,
    KnownBulks,
    OwnSlab,
    adsorbate,
    adsorbate_from_file,
    adsorbate_from_smiles,
    no_known_bulks,
    read_own_slabs,
    resolve_bulks,
)
from tasks.errors import Refusal, nearest_names
from tasks.levels import LevelOfTheory
from tasks.levels import level as named_level
from tasks.prediction.checkpoint_domain import CheckpointDomain, checkpoint_domain
from tasks.reports.plan import grouped_refusals
from tasks.structures.formats import structure_text
from tasks.structures.identity import content_id
from tasks.verification.engines import EngineLocations, check_level, computable_elements
from tasks.verification.relaxation.admission import unverifiable


@dataclass(frozen=True)
class ResolvedCampaign:
    """All that a campaign names, found and checked; no slabs have been cut yet."""

    campaign: Campaign
    bulks: tuple[Bulk, ...]
    adsorbates: tuple[Adsorbate, ...]
    refused: tuple[Refusal, ...]
    windows: dict[str, Window]
    level: LevelOfTheory
    verified_at: LevelOfTheory
    checkpoint_sha256: str
    domain: Domain
    locations: EngineLocations = field(default_factory=dict)
    prices: Prices | None = None
    checkpoint: str = ""  # the embedded name, or the folder, that it is loaded from
    own_slabs: tuple[OwnSlab, ...] = ()
    relaxing: ResolvedRelaxing | None = None

    @property
    def scoring_id(self) -> str:
        """Return the id of all that decides the predictions on a slab.

        Chunks of another campaign with the same id need not be scored again.
        """
        c = self.campaign
        return content_id(
            "work",
            *(part for a in self.adsorbates for part in _identity(a)),
            json.dumps([c.placements.model_dump(), c.seed, c.stored_per_pair()]),
            self.level.level_hash,
            self.checkpoint_sha256,
        )

    @property
    def config_sha256(self) -> str:
        """Return the hash of all that decides the campaign's results."""
        prices = (self.prices.content_id,) if self.prices else ()
        bulks = (b.bulk_id for b in self.bulks)
        slabs = (o.slab for o in self.own_slabs)
        named = (part for s in slabs for part in (s.slab_id, s.bulk_formula, str(s.miller)))
        stage = self.relaxing
        relaxed = (stage.level.level_hash, stage.checkpoint_sha256) if stage else ()
        return content_id(
            "campaign", self.config, self.scoring_id, *bulks, *named, *prices, *relaxed
        )

    @property
    def config(self) -> str:
        """Return the campaign as text, without what changes only where and how fast it runs."""
        stated = self.campaign.model_dump(
            mode="json",
            exclude={
                "cluster": True,
                "database": True,
                "learning": True,
                "verification": {"engine"},
            },
            exclude_defaults=True,
        )
        if not stated.get("verification"):  # verified at the level it predicts at
            stated.pop("verification", None)
        return json.dumps(stated, sort_keys=True, indent=1)


def resolve_campaign(
    campaign: Campaign,
    folder: Path,
    materials_project_key: str | None,
    locations: EngineLocations | None = None,
    checkpoint: str | None = None,
    known: KnownBulks = no_known_bulks,
) -> ResolvedCampaign:
    """Find and check the bulks, adsorbates, levels and checkpoint that a campaign names.

    Args:
        campaign: The content of the campaign file.
        folder: The folder of the file, which paths in it are relative to.
        materials_project_key: The key for bulks from the Materials Project.
        locations: Where engines are, so that adsorbates that cannot be verified are refused early.
        checkpoint: The checkpoint that serves the campaign's model; None for the model itself.
        known: The bulks that the campaign's database has, which keep their ids.

    Returns:
        Everything found, and refusals of single bulks and adsorbates.

    Raises:
        CampaignError: nothing is left to screen, or the model cannot serve the level.
        UserError: the level of verification cannot be computed as it is written.
    """
    level = named_level(campaign.level, folder)
    verified_at = named_level(campaign.verification.level or campaign.level, folder)
    campaign = _by_name(campaign, level, verified_at)
    _check_engine(campaign, verified_at)
    check_level(verified_at, locations)
    source = checkpoint or campaign.model
    found = checkpoint_domain(source)
    domain = found.domain
    if campaign.level not in domain.levels:
        raise CampaignError(
            f"model {campaign.model!r} answers at {', '.join(sorted(domain.levels))}; got level "
            f"{campaign.level!r}; choose one of these or train a model at that level"
        )
    _check_strain(campaign, found)
    bulks, refused_bulks = resolve_bulks(
        campaign.bulk_specs(folder),
        materials_project_key=materials_project_key,
        symmetry_tolerance_ang=campaign.symmetry_tolerance(),
        known=known,
    )
    own_slabs, refused_slabs = read_own_slabs(
        campaign.own_slab_specs(folder), campaign.surfaces.spec()
    )
    named = _named_adsorbates(campaign, folder)
    answered, unknown = _adsorbates_of_domain(campaign, named.values(), domain)
    relaxing = resolved_relaxing(campaign, folder, verified_at, locations)
    computed_at = [verified_at, *([relaxing.level] if relaxing else [])]
    adsorbates, unverified = _verifiable_adsorbates(answered, computed_at, locations)
    refused = (*refused_bulks, *refused_slabs, *unknown, *unverified)
    if not (bulks or own_slabs) or not adsorbates:
        surfaces = "slabs" if campaign.bulks is None else "bulks"
        kind = "adsorbates" if bulks or own_slabs else surfaces
        raise CampaignError(
            f"a campaign needs {kind}, all of them were refused: {_first_reasons(refused)}"
        )
    prices = _prices(campaign, folder, [*bulks, *own_slabs])
    return ResolvedCampaign(
        _with_content(relaxed_by_name(campaign, relaxing), prices),
        tuple(sorted(bulks, key=lambda b: b.bulk_id)),
        adsorbates,
        refused,
        {named[name].name: window for name, window in campaign.windows().items()},
        level,
        verified_at,
        found.sha256,
        domain,
        locations or {},
        prices,
        source,
        tuple(own_slabs),
        relaxing,
    )


def _first_reasons(refused: Sequence[Refusal]) -> str:
    """Return the first reasons, each with the first item that it refuses and how many others."""
    words = []
    for group in grouped_refusals(refused, ())[:3]:
        more = f" and {len(group.sources) - 1} more" if len(group.sources) > 1 else ""
        words.append(f"{group.sources[0]}{more}: {group.reason}")
    return "; ".join(words)


def _prices(campaign: Campaign, folder: Path, sources: Iterable[Bulk | OwnSlab]) -> Prices | None:
    """Return the prices that triage counts; the table must have every element."""
    stated = campaign.triage.prices
    if stated is None:
        return None
    prices = stated.read(folder)
    edits = campaign.surfaces.edits().elements
    formulas = (
        each.formula if isinstance(each, Bulk) else str(each.slab.atoms.symbols) for each in sources
    )
    missing = prices.table.missing([*formulas, *edits])
    if missing:
        raise CampaignError(
            "triage.prices needs every element of the bulks, "
            f"{stated.table if isinstance(stated.table, str) else 'its table'} has no "
            f"{', '.join(missing)}; add them to a table of your own or leave prices out"
        )
    return prices


def _with_content(campaign: Campaign, prices: Prices | None) -> Campaign:
    """Return the campaign with the content of a file of prices: the file may change, or be gone."""
    stated = campaign.triage.prices
    if prices is None or stated is None or stated.table in PRICE_TABLES:
        return campaign
    whole = stated.model_copy(update={"table": prices.table})
    triage = campaign.triage.model_copy(update={"prices": whole})
    return campaign.model_copy(update={"triage": triage})


def _by_name(campaign: Campaign, level: LevelOfTheory, verified_at: LevelOfTheory) -> Campaign:
    """Return the campaign with levels by name, also those from files; one level is stated once."""
    own = None if verified_at.name == level.name else verified_at.name
    verification = campaign.verification.model_copy(update={"level": own})
    return campaign.model_copy(update={"level": level.name, "verification": verification})


def _check_strain(campaign: Campaign, checkpoint: CheckpointDomain) -> None:
    """Refuse strained slabs where the model sees no atoms: their texts are those without strain."""
    if campaign.surfaces.strain and not checkpoint.reads_atoms:
        raise CampaignError(
            f"surfaces.strain is in the atoms of a slab alone, and model {campaign.model!r} reads "
            "only texts: it would give a strained slab the energy of the unstrained one; choose a "
            "model that reads atoms, such as mini, or leave strain out"
        )


def _check_engine(campaign: Campaign, level: LevelOfTheory) -> None:
    engine = campaign.verification.engine
    if engine not in (None, level.engine):
        raise CampaignError(
            f"level {level.name} is computed with {level.engine}, got verification engine "
            f"{engine!r}; leave verification.engine out or change the level"
        )


def _named_adsorbates(campaign: Campaign, folder: Path) -> dict[str, Adsorbate]:
    """Return the adsorbates by the names that the file gives them; ``HCO`` may be ``CHO``."""
    named = {
        name: stated_adsorbate(stated, folder)
        for name, stated in zip(campaign.adsorbate_names(), campaign.adsorbates, strict=True)
    }
    spellings: dict[str, str] = {}
    for name, found in named.items():
        if found.name in spellings:
            raise CampaignError(
                f"each adsorbate is given once; {spellings[found.name]} and {name} are both "
                f"{found.name}; remove one"
            )
        spellings[found.name] = name
    return named


def _adsorbates_of_domain(
    campaign: Campaign, named: Iterable[Adsorbate], domain: Domain
) -> tuple[tuple[Adsorbate, ...], list[Refusal]]:
    kept, refused = [], []
    seen = domain.levels[campaign.level].adsorbates
    for found in named:
        if found.name in seen:
            kept.append(found)
        else:
            reason = (
                f"adsorbate not in the training set at {campaign.level}: {found.name}; "
                f"{nearest_names(found.name, sorted(seen))}, all by sabatier adsorbates --level "
                f"{campaign.level}"
            )
            refused.append(Refusal(found.name, "adsorbate", reason))
    return tuple(kept), refused


def _verifiable_adsorbates(
    adsorbates: Iterable[Adsorbate],
    levels: Iterable[LevelOfTheory],
    locations: EngineLocations | None,
) -> tuple[tuple[Adsorbate, ...], list[Refusal]]:
    kept, refused = tuple(adsorbates), []
    for level in levels:
        elements = computable_elements(level, locations)
        reasons = {a.name: unverifiable(a.name, a.formula, level, elements) for a in kept}
        refused += [Refusal(name, "adsorbate", why) for name, why in reasons.items() if why]
        kept = tuple(each for each in kept if not reasons[each.name])
    return kept, refused


def stated_adsorbate(stated: str | FileAdsorbate | SmilesAdsorbate, folder: Path) -> Adsorbate:
    """Return an adsorbate as a file states it; paths are relative to ``folder``."""
    if isinstance(stated, str):
        return adsorbate(stated)
    if isinstance(stated, FileAdsorbate):
        return adsorbate_from_file(folder / stated.file, tuple(stated.binding), stated.name)
    return adsorbate_from_smiles(stated.smiles, tuple(stated.binding), stated.name)


def _identity(a: Adsorbate) -> tuple[str, ...]:
    return a.name, structure_text(a.atoms), json.dumps(a.binding)
