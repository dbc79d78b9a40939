"""The command line: reads settings once, calls one flow, prints what came of it.

Commands import what they need when they run: torch, Prefect and Dask take seconds to import, and
``sabatier --help`` or a query should not wait for them.
"""

import atexit
import errno
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.cli.deployment import deployment_app
from flows.cli.inspect import inspect_app
from flows.cli.interrupt import exit_cleanly_on_signal
from flows.cli.learning import learning_app
from flows.cli.models import model_app
from flows.cli.queue import queue_app
from flows.errors import USER_FAULTS

USER_FAULT_STATUS = 2

app = typer.Typer(
    name="sabatier",
    help="Find the catalysts worth computing.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for part in (inspect_app, learning_app, deployment_app):
    app.registered_commands += part.registered_commands
app.add_typer(queue_app, name="queue")
app.add_typer(model_app, name="model")

Place = Literal["dask", "local", "slurm"]
CampaignFile = Annotated[Path, typer.Argument(help="The campaign file (YAML).")]
DatabaseOption = Annotated[
    str | None, typer.Option(help="Path or URL; without it the campaign's or the default one.")
]


@app.command()
def screen(file: CampaignFile, database: DatabaseOption = None) -> None:
    """Run a campaign, or go on with one that was stopped."""
    with exit_cleanly_on_signal(
        f"stopped; what was finished is stored. Go on with: sabatier screen {file}"
    ):
        from flows.screening.start import start_screening

        start_screening(file, database)


@app.command()
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


@app.command()
def verify(
    campaign: Annotated[str, typer.Argument(help="The campaign's name.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after this many.")] = None,
    engine: Annotated[str | None, typer.Option(help="Must be the engine of the level.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes to start.")] = None,
    on: Annotated[
        Place | None, typer.Option(help="Dask workers, or jobs: of Slurm, or on this machine.")
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
        from flows.verification.start import VerificationRequest, start_verification

        asked = VerificationRequest(on, workers, jobs, profile)
        start_verification(campaign, limit, engine, asked, database)


@app.command()
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


@app.command()
def predict(
    file: Annotated[Path | None, typer.Argument(help="An adslab: CIF, POSCAR, extxyz.")] = None,
    text: Annotated[str, typer.Option(help="A configuration text instead of a file.")] = "",
    adsorbate: Annotated[str, typer.Option(help="Its formula, for a file.")] = "",
    miller: Annotated[str, typer.Option(help="The surface's Miller index, for a file.")] = "",
    bulk: Annotated[str, typer.Option(help="The bulk's formula; else the slab's own.")] = "",
    level: Annotated[str | None, typer.Option(help="Level of theory; else all that fit.")] = None,
    model: Annotated[str, typer.Option(help="An embedded checkpoint or a folder.")] = "mini",
) -> None:
    """Predict one adslab from a file, or from its configuration text alone."""
    from flows.screening.predict_one import predict_file, predict_text, show_predictions

    if (file is None) == (not text):
        _say("predict takes a file or --text, one of them")
        raise typer.Exit(USER_FAULT_STATUS)
    if file is None:
        predictions = predict_text(text, model, level)
    else:
        text, predictions = predict_file(file, adsorbate, miller, bulk, model, level)
        print(text)
    show_predictions(predictions)


@app.command()
def generate(
    adsorbate: Annotated[str, typer.Option(help="The species the adslab carries.")],
    target: Annotated[float, typer.Option(help="The adsorption energy wanted, eV.")],
    out: Annotated[Path, typer.Option(help="Folder for the CIFs and their table.")],
    number: Annotated[int, typer.Option("-n", "--number", help="How many to write.")] = 20,
    bulk: Annotated[str | None, typer.Option(help="The slab's formula; else any metal.")] = None,
    level: Annotated[str | None, typer.Option(help="Level of theory of the target.")] = None,
    model: Annotated[str, typer.Option(help="An embedded checkpoint or a folder.")] = "mini",
    seed: Annotated[int, typer.Option(help="Equal seeds write equal structures.")] = 0,
    campaign: Annotated[str | None, typer.Option(help="Let valid ones enter it.")] = None,
    database: DatabaseOption = None,
) -> None:
    """Write adslabs for a target energy; each is checked, predicted and kept as a CIF."""
    from flows.screening.generate import GenerationRequest, start_generate

    wish = GenerationRequest(
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
    start_generate(wish, database)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A preset's name, or a recipe file (YAML).")],
    table: Annotated[Path, typer.Option(help="The training table (Parquet).")],
    out: Annotated[Path, typer.Option(help="Folder of the run; a stopped run goes on there.")],
    until: Annotated[str, typer.Option(help="The last stage to run; without it all are.")] = "",
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a setting: language.pretrained=/path. May be repeated."),
    ] = None,
) -> None:
    """Train QE-Catalytic, stage by stage, and the baseline; ends with two checkpoint folders."""
    from flows.learning.training import train as run

    for checkpoint in run(recipe, table, out, until=until, changes=changes or []):
        print(f"{checkpoint.kind} {checkpoint.sha256[:12]} {checkpoint.folder}")


def main() -> None:
    """Run the command line; a user's fault is one line and exit status 2."""
    _leave_home_alone()
    # Threads of torch that spin at each barrier make a busy machine fifty times slower, not twice.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except USER_FAULTS as fault:
        _say(" ".join(str(fault).split()))
    except OSError as fault:
        if fault.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _say(
            f"the disk of {fault.filename or 'the run'} is full; free some space and run the same "
            "command again, it goes on where it was"
        )
    sys.exit(USER_FAULT_STATUS)


def _leave_home_alone() -> None:
    """Keep Prefect, which makes ~/.prefect when it is imported, out of a home that has none."""
    if "PREFECT_HOME" in os.environ or (Path.home() / ".prefect").exists():
        return
    folder = tempfile.mkdtemp(prefix="sabatier-prefect-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["PREFECT_HOME"] = folder


def _say(message: str) -> None:
    print(f"sabatier: {message}", file=sys.stderr)


if __name__ == "__main__":
    main()
