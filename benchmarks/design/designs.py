"""Print how many structures written to request are valid, and how near they come to their targets.

    python benchmarks/design/designs.py --model mini --level pbe-d2-molecule

Orders are drawn by lot: an adsorbate of the level, a target within the energies seen for it, and
half of the time a bulk of the level: a metal or, with ``--alloys``, AB or A3B of two of them. Each
is written several times. A structure counts as valid when every check that ``sabatier generate``
makes is passed; energies are the checkpoint's own.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from model.contract import Predictor
from model.generation.design import Designer, SeenLevel, load_designer
from model.generation.stream_sampler import Sampling
from model.prediction.predictor import load_predictor
from tasks.design.checks import CAUSES
from tasks.design.generate import Design, generate_designs
from tasks.design.request import DesignRequest, design_request


@dataclass(frozen=True)
class AnsweredRequest:
    """One request and the designs that answer it."""

    request: DesignRequest
    has_bulk: bool
    designs: tuple[Design, ...]


def main() -> None:
    """Have structures written, and print one table."""
    options = _options()
    torch.set_num_threads(1)
    designer, predictor = load_designer(options.model), load_predictor(options.model)
    sampling = Sampling(temperature=options.temperature)
    answered = list(_answered_requests(designer, predictor, options, sampling))
    for name, chosen in (
        ("bulk named", [w for w in answered if w.has_bulk]),
        ("any bulk", [w for w in answered if not w.has_bulk]),
        ("all", answered),
    ):
        print(_line(name, chosen))
    faults = Counter(d.verdict.cause for w in answered for d in w.designs if d.verdict.cause)
    for cause, count in faults.most_common():
        print(f"  {cause:<12}{count:>5}  {CAUSES[cause]}")
    targets = np.array([w.request.target_ev for w in answered])
    means = np.array([_mean_energy(w) for w in answered])
    finite = np.isfinite(means)
    print(
        f"targets and mean energies of {finite.sum()} requests: correlation "
        f"{np.corrcoef(targets[finite], means[finite])[0, 1]:.2f}"
    )


def _answered_requests(
    designer: Designer, predictor: Predictor, options: argparse.Namespace, sampling: Sampling
) -> Iterator[AnsweredRequest]:
    rng = np.random.default_rng(options.seed)
    seen = designer.levels[options.level]
    for number in range(options.requests):
        request, has_bulk = _draw(designer, seen, options, rng)
        designs = generate_designs(
            designer,
            predictor,
            request,
            count=options.each,
            seed=options.seed + number,
            sampling=sampling,
        )
        yield AnsweredRequest(request, has_bulk, tuple(designs))


def _draw(
    designer: Designer, seen: SeenLevel, options: argparse.Namespace, rng: np.random.Generator
) -> tuple[DesignRequest, bool]:
    name = str(rng.choice(sorted(seen.adsorbates)))
    span = seen.adsorbates[name]
    target_ev = round(float(rng.uniform(span.lowest_ev, span.highest_ev)), 2)
    bulk = _bulk(seen, options.alloys, rng) if rng.random() < 0.5 else None
    request = design_request(designer.levels, name, target_ev, bulk=bulk, level=options.level)
    return request, bulk is not None


def _bulk(seen: SeenLevel, alloys: bool, rng: np.random.Generator) -> str:
    if not alloys:
        return str(rng.choice(seen.elements))
    first, second = rng.choice(seen.elements, size=2, replace=False)
    return f"{first}{rng.choice(['', '3'])}{second}"


def _line(name: str, answered: list[AnsweredRequest]) -> str:
    designs = [(w, d) for w in answered for d in w.designs]
    if not designs:
        return f"{name:<12}none"
    valid = [(w, d) for w, d in designs if d.verdict.is_valid]
    other = sum(d.verdict.cause in ("composition", "unfinished", "unreadable") for _, d in designs)
    off = [abs(e) for w, d in valid if (e := d.error_ev(w.request.target_ev)) is not None]
    error = f", median off target {np.median(off):.2f} eV" if off else ""
    return (
        f"{name:<12}{len(answered)} requests, {len(designs)} written: "
        f"{len(valid) / len(designs):.0%} valid, composition as asked "
        f"{1 - other / len(designs):.0%}{error}"
    )


def _mean_energy(answered: AnsweredRequest) -> float:
    found = [d.prediction.energy_ev for d in answered.designs if d.prediction is not None]
    return float(np.mean(found)) if found else float("nan")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Validity of structures written to request.")
    parser.add_argument("--model", default="mini", help="an embedded name or a folder")
    parser.add_argument("--level", default="pbe-d2-molecule")
    parser.add_argument("--requests", type=int, default=30)
    parser.add_argument("--alloys", action="store_true", help="bulks of two elements")
    parser.add_argument("--each", type=int, default=10)
    parser.add_argument("--temperature", type=float, default=Sampling().temperature)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
