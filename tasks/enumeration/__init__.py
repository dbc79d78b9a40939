"""Every surface of a bulk and every placement of an adsorbate on it.

Bulks are cut into slabs, slabs offer sites, and adsorbates are placed on these: each step is a
module, and what other packages need of them is imported from here.
"""

from tasks.enumeration.adsorbates import (
    ALIASES,
    Adsorbate,
    adsorbate,
    adsorbate_from_file,
    adsorbate_from_smiles,
    adsorbate_names,
    species_name,
)
from tasks.enumeration.bulks import (
    Bulk,
    BulkSpec,
    FileSpec,
    FormulaSpec,
    KnownBulks,
    MaterialsProjectSpec,
    alloy_specs,
    no_known_bulks,
    primitive_cell,
    resolve_bulks,
)
from tasks.enumeration.custom.own_slabs import OwnSlab, OwnSlabSpec, read_own_slabs
from tasks.enumeration.custom.random_alloys import RandomAlloySpec, cells_of
from tasks.enumeration.custom.slab_edits import SlabEdits
from tasks.enumeration.docking import OVERLAP_FACTOR, Placement, aim_point, refusal_reasons
from tasks.enumeration.miller import Miller, checked_miller, miller_from_text, miller_word
from tasks.enumeration.placements import (
    Adslab,
    PlacedAdslab,
    PlacementSpec,
    adslab_from_recipe,
    adslab_recipe,
    count_placements,
    enumerate_placements,
    place_adsorbate,
    refusal_reason,
)
from tasks.enumeration.sites import Site, SurfaceSites, surface_sites
from tasks.enumeration.slabs import MillerAxes, Slab, SlabSpec, enumerate_slabs, stated_planes
from tasks.enumeration.surfaces import (
    BulkSurfaces,
    CountedSlab,
    enumerate_surfaces,
    own_surfaces,
    refused_crystal,
)

__all__ = [
    "ALIASES",
    "OVERLAP_FACTOR",
    "Adslab",
    "Adsorbate",
    "Bulk",
    "BulkSpec",
    "BulkSurfaces",
    "CountedSlab",
    "FileSpec",
    "FormulaSpec",
    "KnownBulks",
    "MaterialsProjectSpec",
    "Miller",
    "MillerAxes",
    "OwnSlab",
    "OwnSlabSpec",
    "PlacedAdslab",
    "Placement",
    "PlacementSpec",
    "RandomAlloySpec",
    "Site",
    "Slab",
    "SlabEdits",
    "SlabSpec",
    "SurfaceSites",
    "adslab_from_recipe",
    "adslab_recipe",
    "adsorbate",
    "adsorbate_from_file",
    "adsorbate_from_smiles",
    "adsorbate_names",
    "aim_point",
    "alloy_specs",
    "cells_of",
    "checked_miller",
    "count_placements",
    "enumerate_placements",
    "enumerate_slabs",
    "enumerate_surfaces",
    "miller_from_text",
    "miller_word",
    "no_known_bulks",
    "own_surfaces",
    "place_adsorbate",
    "primitive_cell",
    "read_own_slabs",
    "refusal_reason",
    "refusal_reasons",
    "refused_crystal",
    "resolve_bulks",
    "species_name",
    "stated_planes",
    "surface_sites",
]
