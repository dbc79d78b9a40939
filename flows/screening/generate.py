"""Design adslabs for a target energy: what ``sabatier generate`` runs."""

from dataclasses import dataclass
from pathlib import Path

from flows.config.campaign import Campaign
from flows.config.settings import read_settings
from flows.records.locations import choose_database, logged_run
from flows.screening.adopt_designs import adopt_designs, designs_campaign
from flows.screening.generated import GeneratedDesigns, show_generated, write_generated
from model.generation.design import load_designer
from model.generation.stream_sampler import Sampling
from model.prediction.predictor import load_predictor
from screening_db.database.engine import open_database
from tasks.design.generate import generate_designs as write_designs
from tasks.design.request import DesignRequest, design_request
from tasks.errors import UserError
from tasks.levels import level_name


@dataclass(frozen=True)
class GenerationRequest:
    """What a user asks ``sabatier generate`` for; ``campaign`` is what valid designs enter."""

    adsorbate: str
    target_ev: float
    count: int
    out: Path
    bulk: str | None = None
    level: str | None = None
    model: str = "mini"
    seed: int = 0
    sampling: Sampling | None = None
    campaign: str | None = None


def start_generate(generation: GenerationRequest, database: str | None = None) -> None:
    """Write designs, print what came of them, and let the valid ones enter the campaign."""
    made = run_generation(generation)
    show_generated(made)
    if generation.campaign is not None:
        _enter(made, _campaign(generation.campaign, generation, made.request), database)


def _campaign(name: str, generation: GenerationRequest, request: DesignRequest) -> Campaign:
    return designs_campaign(name, request, model=generation.model, seed=generation.seed)


def _enter(made: GeneratedDesigns, campaign: Campaign, database: str | None) -> None:
    db = open_database(choose_database(read_settings(), None, database))
    with logged_run(db, f"generate for {campaign.name}"):
        entered = adopt_designs(made, campaign, db)
        print(f"campaign     {campaign.name}: {entered} candidates in {db.where}")


def run_generation(generation: GenerationRequest) -> GeneratedDesigns:
    """Write adslabs, check and predict them, and keep the valid ones as CIFs in ``wish.out``.

    A campaign that they cannot enter is refused before any is made.

    Raises:
        UserError: the order cannot be met, or ``out`` holds files already.
        ModelError: the checkpoint has no designer.
    """
    if generation.count < 1:
        raise UserError(f"the number of designs is 1 or more, got {generation.count}")
    _require_empty(generation.out)
    designer = load_designer(generation.model)
    level = None if generation.level is None else level_name(generation.level)
    request = design_request(
        designer.levels,
        generation.adsorbate,
        generation.target_ev,
        bulk=generation.bulk,
        level=level,
    )
    if generation.campaign is not None:
        _campaign(generation.campaign, generation, request)
    designs = write_designs(
        designer,
        load_predictor(generation.model),
        request,
        count=generation.count,
        seed=generation.seed,
        sampling=generation.sampling,
    )
    generated = GeneratedDesigns(
        request, tuple(designs), generation.out, designer.checkpoint_sha256
    )
    write_generated(generated)
    return generated


def _require_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"designs go to a folder that is new or empty, got {folder}")
