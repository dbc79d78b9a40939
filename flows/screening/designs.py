"""Design adslabs for a target energy: the request, every attempt, its files and its table."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from flows.config.campaign import Campaign, Target
from flows.config.surfaces import Bulks
from flows.errors import CampaignError
from model.files import lock_folder, new_file
from model.generation.design import load_designer
from model.generation.stream_sampler import Sampling
from model.prediction.predictor import load_predictor
from tasks.design.checks import CAUSES
from tasks.design.generate import Design, DesignedAdslab, count_causes
from tasks.design.generate import generate_designs as write_designs
from tasks.design.request import DesignRequest, design_request
from tasks.errors import UserError
from tasks.levels import level_name

SUMMARY = "designs.csv"
_COLUMNS = (
    *("number", "file", "cause", "detail", "surface", "energy_ev", "sigma_ev", "error_ev"),
    *("in_domain", "reason", "candidate_id", "stream"),
)
WIDTH_EV = 0.1  # of a campaign's window, either side of the target


@dataclass(frozen=True)
class GenerationRequest:
    """The request to ``sabatier generate``; valid designs enter ``campaign``."""

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


@dataclass(frozen=True)
class GeneratedDesigns:
    """Every attempt at a design in order, and the folder of the valid ones' CIFs."""

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


def table_rows(generated: GeneratedDesigns) -> list[tuple[str, ...]]:
    """Return surface, energy, error (eV), domain and file of each valid design, nearest first."""
    rows: list[tuple[str, ...]] = []
    for design in generated.valid:
        prediction, adslab = design.prediction, design.adslab
        if prediction is not None and adslab is not None:
            rows.append(
                (
                    _surface(adslab),
                    f"{prediction.energy_ev:+.2f} ± {prediction.sigma_ev:.2f}",
                    f"{generated.error_ev(design):+.2f}",
                    "yes" if prediction.in_domain else prediction.reason,
                    cif_name(design, generated.request),
                )
            )
    return rows


def write_generated(generated: GeneratedDesigns) -> None:
    """Write the CIFs of valid designs and one table of all."""
    for design in generated.valid:
        name = cif_name(design, generated.request)
        (generated.folder / name).write_text(design.cif or "", encoding="utf-8")
    with (
        new_file(generated.folder / SUMMARY) as fresh,
        fresh.open("w", encoding="utf-8", newline="") as file,
    ):
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
    lines.append(f"structures   {generated.folder} ({SUMMARY} lists every attempt)")
    return lines


def run_generation(generation: GenerationRequest) -> GeneratedDesigns:
    """Write adslabs, check and predict them, and keep the valid ones as CIFs.

    A campaign that they cannot enter is refused before any is made.

    Args:
        generation: Adsorbate, target energy (eV), number, and the folder of the CIFs.

    Returns:
        Every attempt, valid or not.

    Raises:
        UserError: the target cannot be met, or the folder holds files already.
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
        generation_campaign(generation, request)
    with lock_folder(generation.out, "a generation"):
        _require_empty(generation.out)  # another run may just have ended there
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
    if folder.exists() and (not folder.is_dir() or any(f.name[0] != "." for f in folder.iterdir())):
        raise UserError(f"designs go to a folder that is new or empty, got {folder}")


def generation_campaign(generation: GenerationRequest, request: DesignRequest) -> Campaign:
    """Return the campaign that the valid designs of a request enter."""
    return designs_campaign(
        generation.campaign or "", request, model=generation.model, seed=generation.seed
    )


def designs_campaign(name: str, request: DesignRequest, *, model: str, seed: int) -> Campaign:
    """Return the campaign that the designs of a request enter; its target is the requested energy.

    Args:
        name: The campaign's name.
        request: Adsorbate, level, target energy (eV) and required elements.
        model: The model's name or folder.
        seed: The campaign's seed.

    Returns:
        A campaign file's content, which no file states.

    Raises:
        CampaignError: the name cannot be one, or the request is for a formula, not for a molecule
            that a verification could compute.
    """
    if request.species is None:
        raise CampaignError(
            f"candidates of a campaign name a stored adsorbate, {request.adsorbate} is a formula "
            "of one or more; leave the campaign out, or design an adsorbate by its name"
        )
    target = Target(optimum=request.target_ev, width=WIDTH_EV)
    try:
        return Campaign(
            name=name,
            bulks=Bulks(elements=list(request.requirements.elements)),
            adsorbates=[request.species],
            target={request.species: target},
            level=request.level,
            model=model,
            seed=seed,
        )
    except ValidationError as invalid:
        first = invalid.errors()[0]
        raise CampaignError(f"campaign {name!r}: {first['loc'][0]}: {first['msg']}") from None
