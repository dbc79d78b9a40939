"""Commands that run a campaign or a part of one, once or on a schedule."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.cli.interrupt import exit_cleanly_on_signal
from flows.cli.options import CampaignFile, CampaignName, DatabaseOption, PredictorOption

screening_app = typer.Typer()


@screening_app.command()
def screen(file: CampaignFile, database: DatabaseOption = None) -> None:
    """Run a campaign, or go on with one that was stopped."""
    with exit_cleanly_on_signal(
        f"stopped; what was finished is stored. Go on with: sabatier screen {file}"
    ):
        from flows.screening.start import start_screening

        start_screening(file, database)


@screening_app.command()
def plan(
    file: CampaignFile,
    since: Annotated[
        str | None, typer.Option(help="Compare with this campaign file or stored campaign.")
    ] = None,
    database: DatabaseOption = None,
) -> None:
    """Count bulks, slabs, pairs and placements, and estimate time and disk."""
    from flows.screening.compare_plans import EarlierCampaign
    from flows.screening.start import start_plan

    start_plan(file, None if since is None else EarlierCampaign(since, database))


@screening_app.command()
def verify(
    campaign: CampaignName,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after this many.")] = None,
    engine: Annotated[str | None, typer.Option(help="Must be the engine of the level.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes to start.")] = None,
    on: Annotated[
        Literal["dask", "local", "slurm"] | None,
        typer.Option(help="Dask workers, or jobs: of Slurm, or on this machine."),
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Jobs in flight at once.")] = None,
    profile: Annotated[Path | None, typer.Option(help="How jobs are submitted (YAML).")] = None,
    database: DatabaseOption = None,
) -> None:
    """Drain the queue of the campaign's level of theory with that level's engine."""
    with exit_cleanly_on_signal(
        "stopped; labels so far are stored, and jobs that were submitted run on. Go on with the "
        f"same command: sabatier verify {campaign}"
    ):
        from flows.verification.flow import VerificationRequest, start_verification

        request = VerificationRequest(on, workers, jobs, profile)
        start_verification(campaign, limit, engine, request, database)


@screening_app.command()
def lattice(
    file: CampaignFile,
    level: Annotated[str, typer.Option(help="The level of theory (its name, or a YAML file).")],
    out: Annotated[Path, typer.Option(help="Folder of the crystals' files.")] = Path("crystals"),
) -> None:
    """Compute the lattice constants of a campaign's bulks, as files that it can take instead."""
    with exit_cleanly_on_signal(
        "stopped; the crystals so far are written. Go on with: "
        f"sabatier lattice {file} --level {level} --out {out}"
    ):
        from flows.screening.lattice import start_lattice

        start_lattice(file, level, out)


@screening_app.command()
def predict(
    file: Annotated[Path | None, typer.Argument(help="An adslab: CIF, POSCAR, extxyz.")] = None,
    text: Annotated[str, typer.Option(help="A configuration text instead of a file.")] = "",
    adsorbate: Annotated[str, typer.Option(help="Its formula, for a file.")] = "",
    miller: Annotated[str, typer.Option(help="Its Miller index; else the slab's plane.")] = "",
    bulk: Annotated[str, typer.Option(help="The bulk's formula; else the slab's own.")] = "",
    level: Annotated[str | None, typer.Option(help="Level of theory; else all that fit.")] = None,
    model: PredictorOption = "mini",
) -> None:
    """Predict one adslab from a file, or from its configuration text alone."""
    from flows.display.tables import show_lines, show_predictions
    from flows.errors import CampaignError
    from flows.screening.predict_one import predict_file, predict_text

    if (file is None) == (not text):
        raise CampaignError(
            "predict takes a structure file or --text, one of them; see: sabatier predict --help"
        )
    if file is None:
        predictions = predict_text(text, model, level)
    else:
        answer = predict_file(file, adsorbate, miller, bulk, model, level)
        show_lines(answer.text, *([f"note: {answer.note}"] if answer.note else []))
        predictions = answer.predictions
    show_predictions(predictions)


@screening_app.command()
def generate(
    adsorbate: Annotated[str, typer.Option(help="The species the adslab carries.")],
    target: Annotated[float, typer.Option(help="The adsorption energy to reach, eV.")],
    out: Annotated[Path, typer.Option(help="Folder for the CIFs and their table.")],
    number: Annotated[int, typer.Option("-n", "--number", help="How many to write.")] = 20,
    bulk: Annotated[str | None, typer.Option(help="The slab's formula; else any metal.")] = None,
    level: Annotated[str | None, typer.Option(help="Level of theory of the target.")] = None,
    model: PredictorOption = "mini",
    seed: Annotated[int, typer.Option(help="Equal seeds write equal structures.")] = 0,
    campaign: Annotated[str | None, typer.Option(help="Let valid ones enter it.")] = None,
    database: DatabaseOption = None,
) -> None:
    """Write adslabs for a target energy; each is checked, predicted and kept as a CIF."""
    from flows.screening.designs import GenerationRequest
    from flows.screening.start import start_generation

    request = GenerationRequest(
        adsorbate=adsorbate,
        target_ev=target,
        count=number,
        out=out,
        bulk=bulk,
        level=level,
        model=model,
        seed=seed,
        campaign=campaign,
    )
    start_generation(request, database)


@screening_app.command()
def deploy(
    file: Annotated[
        Path | None, typer.Argument(help="A deployments file (YAML); else the one that ships.")
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Then work here until stopped.")] = False,
) -> None:
    """Register campaigns, schedules and triggers on a Prefect server; again changes nothing."""
    with exit_cleanly_on_signal(
        "stopped; deployments and schedules stay on the server, nothing runs them here"
    ):
        from flows.deployment.register import start_deploy

        start_deploy(file, serve=serve)
