"""Adsorption energies of H, O, OH and CO on close-packed metals: engines and published values.

    python benchmarks/engines/engines.py                 whatever is missing, level by level
    python benchmarks/engines/engines.py --levels gpaw-pbe-fast --metals Cu --adsorbates H
    python benchmarks/engines/engines.py --table         print what is there, compute nothing

fcc(111), p(2x2), three layers, all held; one adsorbate at the site that the published energies are
of; each level at its own lattice constant, from five volumes. What is finished is a small JSON file
under ``--runs``: a run that was killed goes on, and ``--table`` prints again what the repository
keeps in ``results``, hours of GPAW. Each adslab has a process of its own, so that its memory
is its own.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111
from ase.constraints import FixAtoms

from tasks.enumeration import adsorbate
from tasks.levels import LevelOfTheory, level
from tasks.structures.formats import structure_from_text, structure_text
from tasks.verification.engines import Engine, EngineError, EngineLocation, engine_for
from tasks.verification.labels.energies import EnergyKey
from tasks.verification.labels.verify import RelaxedGeometries, VerifiedEnergy, verify_adslab
from tasks.verification.lattice import equilibrium

HERE = Path(__file__).parent
METALS = ("Cu", "Pt", "Al", "Ni", "Ag", "Au", "Pd")
ADSORBATES = ("H", "O", "CO", "OH")
LEVELS = {  # level: the level whose geometries it takes, or nothing where it relaxes itself
    "emt": "",
    "diep-r2scan": "",
    "gpaw-pbe-fast": "",
    "gpaw-pbe-dense": "gpaw-pbe-fast",
    "gpaw-rpbe-point": "gpaw-pbe-fast",
    "qe-pbe": "gpaw-pbe-fast",
    "qe-pbe-paw": "gpaw-pbe-fast",
}
SITES = {"H": "fcc", "O": "fcc", "OH": "fcc", "CO": "ontop"}
OWN_SITES = {("OH", "Pt"): "ontop", ("CO", "Ni"): "fcc"}
HEIGHTS_ANG = {  # of the lowest atom, where relaxations start
    **{("H", "fcc"): 0.95, ("O", "fcc"): 1.15, ("OH", "fcc"): 1.40, ("OH", "ontop"): 2.00},
    **{("CO", "ontop"): 1.85, ("CO", "fcc"): 1.35},
}
START_LATTICE_ANG = {
    **{"Cu": 3.64, "Pt": 3.97, "Al": 4.04, "Ni": 3.52},
    **{"Ag": 4.15, "Au": 4.16, "Pd": 3.95},
}
VACUUM_ANG = 6.0  # on each side of the clean slab
# OH starts tilted: upright it would keep the symmetry of its site, whether that is a minimum or not
TILT_DEG = {"fcc": 15.0, "ontop": 60.0}


@dataclass(frozen=True)
class Item:
    """One adsorption energy of the benchmark."""

    level: str
    metal: str
    adsorbate: str

    @property
    def site(self) -> str:
        """Return the site that the published energies are of."""
        return OWN_SITES.get((self.adsorbate, self.metal), SITES[self.adsorbate])

    def file(self, runs: Path) -> Path:
        """Return where its result is kept."""
        return runs / self.level / f"{self.metal}-{self.adsorbate}.json"


class FileCache:
    """Reference energies as files, each with the CPU seconds it took."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._begun_s = cpu_s()
        self.spent_s = 0.0

    def get(self, key: EnergyKey) -> float | None:
        """Return the energy kept under a key, or None."""
        file = self._file(key)
        self._begun_s = cpu_s()
        if not file.exists():
            return None
        return float(json.loads(file.read_text())["energy_ev"])

    def put(self, key: EnergyKey, energy_ev: float) -> None:
        """Keep one energy."""
        seconds = cpu_s() - self._begun_s
        self.spent_s += seconds
        kept = {"kind": key.kind, "item": key.item, "energy_ev": energy_ev, "cpu_s": seconds}
        write(self._file(key), kept)

    def _file(self, key: EnergyKey) -> Path:
        return self._folder / "references" / f"{key.kind}-{key.item[:16]}-{key.level_hash[:8]}.json"


