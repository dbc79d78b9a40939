"""The candidates of a replayed campaign: pairs of a surface and a reaction, from the Mamun rows.

An answer to a pair is the lowest energy of its rows (its adsorption sites): the global minimum. The
rows of one pair cannot be distinguished, as the table has no geometry. Their numbers in the table
rise with the energy more often than not, so no order is taken from the table anywhere.

Shapes  R pairs, S surfaces, F features. Units: eV.
"""

import lzma
import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
from ase import Atoms
from ase.io import read
from numpy.typing import NDArray

from model.contract import Configuration
from model.elements import composition
from model.prediction.slab_features import slab_features
from model.text.text_features import ADSORBATE_ELEMENTS, text_features
from tasks.structures.standard_frame import clean_frame

SHARE = 0.01  # of the pairs of each reaction, those of lowest energy are the ones to find
SEEDED = 0.01  # of the pairs are known from the start, taken by lot
# Nitrogen held about as firmly as on the metals that make ammonia, and hydrogen not at all.
WINDOWS = {"0.5N2(g) + * -> N*": (-1.0, -0.5), "0.5H2(g) + * -> H*": (-0.1, 10.0)}
GOALS = ("lowest", "window")


@dataclass(frozen=True, eq=False)
class Pool:
    """Properties of R pairs that are known before anything is calculated: no energy is in it.

    ``partner_R`` is the other pair of the same surface that a target asks for as well, -1 without.
    """

    ids: tuple[str, ...]
    surface_R: NDArray[np.int64]
    reaction_R: NDArray[np.int64]
    features_RF: NDArray[np.float64]
    descriptors_RD: NDArray[np.float64]  # for the Gaussian process: complete and scaled
    low_R: NDArray[np.float64]
    high_R: NDArray[np.float64]  # without meaning where the line is estimated
    partner_R: NDArray[np.int64]
    has_windows: bool

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Answers:
    """Energies of calculations, the rows that each takes, and the pairs that count as finds."""

    energy_R: NDArray[np.float64]
    relaxations_R: NDArray[np.int64]
    wanted_R: NDArray[np.bool_]  # a find counts once all members of its group are requested
    group_R: NDArray[np.int64]

    def found(self, requested_R: NDArray[np.bool_]) -> int:
        """Return how many finds are complete."""
        missing = set(self.group_R[self.wanted_R & ~requested_R].tolist())
        return self.to_find - len(missing)

    @property
    def to_find(self) -> int:
        """Return how many there are."""
        return len(set(self.group_R[self.wanted_R].tolist()))


def read_pool(data: Path, goal: str, cache: Path) -> tuple[Pool, Answers]:
    """Return the candidates of a goal and what the table answers."""
    columns = ["surface", "facet", "reference", "adsorbate", "e_ads"]
    rows = pd.read_parquet(data / "mamun_reactions.parquet", columns=columns)
    keys = ["surface", "facet", "reference", "adsorbate"]
    pairs = rows.groupby(keys, sort=True).e_ads.agg(["min", "size"]).reset_index()
    described = _described(data, pairs, cache / "surfaces.npz")
    if goal == "window":
        both = pairs[pairs.reference.isin(WINDOWS)].groupby("surface").reference.nunique() == 2
        chosen = pairs.reference.isin(WINDOWS) & pairs.surface.map(both).fillna(False).astype(bool)
        pairs = pairs[chosen].reset_index(drop=True)
    surfaces = pairs.drop_duplicates("surface")[["surface", "facet"]].reset_index(drop=True)
    described_SF = np.array([described[name] for name in surfaces.surface])
    return _pool(pairs, surfaces, described_SF, goal), _answers(pairs, goal)


def _pool(
    pairs: pd.DataFrame, surfaces: pd.DataFrame, described_SF: NDArray[np.float64], goal: str
) -> Pool:
    surface_R = pd.Categorical(pairs.surface, categories=surfaces.surface).codes.astype(np.int64)
    reaction_R = np.unique(pairs.reference, return_inverse=True)[1]
    species_RF = np.array(
        [_species(a, r) for a, r in zip(pairs.adsorbate, pairs.reference, strict=True)]
    )
    has_windows = goal == "window"
    windows = pairs.reference.map(WINDOWS) if has_windows else [(-1e3, 1e3)] * len(pairs)
    fractions_SZ = _fractions(surfaces)
    return Pool(
        ids=tuple(f"{s}/{r}" for s, r in zip(pairs.surface, pairs.reference, strict=True)),
        surface_R=surface_R,
        reaction_R=reaction_R,
        features_RF=np.hstack([described_SF[surface_R], species_RF, reaction_R[:, None]]),
        descriptors_RD=_descriptors(described_SF, fractions_SZ)[surface_R],
        low_R=np.array([low for low, _ in windows]),
        high_R=np.array([high for _, high in windows]),
        partner_R=_partners(surface_R) if has_windows else np.full(len(pairs), -1),
        has_windows=has_windows,
    )


