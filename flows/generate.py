"""Design adslabs for a target energy: what ``sabatier generate`` runs."""

from pathlib import Path

from flows.adopt import adopt, designs_campaign
from flows.campaign import Campaign
from flows.generated import Generated, show_generated, write_generated
from flows.places import choose_database
from flows.settings import read_settings
from model.design import load_designer
from model.predictor import load_predictor
from model.stream_sampler import Sampling
from screening_db.engine import open_database
from tasks.design_order import design_order
from tasks.errors import UserError
from tasks.generate import generate as write_designs


def start_generate(
    *,
    adsorbate: str,
    target_ev: float,
    count: int,
    out: Path,
    bulk: str | None = None,
    level: str | None = None,
    model: str = "mini",
    seed: int = 0,
    sampling: Sampling | None = None,
    campaign: str | None = None,
    database: str | None = None,
) -> None:
    """Write designs, print what came of them, and let the valid ones enter ``campaign``."""
    made = generate(
        adsorbate=adsorbate,
        target_ev=target_ev,
        count=count,
        out=out,
        bulk=bulk,
        level=level,
        model=model,
        seed=seed,
        sampling=sampling,
        campaign=campaign,
    )
    show_generated(made)
    if campaign is not None:
        _enter(made, designs_campaign(campaign, made.order, model=model, seed=seed), database)


def _enter(made: Generated, campaign: Campaign, database: str | None) -> None:
    db = open_database(choose_database(read_settings(), None, database))
    try:
        entered = adopt(made, campaign, db)
        print(f"campaign     {campaign.name}: {entered} candidates in {db.where}")
    finally:
        db.close()


def generate(
    *,
    adsorbate: str,
    target_ev: float,
    count: int,
    out: Path,
    bulk: str | None = None,
    level: str | None = None,
    model: str = "mini",
    seed: int = 0,
    sampling: Sampling | None = None,
    campaign: str | None = None,
) -> Generated:
    """Write ``count`` adslabs, check and predict them, and keep the valid ones as CIFs in ``out``.

    A ``campaign`` is the name that valid designs are to enter: one they cannot is refused here,
    before any is made.

    Raises:
        UserError: the order cannot be met, or ``out`` holds files already.
        ModelError: the checkpoint has no designer.
    """
    if count < 1:
        raise UserError(f"the number of designs is 1 or more, got {count}")
    _require_empty(out)
    designer = load_designer(model)
    order = design_order(designer.levels, adsorbate, target_ev, bulk=bulk, level=level)
    if campaign is not None:
        designs_campaign(campaign, order, model=model, seed=seed)
    designs = write_designs(
        designer, load_predictor(model), order, count=count, seed=seed, sampling=sampling
    )
    generated = Generated(order, tuple(designs), out, designer.checkpoint_sha256)
    write_generated(generated)
    return generated


def _require_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"designs go to a folder that is new or empty, got {folder}")