def main() -> None:
    """Compute the missing results, then print the tables."""
    options = parse()
    if options.alone:
        item = Item(options.levels[0], options.metals[0], options.adsorbates[0])
        compute_item(item, options.runs)
        return
    if not options.table:
        for item in missing(options):
            in_own_process(item, options.runs)
    from engines_table import print_tables

    print_tables(options.runs, options.levels)


def parse() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description="Engines against published adsorption energies.")
    parser.add_argument("--runs", type=Path, default=HERE / "results")
    parser.add_argument("--levels", nargs="+", default=list(LEVELS), choices=list(LEVELS))
    parser.add_argument("--metals", nargs="+", default=["Cu", "Pt", "Ni", "Al"], choices=METALS)
    parser.add_argument("--adsorbates", nargs="+", default=list(ADSORBATES), choices=ADSORBATES)
    parser.add_argument("--table", action="store_true", help="print and compute nothing")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def missing(options: argparse.Namespace) -> list[Item]:
    """Return the calculations without a result, level by level, in the requested order."""
    items = [
        Item(name, metal, species)
        for name in options.levels
        for metal in options.metals
        for species in options.adsorbates
    ]
    return [item for item in items if not item.file(options.runs).exists()]


def in_own_process(item: Item, runs: Path) -> None:
    """Compute one item in a new interpreter; a failure is printed and the others go on."""
    command = [sys.executable, str(Path(__file__).resolve()), "--alone", "--runs", str(runs)]
    command += ["--levels", item.level, "--metals", item.metal, "--adsorbates", item.adsorbate]
    began = time.monotonic()
    status = subprocess.run(command, check=False).returncode
    ended = "done" if status == 0 else f"FAILED with status {status}"
    took = time.monotonic() - began
    print(f"{item.level} {item.metal} {item.adsorbate}: {ended} in {took:.0f} s", flush=True)


def compute_item(item: Item, runs: Path) -> None:
    """Compute one adsorption energy by the product's own path and keep it.

    Args:
        item: The level, metal, adsorbate and site.
        runs: The folder where energies and references are kept.

    Raises:
        SystemExit: the engine fails; the message names the item.
    """
    theory = find_level(item.level)
    try:
        engine = engine_for(theory, locations=locations())
        start = relaxed_geometries(item, runs)
        lattice = lattice_ang(item, theory, engine, runs)
        slab, adslab = structures(item, lattice)
        began_cpu_s, began_s = cpu_s(), time.monotonic()
        cache = FileCache(runs / item.level)
        found = verify_adslab(
            adslab,
            slab,
            adsorbate(item.adsorbate),
            theory,
            cache,
            engine,
            relaxed=start,
        )
    except EngineError as failure:
        sys.exit(f"{item.level} {item.metal} {item.adsorbate}: {failure}")
    spent = {
        "adslab_cpu_s": cpu_s() - began_cpu_s - cache.spent_s,
        "references_cpu_s": cache.spent_s,
        "all_wall_s": time.monotonic() - began_s,
    }
    write(item.file(runs), report(item, found, lattice, engine) | spent)


def report(
    item: Item, found: VerifiedEnergy, lattice: float, engine: Engine
) -> dict[str, str | float | list[str]]:
    """Return what is kept of one energy.

    Args:
        item: The level, metal, adsorbate and site.
        found: The verified energy.
        lattice: The lattice constant that the slab was cut with, Å.
        engine: The engine that computed it.

    Returns:
        Values by column; energies in eV, lengths in Å, memory in MB.
    """
    return {
        "level": item.level,
        "level_hash": found.level_hash,
        "engine": f"{engine.name} {engine.version()}",
        "site": item.site,
        "lattice_ang": lattice,
        "energy_ev": found.energy_ev,
        "e_adslab_ev": found.e_adslab_ev,
        "e_slab_ev": found.e_slab_ev,
        "reference_ev": found.reference_ev,
        "steps": found.steps,
        "fmax_ev_ang": found.fmax_ev_ang,
        "converged": str(found.converged),
        "flags": [flag.name for flag in found.flags],
        "site_changed": str(found.site_changed),
        "peak_mb": peak_mb(),
        "structure": structure_text(found.atoms),
    }