def _answers(pairs: pd.DataFrame, goal: str) -> Answers:
    energy_R = pairs["min"].to_numpy()
    relaxations_R = pairs["size"].to_numpy()
    if goal == "lowest":
        wanted_R = lowest(energy_R, np.unique(pairs.reference, return_inverse=True)[1])
        return Answers(energy_R, relaxations_R, wanted_R, np.arange(len(pairs)))
    low_R, high_R = np.array(pairs.reference.map(WINDOWS).tolist()).T
    group_R = np.unique(pairs.surface, return_inverse=True)[1]
    inside_R = (energy_R >= low_R) & (energy_R <= high_R)
    count_S = np.bincount(group_R, weights=inside_R)
    return Answers(energy_R, relaxations_R, count_S[group_R] == len(WINDOWS), group_R)


def lowest(energy_R: NDArray[np.float64], reaction_R: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return True for the lowest ``SHARE`` of each reaction, one at least."""
    wanted_R = np.zeros(len(energy_R), dtype=bool)
    for reaction in np.unique(reaction_R):
        rows = np.flatnonzero(reaction_R == reaction)
        order = np.argsort(energy_R[rows], kind="stable")
        wanted_R[rows[order[: wanted_of(len(rows))]]] = True
    return wanted_R


def wanted_of(pairs: int) -> int:
    """Return how many of the pairs of a reaction are to be found."""
    return max(1, round(SHARE * pairs))


def _partners(surface_R: NDArray[np.int64]) -> NDArray[np.int64]:
    partner_R = np.full(len(surface_R), -1)
    first: dict[int, int] = {}
    for row, surface in enumerate(surface_R.tolist()):
        other = first.setdefault(surface, row)
        if other != row:
            partner_R[row], partner_R[other] = other, row
    return partner_R


def _species(adsorbate: str, reference: str) -> list[float]:
    """Return the atoms of an adsorbate, and whether two of it sit on one cell."""
    counts = composition(adsorbate)
    return [*(float(counts[e]) for e in ADSORBATE_ELEMENTS), float("+ 2*" in reference)]


def _described(data: Path, pairs: pd.DataFrame, cache: Path) -> dict[str, NDArray[np.float64]]:
    """Return what the product's features say of each clean surface, computed once."""
    surfaces = pairs.drop_duplicates("surface")
    if not cache.exists():
        slabs = _clean_slabs(data / "alloy_gmae.extxyz.xz")
        named = zip(surfaces.surface, surfaces.facet, strict=True)
        clean = [_configuration(name, facet, slabs.get(name)) for name, facet in named]
        all_SF = np.hstack([text_features([c.text for c in clean]), slab_features(clean)])
        varies_F = np.array([len(np.unique(column[~np.isnan(column)])) > 1 for column in all_SF.T])
        cache.parent.mkdir(parents=True, exist_ok=True)
        names = np.array(surfaces.surface, dtype=str)
        np.savez(cache, features_SF=all_SF[:, varies_F], surfaces=names)
    kept = np.load(cache)
    return dict(zip(kept["surfaces"].tolist(), kept["features_SF"], strict=True))


def _clean_slabs(file: Path) -> dict[str, Atoms]:
    """Return one relaxed clean slab of each surface; the others of it are not even read."""
    slabs: dict[str, Atoms] = {}
    with lzma.open(file, "rt") as stream:
        while count := stream.readline():
            frame = [count, *(stream.readline() for _ in range(int(count) + 1))]
            surface = re.search(r"\bsurface=(\S+)", frame[1])
            if surface and surface[1] not in slabs:
                (atoms,) = read(StringIO("".join(frame)), index=":", format="extxyz")
                slabs[surface[1]] = clean_frame(atoms)
    return slabs


def _configuration(surface: str, facet: str, slab: Atoms | None) -> Configuration:
    """Return a clean surface as a configuration; no site is known, so its text names none."""
    atoms = Atoms() if slab is None else slab
    text = f"H</s>{surface} ({' '.join(re.findall('[0-9]', facet))})</s>[]"
    return Configuration.from_atoms(atoms, candidate_id=surface, level="mamun", text=text)


def _fractions(surfaces: pd.DataFrame) -> NDArray[np.float64]:
    """Return the share of each element in each surface."""
    counted: list[Mapping[str, int]] = [composition(name) for name in surfaces.surface]
    symbols = sorted({symbol for counts in counted for symbol in counts})
    return np.array([[c[s] / sum(c.values()) for s in symbols] for c in counted])


def _descriptors(
    described_SF: NDArray[np.float64], fractions_SZ: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return element properties and shares, scaled, with means where something is not known.

    They are of surfaces, measured or not, and know no energy.
    """
    all_SD = np.where(np.isfinite(described_SF), described_SF, np.nan)
    all_SD = np.where(np.isnan(all_SD), np.nanmean(all_SD, axis=0), all_SD)
    scaled_SD = (all_SD - all_SD.mean(axis=0)) / np.maximum(all_SD.std(axis=0), 1e-9)
    shares_SZ = fractions_SZ / np.maximum(fractions_SZ.std(axis=0), 1e-9)
    return np.hstack([scaled_SD / np.sqrt(scaled_SD.shape[1]), shares_SZ / shares_SZ.shape[1]])
