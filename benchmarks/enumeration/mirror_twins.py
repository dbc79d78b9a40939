"""How far a checkpoint's answers on mirror images of one placement differ.

    python benchmarks/enumeration/mirror_twins.py

Placements at three rotations whose mirror image in a plane of the site is another rotation, on
slabs of the metals and alloys of ``examples/co-oh-beef.yaml``. Energy does not tell mirror images
apart; a network that is equivariant to rotations alone may.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from model.prediction.predictor import load_predictor
from tasks.enumeration import (
    FormulaSpec,
    PlacedAdslab,
    Placement,
    PlacementSpec,
    Slab,
    SlabSpec,
    SurfaceSites,
    adsorbate,
    count_placements,
    enumerate_placements,
    enumerate_slabs,
    place_adsorbate,
    resolve_bulks,
    surface_sites,
)
from tasks.enumeration.placements import mirror_twin
from tasks.prediction.featurise import featurise_all
from tasks.structures.orientation import mirror_line

BULKS = (("Cu", None), ("Pt", None), ("Cu3Pt", "L1_2"), ("CuPd", "B2"))
ADSORBATES = ("OH", "CH2", "CH3", "CHO", "HCOO")
LEVEL = "beef-vdw-ch4"


def twins(slab: Slab, sites: SurfaceSites, name: str) -> Iterator[tuple[PlacedAdslab, ...]]:
    """Yield placements with their mirror images, where these are other placements."""
    species = adsorbate(name)
    line = mirror_line(species.atoms)
    for adslab in enumerate_placements(slab, sites, species, PlacementSpec())[0]:
        site, rotation = adslab.placement.site, adslab.placement.rotation_deg
        if line is None or site.mirror_deg is None:
            continue
        turned = Placement(site, mirror_twin(rotation, site.mirror_deg, line) % 360.0)
        image = place_adsorbate(slab, species, turned, sites.landscape)
        if image.candidate_id != adslab.candidate_id:
            yield adslab, image


def counts(slab: Slab, sites: SurfaceSites, name: str) -> tuple[int, int, int]:
    """Return the placements at three rotations: all, by rotations, by mirror planes too."""
    species, spec = adsorbate(name), PlacementSpec()
    no_mirrors = tuple(replace(site, mirror_deg=None) for site in sites.sites)
    return (
        count_placements(slab, sites, species, replace(spec, drop_equivalent=False)),
        count_placements(slab, replace(sites, sites=no_mirrors), species, spec),
        count_placements(slab, sites, species, spec),
    )


def main() -> None:
    """Predict both of each pair and print how far they differ."""
    parser = argparse.ArgumentParser(description="Compare answers on mirror images.")
    parser.add_argument("--model", default="mini")
    stated = parser.parse_args()
    predictor = load_predictor(stated.model)
    made = np.zeros(3, dtype=int)
    differences: dict[str, list[float]] = {name: [] for name in ADSORBATES}
    for bulk in resolve_bulks([FormulaSpec(*each) for each in BULKS])[0]:
        for slab in enumerate_slabs(bulk, SlabSpec(min_thickness_ang=5.0))[0]:
            sites = surface_sites(slab)
            for name in ADSORBATES:
                made += counts(slab, sites, name)
                both = [adslab for pair in twins(slab, sites, name) for adslab in pair]
                read, _ = featurise_all(both, slab, LEVEL, predictor.bond_rule, sites)
                energies = np.array([p.energy_ev for p in predictor.predict(read)])
                differences[name] += np.abs(energies[::2] - energies[1::2]).tolist()
    print(
        f"{made[0]} placements, {made[1]} without those that rotations make equal, {made[2]} "
        "without mirror images"
    )
    everything = [each for found in differences.values() for each in found]
    for name, found in [*differences.items(), ("all", everything)]:
        apart_mev = 1e3 * np.array(found or [0.0])
        print(
            f"{name:5} {len(found):4} pairs of mirror images differ by {apart_mev.mean():.4f} meV "
            f"on average, {apart_mev.max():.2f} meV at most"
        )


if __name__ == "__main__":
    main()