def find_level(name: str) -> LevelOfTheory:
    """Return a shipped level, or one of the benchmark's own files."""
    own = HERE / "levels" / f"{name}.yaml"
    return level(str(own) if own.exists() else name)


def locations() -> dict[str, EngineLocation]:
    """Return where engines are, as the product's settings name it."""
    command = os.environ.get("SABATIER_QE_COMMAND", "")
    potentials = os.environ.get("SABATIER_QE_POTENTIALS", "")
    return {"quantum-espresso": EngineLocation(command=command, potentials=potentials)}


def structures(item: Item, lattice: float) -> tuple[Atoms, Atoms]:
    """Return the clean slab and the adslab: tags 0 and 1 below, 2 above, all slab atoms held."""
    slab = fcc111(item.metal, (2, 2, 3), a=lattice, vacuum=VACUUM_ANG)
    slab.pbc = True
    slab.set_tags((slab.get_tags() == 1).astype(int))  # ASE counts layers from the top
    slab.set_constraint(FixAtoms(range(len(slab))))
    adslab = slab.copy()
    adslab.info = dict(slab.info)
    height = HEIGHTS_ANG[item.adsorbate, item.site]
    add_adsorbate(adslab, species(item.adsorbate, item.site), height, item.site)
    adslab.set_tags([*slab.get_tags(), *[2] * (len(adslab) - len(slab))])
    return slab, adslab


def species(name: str, site: str) -> Atoms:
    """Return an adsorbate whose first atom binds; CO stands, OH is tilted."""
    if name == "CO":
        return Atoms("CO", positions=[(0, 0, 0), (0, 0, 1.16)])
    if name == "OH":
        tilt = np.radians(TILT_DEG[site])
        # along a mirror plane of the surface, which halves the k-points
        return Atoms("OH", positions=[(0, 0, 0), (0, 0.98 * np.sin(tilt), 0.98 * np.cos(tilt))])
    return Atoms(name)


def lattice_ang(item: Item, theory: LevelOfTheory, engine: Engine, runs: Path) -> float:
    """Return the level's own fcc lattice constant, or that of the level whose geometry is taken."""
    source = LEVELS[item.level] or item.level
    file = runs / source / f"{item.metal}-lattice.json"
    if file.exists():
        return float(json.loads(file.read_text())["lattice_ang"])
    if source != item.level:
        raise SystemExit(f"{file} is missing: run level {source} first")
    began_s, start_ang = cpu_s(), START_LATTICE_ANG[item.metal]
    found = equilibrium(bulk(item.metal, "fcc", a=start_ang), theory, engine)
    a_ang = start_ang * found.stretch
    write(file, {"lattice_ang": a_ang, "cpu_s": cpu_s() - began_s})
    return a_ang


def relaxed_geometries(item: Item, runs: Path) -> RelaxedGeometries | None:
    """Return the geometry that another level relaxed, where this one takes it."""
    source = LEVELS[item.level]
    if not source:
        return None
    file = Item(source, item.metal, item.adsorbate).file(runs)
    if not file.exists():
        raise SystemExit(f"{file} is missing: run level {source} first")
    adslab = structure_from_text(json.loads(file.read_text())["structure"])
    slab = adslab[adslab.get_tags() != 2]
    return RelaxedGeometries(adslab, slab)


def cpu_s() -> float:
    """Return the CPU seconds of this process and of the programs it has run."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def peak_mb() -> float:
    """Return the largest memory (MB) of this process, or of a program it has run."""
    both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(who).ru_maxrss for who in both) / 1024


def write(file: Path, content: object) -> None:
    """Write JSON at once or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1))
    part.replace(file)


if __name__ == "__main__":
    main()
