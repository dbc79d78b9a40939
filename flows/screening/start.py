"""Begin a screening, its plan or a generation: read file and settings, run, print the end.

Prefect, Dask and torch are imported inside functions: that takes seconds, and a command that finds
nothing to do should answer at once.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flows.cluster.workers import ClusterPlan, TlsFiles, default_workers
from flows.config.campaign import Campaign, load_campaign
from flows.config.engines import read_engine_locations
from flows.config.relaxing import ResolvedRelaxing
from flows.config.resolve import ResolvedCampaign, resolve_campaign
from flows.config.settings import Settings, read_settings
from flows.display.tables import (
    duration,
    show_candidates,
    show_designs,
    show_funnel,
    show_lines,
    show_plan,
)
from flows.errors import CampaignError
from flows.records.campaign_start import record_start
from flows.records.checkpoints import screening_checkpoint
from flows.records.folders import lake_folder
from flows.records.from_rows import stored_bulks
from flows.records.locations import (
    choose_database,
    chosen_database,
    database_if_there,
    logged_run,
    readable_database,
)
from flows.screening.compare_plans import EarlierCampaign, show_comparison
from flows.screening.surfaces import cut_bulks_locally
from flows.verification.flow import DaskWorkers, VerificationRequest, requested_workers
from screening_db.database import Database, campaign_lock, open_database
from screening_db.errors import NoDatabaseError
from screening_db.queries import find_campaign, funnel_counts
from tasks.enumeration import BulkSurfaces
from tasks.reports.plan import CampaignPlan, bulk_notes, plan_campaign, planned_relaxations
from tasks.verification.engines import why_not_computed
from tasks.verification.inputs.resources import relaxation_seconds

if TYPE_CHECKING:
    from flows.screening.designs import GenerationRequest
    from flows.screening.flow import Runtime

_SHOWN = 20
_SLAB_USED = ("slab", "used")
_NO_SLAB = (
    "a campaign needs slabs, none is left to screen: all were refused, with the reasons above; "
    "change surfaces, bulks or slabs in the file"
)


def start_screening(file: Path, database: str | None) -> None:
    """Run the campaign in ``file``, or the rest of it, and print its ranking and funnel.

    Args:
        file: The campaign file.
        database: Path or URL, before what file and settings say.

    Raises:
        CampaignError: the file breaks a rule, the model cannot serve its level, or no slab is left
            to screen; rows and reasons are stored then.
        DatabaseError: the name of the campaign stands for another one in the database.
    """
    settings = read_settings()
    campaign = load_campaign(file)
    address = choose_database(settings, campaign.database, database)
    db, resolved = open_campaign(address, campaign, file.parent, settings)
    _show_notes(resolved)
    with logged_run(db, f"screen {campaign.name}"):
        with campaign_lock(db, campaign.name):
            record_start(db, resolved)
            if find_campaign(db, campaign.name).status == "finished":
                show_lines(f"{campaign.name} was finished before; nothing is left to run")
            else:
                _run(resolved, db, settings)
        show_candidates(db, campaign.name, _SHOWN)
        show_funnel(db, campaign.name)
        show_lines(f"database     {db.where}", f"predictions  {lake_folder(db) / 'predictions'}")
        _show_unverifiable(resolved)
    require_slabs(db, campaign.name)


def require_slabs(db: Database, campaign: str) -> None:
    """Refuse a campaign of which no slab is left to screen; its rows say why.

    Raises:
        CampaignError: all of its slabs were refused.
    """
    if not any((c.stage, c.state) == _SLAB_USED for c in funnel_counts(db, campaign)):
        raise CampaignError(_NO_SLAB)


def _run(resolved: ResolvedCampaign, db: Database, settings: Settings) -> None:
    from flows.cluster.prefect_server import control_plane
    from flows.screening.flow import Runtime

    with control_plane(settings.prefect_api_url) as plane:  # of both stages
        runtime = Runtime(cluster_plan(resolved.campaign, settings), plane)
        screen_and_relax(resolved, db, settings, runtime)


def screen_and_relax(
    resolved: ResolvedCampaign, db: Database, settings: Settings, runtime: "Runtime"
) -> None:
    """Run what is left of a campaign: its screening, then its relaxing stage where it has one.

    Args:
        resolved: The campaign, whose start is recorded.
        db: The database.
        settings: They say where verification computes, and so where pairs are relaxed.
        runtime: The workers and the Prefect server.
    """
    from flows.screening.flow import run_screening

    where = requested_workers(VerificationRequest(), settings, lake_folder(db) / "jobs")
    if resolved.relaxing and isinstance(where, DaskWorkers):
        require_engine(resolved.relaxing, resolved)  # before all placements are scored
    run_screening(resolved, db, lake_folder(db), runtime)
    if resolved.relaxing:
        from flows.screening.ranking.relaxing import relax_pairs

        if isinstance(where, DaskWorkers):
            where = replace(where, cluster=runtime.cluster)
        relax_pairs(resolved, db, runtime, where)


def require_engine(stage: ResolvedRelaxing, resolved: ResolvedCampaign) -> None:
    """Refuse a relaxing stage that this machine cannot compute.

    Raises:
        CampaignError: its engine is not here.
    """
    if reason := why_not_computed(stage.level, resolved.locations):
        raise CampaignError(f"pairs are relaxed at {stage.level.name} here, and {reason}")


def start_plan(file: Path, earlier: EarlierCampaign | None = None) -> None:
    """Count what the campaign in ``file`` would do, all or since another; nothing is stored.

    Args:
        file: The campaign file.
        earlier: The campaign to compare with; None counts all.

    Raises:
        CampaignError: the file breaks a rule, or no slab is left to screen.
    """
    settings = read_settings()
    campaign = load_campaign(file)
    resolved = _resolve_since(campaign, file.parent, settings, earlier)
    workers = cluster_plan(campaign, settings).workers
    surfaces = cut_bulks_locally(resolved)
    planned = plan_campaign(
        surfaces,
        len(resolved.adsorbates),
        model=campaign.model,
        workers=workers,
        keep_per_pair=campaign.stored_per_pair(),
        refused=resolved.refused,
    )
    show_plan(campaign.name, planned, workers)
    if resolved.relaxing:
        _show_relaxing(resolved.relaxing, planned, surfaces, workers)
    _show_notes(resolved)
    if earlier is not None:
        show_comparison(earlier, resolved, surfaces, settings, workers)
    if resolved.verified_at != resolved.level:
        show_lines(f"predicted at {resolved.level.name}, verified at {resolved.verified_at.name}")
    _show_unverifiable(resolved)
    if not planned.slabs:
        raise CampaignError(_NO_SLAB)


def _show_relaxing(
    stage: ResolvedRelaxing,
    planned: CampaignPlan,
    surfaces: Sequence[BulkSurfaces],
    workers: int,
) -> None:
    """Print how much the relaxing stage computes at most, and about how long that takes."""
    pairs, placements = planned_relaxations(planned, stage.per_pair, stage.top)
    slabs = [counted.slab for cut in surfaces for counted in cut.slabs]
    atoms = sum(len(slab.atoms) for slab in slabs) / max(len(slabs), 1)
    each_s = relaxation_seconds(stage.level, atoms)
    show_lines(
        f"relaxes {placements:,} placements of {pairs:,} pairs at most at {stage.level.name}, and "
        f"their slabs: about {duration(each_s * (placements + min(pairs, len(slabs))) / workers)} "
        f"at {each_s:.0f} s each"
    )


def _show_notes(resolved: ResolvedCampaign) -> None:
    """Print where bulks, planes and slabs were read otherwise than their files write them."""
    notes = bulk_notes(resolved.bulks, resolved.campaign.surfaces.spec())
    notes += [f"{own.source}: {own.note}" for own in resolved.own_slabs if own.note]
    if notes:
        more = [f"  and {len(notes) - _SHOWN} more"] if len(notes) > _SHOWN else []
        show_lines(*(f"  {note}" for note in notes[:_SHOWN]), *more)


def _show_unverifiable(resolved: ResolvedCampaign) -> None:
    """Print why the queue cannot be verified on this machine, where it cannot."""
    if reason := why_not_computed(resolved.verified_at, resolved.locations):
        show_lines(f"nothing here verifies the queue of {resolved.campaign.name}: {reason}")


def _resolve_since(
    campaign: Campaign, folder: Path, settings: Settings, earlier: EarlierCampaign | None
) -> ResolvedCampaign:
    """Resolve a campaign; crystals of an earlier, stored one keep the ids that they have there."""
    db = None
    if earlier is not None and not earlier.is_file:
        with suppress(NoDatabaseError):  # who compares with it says that it is not there
            db = readable_database(settings, earlier.database, stated=campaign.database)
    try:
        return resolve_campaign(
            campaign,
            folder,
            settings.mp_api_key,
            read_engine_locations(),
            known=stored_bulks(db),
        )
    finally:
        if db:
            db.close()


def open_campaign(
    address: str, campaign: Campaign, folder: Path, settings: Settings
) -> tuple[Database, ResolvedCampaign]:
    """Open the database and resolve the campaign with the checkpoint that serves in it.

    A database is made once nothing of the campaign is refused.
    """
    db = database_if_there(address, settings)
    try:
        checkpoint = screening_checkpoint(db, campaign) if db else None
        resolved = resolve_campaign(
            campaign,
            folder,
            settings.mp_api_key,
            read_engine_locations(),
            checkpoint,
            stored_bulks(db),
        )
        return db or open_database(address, wait_s=settings.database_wait_s), resolved
    except BaseException:
        if db:
            db.close()
        raise


def cluster_plan(campaign: Campaign, settings: Settings) -> ClusterPlan:
    """Return which workers a campaign wants, as its file and the settings say."""
    stated = campaign.cluster
    hidden = settings.cuda_visible_devices in ("", "-1")
    return ClusterPlan(
        workers=stated.workers or settings.workers or default_workers(),
        address=stated.address or settings.cluster,
        cuda=False if hidden and stated.cuda == "auto" else stated.cuda,
        tls=TlsFiles(
            stated.ca or settings.cluster_ca,
            stated.certificate or settings.cluster_certificate,
            stated.key or settings.cluster_key,
        ),
        insecure=stated.insecure or settings.cluster_insecure,
    )


def start_generation(generation: "GenerationRequest", database: str | None = None) -> None:
    """Write designs, print how they came out, and let the valid ones enter the campaign.

    Args:
        generation: Adsorbate, target energy (eV), number, folder, and the campaign if any.
        database: Path or URL of the campaign's database, where the settings do not say.

    Raises:
        UserError: the target cannot be met, or the folder holds files already.
        ModelError: the checkpoint has no designer.
    """
    from flows.screening.adopt_designs import adopt_designs
    from flows.screening.designs import (
        generation_campaign,
        run_generation,
        summary_lines,
        table_rows,
    )

    made = run_generation(generation)
    wanted = made.request
    title = f"{wanted.adsorbate} for {wanted.target_ev:+.2f} eV at {wanted.level}"
    show_designs(title, table_rows(made), summary_lines(made))
    if generation.campaign is None:
        return
    campaign = generation_campaign(generation, wanted)
    settings = read_settings()
    db = chosen_database(settings, database, create=True)
    with logged_run(db, f"generate for {campaign.name}"):
        entered = adopt_designs(made, campaign, db)
        show_lines(f"campaign     {campaign.name}: {entered} candidates in {db.where}")
