"""What came of an order for designs: its files, its table, and what is printed of it."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from tasks.design.checks import CAUSES
from tasks.design.generate import Design, DesignedAdslab, count_causes
from tasks.design.request import DesignRequest

SUMMARY = "designs.csv"
_COLUMNS = (
    *("number", "file", "cause", "detail", "surface", "energy_ev", "sigma_ev", "error_ev"),
    *("in_domain", "reason", "candidate_id", "stream"),
)
_SHOWN = 20


@dataclass(frozen=True)
class GeneratedDesigns:
    """What came of an order: every attempt in order, and the folder of the valid ones' CIFs."""

    request: DesignRequest
    designs: tuple[Design, ...]
    folder: Path
    designer_sha256: str

    @property
    def valid(self) -> list[Design]:
        """Return the designs that passed every check, nearest to the target first."""
        found = [design for design in self.designs if design.verdict.is_valid]
        return sorted(found, key=lambda d: (abs(self.error_ev(d)), d.number))

    def error_ev(self, design: Design) -> float:
        """Return predicted minus target energy of a valid design."""
        error = design.error_ev(self.request.target_ev)
        return float("nan") if error is None else error


def write_generated(generated: GeneratedDesigns) -> None:
    """Write the CIFs of valid designs and one table of all."""
    generated.folder.mkdir(parents=True, exist_ok=True)
    for design in generated.valid:
        name = cif_name(design, generated.request)
        (generated.folder / name).write_text(design.cif or "", encoding="utf-8")
    with (generated.folder / SUMMARY).open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(_COLUMNS)
        table.writerows(_line(design, generated.request) for design in generated.designs)


def cif_name(design: Design, request: DesignRequest) -> str:
    """Return the name of a valid design's file, such as ``007-CO-Cu3Pt-111.cif``."""
    if design.adslab is None:
        raise ValueError(f"design {design.number} is not valid and has no file")
    indices = "".join(str(index) for index in design.adslab.miller)
    name = request.adsorbate.replace("(", "").replace(")", "")
    return f"{design.number:03d}-{name}-{design.adslab.bulk_formula}-{indices}.cif"


def _line(design: Design, request: DesignRequest) -> list[object]:
    prediction, adslab = design.prediction, design.adslab
    error = design.error_ev(request.target_ev)
    return [
        design.number,
        "" if adslab is None else cif_name(design, request),
        design.verdict.cause or "",
        design.verdict.detail,
        "" if adslab is None else _surface(adslab),
        *(
            ("", "", "")
            if prediction is None
            else (f"{prediction.energy_ev:.4f}", f"{prediction.sigma_ev:.4f}", f"{error:.4f}")
        ),
        *(("", "") if prediction is None else (prediction.in_domain, prediction.reason)),
        "" if adslab is None else adslab.candidate_id,
        " ".join(design.tokens),
    ]


def _surface(adslab: DesignedAdslab) -> str:
    h, k, l = adslab.miller  # noqa: E741  the names of Miller indices
    return f"{adslab.bulk_formula} ({h} {k} {l})"


def show_generated(generated: GeneratedDesigns) -> None:
    """Print the valid designs, those nearest to the target first, and how many were not valid."""
    request, valid = generated.request, generated.valid
    table = Table(title=f"{request.adsorbate} for {request.target_ev:+.2f} eV at {request.level}")
    for column in ("surface", "energy (eV)", "off target", "in domain", "file"):
        table.add_column(column, justify="right" if column == "off target" else "left")
    for design in valid[:_SHOWN]:
        prediction, adslab = design.prediction, design.adslab
        if prediction is not None and adslab is not None:
            energy = f"{prediction.energy_ev:+.2f} ± {prediction.sigma_ev:.2f}"
            error = f"{generated.error_ev(design):+.2f}"
            domain = "yes" if prediction.in_domain else prediction.reason
            table.add_row(_surface(adslab), energy, error, domain, cif_name(design, request))
    Console().print(table)
    for line in summary_lines(generated):
        print(line)


def summary_lines(generated: GeneratedDesigns) -> list[str]:
    """Return the count of valid designs, of each cause, and the error against the target."""
    designs, valid = generated.designs, generated.valid
    lines = [f"valid        {len(valid)} of {len(designs)} ({len(valid) / len(designs):.0%})"]
    distinct = len({d.adslab.candidate_id for d in valid if d.adslab is not None})
    lines += [f"distinct     {distinct} of {len(valid)}"] if distinct < len(valid) else []
    lines += [
        f"{cause:12} {count}: {CAUSES[cause]}"
        for cause, count in count_causes(designs).most_common()
    ]
    if valid:
        errors = np.abs([generated.error_ev(design) for design in valid])
        lines.append(f"off target   {np.median(errors):.2f} eV median, {errors.min():.2f} eV best")
    lines.append(f"structures   {generated.folder} ({SUMMARY} tells of every attempt)")
    return lines
