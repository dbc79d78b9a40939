"""Print what relaxing an adslab of campaign size with a potential costs one core.

    python benchmarks/speed/relaxation.py

Each placement is the first of its adsorbate on a (111) slab of 36 atoms, four layers, two of them
held, as the product cuts and places it. CPU time of one thread, the model loaded before; once with
the environment that workers are started with, which keep the memory that tensors give back, and
once without it. Both are new processes, for memory is set up when one begins.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from flows.cluster.workers import worker_variables
from tasks.enumeration import (
    FormulaSpec,
    PlacementSpec,
    SlabSpec,
    adsorbate,
    enumerate_placements,
    enumerate_slabs,
    resolve_bulks,
    surface_sites,
)
from tasks.levels import level
from tasks.verification.engines import engine_for
from tasks.verification.relaxation.compute import compute

PAIRS = (("Cu", "CO"), ("Cu", "OH"), ("Pt", "O"), ("Pt", "CH3"), ("Ni", "CH"), ("Pd", "COOH"))


def main() -> None:
    """Measure with and without the environment of workers."""
    parser = argparse.ArgumentParser(description="CPU seconds of a relaxation.")
    parser.add_argument("--level", default="diep-r2scan")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        measure(options.level)
        return
    rest = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    of_workers = worker_variables(1)
    threads = {key: value for key, value in of_workers.items() if not key.startswith("MALLOC_")}
    for title, added in (("as workers are started", of_workers), ("memory given back", threads)):
        print(f"{title}:", flush=True)
        command = [sys.executable, str(Path(__file__).resolve()), "--alone"]
        subprocess.run([*command, "--level", options.level], env=rest | added, check=True)


def measure(name: str) -> None:
    """Print atoms, steps and CPU seconds of each relaxation, and their median."""
    theory = level(name)
    engine, spent_s = engine_for(theory), []
    for metal, species in (PAIRS[0], *PAIRS):  # the first is done twice: it loads the model
        (bulk,), _ = resolve_bulks([FormulaSpec(metal)])
        cut = SlabSpec(millers=((1, 1, 1),), miller_axes="conventional", min_in_plane_ang=7.0)
        slab = enumerate_slabs(bulk, cut)[0][0]
        spec = PlacementSpec(rotations=1)
        placed, _ = enumerate_placements(slab, surface_sites(slab), adsorbate(species), spec)
        began = time.process_time()
        done = compute(placed[0].atoms, theory, engine)
        spent_s.append(time.process_time() - began)
        if len(spent_s) > 1:
            ended = "" if done.converged else ", not converged"
            of = f"  {species} on {metal}: {len(placed[0].atoms)} atoms"
            print(f"{of}, {done.steps} steps, {spent_s[-1]:.1f} s{ended}")
    print(f"  median {statistics.median(spent_s[1:]):.1f} CPU s, largest {max(spent_s[1:]):.1f}")


if __name__ == "__main__":
    main()
