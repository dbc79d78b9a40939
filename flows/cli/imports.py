"""Commands that bring in what others computed, and compare models with it."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.cli.interrupt import exit_cleanly_on_signal
from flows.cli.options import DatabaseOption

import_app = typer.Typer(
    no_args_is_help=True, help="Bring in results that were computed elsewhere."
)


@import_app.callback()
def _group() -> None:
    """Keep ``labels`` a command of its own where it is the only one."""


@import_app.command("labels")
def import_labels(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="A CSV table, extxyz, an ASE database, outputs of programs, or a folder of these.",
        ),
    ],
    level: Annotated[str, typer.Option(help="Level of theory of the labels, or its file (YAML).")],
    energies: Annotated[
        Literal["total", "adsorption"], typer.Option(help="What the energies of the source are.")
    ],
    gas: Annotated[
        list[str] | None, typer.Option(help="Total energy (eV) of a gas molecule: H2=-6.77.")
    ] = None,
    gases: Annotated[
        Path | None, typer.Option(help="Or a CSV table of them: molecule, energy_ev.")
    ] = None,
    reference: Annotated[
        str, typer.Option(help="What adsorption energies are counted from: 'CO, H2O, H2'.")
    ] = "",
    adsorbate: Annotated[str, typer.Option(help="Of rows that do not name theirs.")] = "",
    miller: Annotated[str, typer.Option(help="Of rows whose slab does not tell: '1 1 1'.")] = "",
    bulk: Annotated[str, typer.Option(help="The bulk's formula; else the slab's own.")] = "",
    name: Annotated[str, typer.Option(help="What the import is called; else its files.")] = "",
    tolerance: Annotated[
        float, typer.Option(min=0, help="Energies of one placement may differ by so much (eV).")
    ] = 0.05,
    report: Annotated[
        Path | None, typer.Option(help="Write the outcome of each row (CSV).")
    ] = None,
    database: DatabaseOption = None,
) -> None:
    """Import labels that were computed elsewhere; every row is in or has its reason."""
    with exit_cleanly_on_signal("stopped; nothing was stored. Run the same command again"):
        from flows.learning.own_labels import ImportRequest, start_import

        start_import(
            ImportRequest(
                sources=sources,
                level=level,
                energies=energies,
                gas=gas or [],
                gases=gases,
                reference=reference,
                adsorbate=adsorbate,
                miller=miller,
                bulk=bulk,
                name=name,
                tolerance_ev=tolerance,
                report=report,
                database=database,
            )
        )
