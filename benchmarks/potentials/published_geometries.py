"""A potential on published relaxed geometries: as they are, and relaxed on from there.

    python benchmarks/potentials/published_geometries.py --data DIR --minutes 8    a portion more
    python benchmarks/potentials/published_geometries.py --data DIR --table        print alone

``wwl_simple`` (BEEF-vdW, Quantum ESPRESSO; Xu, Reuter, Andersen 2022) and, of ``mamun_pure_metals``
(the same functional and program; Mamun et al. 2019), the lowest of each metal and adsorbate. Each
frame has an energy of the adslab and of its clean slab, the same atoms without the adsorbate.
Relaxed are ``--relax`` rows of each set, drawn with a seed; frames of one slab share one relaxed
clean slab. Their difference less the published energy is compared after one offset for each
adsorbate, the median of the other four folds, so that the gas falls out.

What is finished is kept in ``--cache``: portions of any length, one row at a time.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from ase import Atoms
from ase.constraints import FixAtoms
from ase.geometry import find_mic

from tasks.levels import CalculationMode, LevelOfTheory, level
from tasks.structures.identity import fixed_mask
from tasks.structures.standard_frame import standard_frame
from tasks.training_data.sources import (
    NO_LICENCE,
    SETS,
    LabelledStructure,
    SetSpec,
    read_frames,
    sets_by_name,
)
from tasks.verification.engines import Engine, EngineError, engine_for
from tasks.verification.labels.checks import check, left_site, limits_of
from tasks.verification.relaxation.compute import compute

HERE = Path(__file__).parent
SIMPLE = sets_by_name(["wwl_simple"], SETS)[0]
METALS = SetSpec(
    "mamun_pure_metals",
    "mamun_pure_metals.extxyz.xz",
    "beef-vdw-gmae",
    "relaxed",
    NO_LICENCE,
    "BEEF-vdW",
    "CH4, H2O, H2, N2, H2S",
)
# Where a frame names no held atoms: what other frames of the set hold, or the paper says.
HELD_SHARE = {SIMPLE.name: 3 / 5, METALS.name: 2 / 3}
AS_PUBLISHED, RELAXED, CLEAN = "as published", "relaxed", "clean slab"
SEED = 0
_SAME_SLAB_ANG = 0.8  # how far relaxing under another adsorbate moves an atom, at most
_SAME_HELD_ANG = 0.05
_KEPT_EACH_S = 20.0


@dataclass(frozen=True)
class Item:
    """One calculation: a frame as published, relaxed, or the clean slab of a frame relaxed."""

    frame: LabelledStructure
    way: str

    @property
    def key(self) -> tuple[str, str]:
        """Return what its result is kept under."""
        return self.frame.uid, self.way


def main() -> None:
    """Compute what is missing for the minutes that are given, then print the tables."""
    from published_geometries_table import print_tables

    options = parse()
    frames = [*chosen(options.data, SIMPLE), *chosen(options.data, METALS)]
    theory = level(options.level)
    grounds = clean_slabs(to_relax(frames, options.relax))
    if not options.table:
        fill(options.cache, list(items(frames, grounds)), theory, 60 * options.minutes)
    kept = read_cache(options.cache, theory)
    print_tables(energies(frames, grounds, kept))


def parse() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description="A potential on published relaxed geometries.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the published sets")
    parser.add_argument("--level", default="diep-r2scan")
    parser.add_argument("--cache", type=Path, default=HERE / "results" / "diep-r2scan.parquet")
    parser.add_argument("--relax", type=int, default=40, help="rows of each set to relax")
    parser.add_argument("--minutes", type=float, default=8.0, help="how long to compute")
    parser.add_argument("--table", action="store_true", help="print and compute nothing")
    return parser.parse_args()


def chosen(data: Path, spec: SetSpec) -> list[LabelledStructure]:
    """Return the frames of a set in the standard frame, their lower atoms held."""
    frames = list(read_frames(data, spec))
    if spec is METALS:
        lowest: dict[tuple[str, str], LabelledStructure] = {}
        for frame in sorted(frames, key=lambda frame: (frame.energy_ev, frame.uid)):
            lowest.setdefault((frame.surface, frame.adsorbate), frame)
        frames = sorted(lowest.values(), key=lambda frame: frame.uid)
    return [replace(frame, atoms=held(frame.atoms, HELD_SHARE[spec.name])) for frame in frames]


def held(atoms: Atoms, share: float) -> Atoms:
    """Return the standard frame; a set that holds no atoms has the lowest ``share`` held."""
    framed = standard_frame(atoms)
    if not fixed_mask(framed).any():
        slab_size = int((framed.get_tags() != 2).sum())
        order = np.argsort(framed.positions[:slab_size, 2], kind="stable")
        framed.set_constraint(FixAtoms(order[: round(share * slab_size)]))
    return framed


def to_relax(frames: Sequence[LabelledStructure], count: int) -> list[LabelledStructure]:
    """Return ``count`` frames of each set by lot, in turn, so that any beginning is a sample."""
    drawn: list[tuple[int, LabelledStructure]] = []
    for name in sorted({frame.set for frame in frames}):
        of_set = [frame for frame in frames if frame.set == name]
        order = np.random.default_rng(SEED).permutation(len(of_set))[:count]
        drawn += enumerate(of_set[i] for i in order)
    return [frame for _, frame in sorted(drawn, key=lambda turn: turn[0])]


def clean_slabs(frames: Sequence[LabelledStructure]) -> dict[str, LabelledStructure]:
    """Return, by the uid of each frame to relax, the first of them on the same slab."""
    grounds: list[LabelledStructure] = []
    ground_of: dict[str, LabelledStructure] = {}
    for frame in frames:
        ground = next((g for g in grounds if same_slab(g.atoms, frame.atoms)), None)
        if ground is None:
            grounds.append(ground := frame)
        ground_of[frame.uid] = ground
    return ground_of


def same_slab(first: Atoms, second: Atoms) -> bool:
    """Return whether two adslabs stand on one slab, as far as relaxing has moved its atoms."""
    one, other = clean(first), clean(second)
    if not np.array_equal(one.numbers, other.numbers):
        return False
    if not np.array_equal(fixed_mask(one), fixed_mask(other)):
        return False
    if not np.allclose(one.cell[:2], other.cell[:2], rtol=0, atol=_SAME_HELD_ANG):
        return False
    _, apart_N = find_mic(one.positions - other.positions, one.cell, pbc=(1, 1, 0))
    reach_N = np.where(fixed_mask(one), _SAME_HELD_ANG, _SAME_SLAB_ANG)
    return bool((apart_N < reach_N).all())


def clean(adslab: Atoms) -> Atoms:
    """Return the atoms of the slab where the adslab has them."""
    slab: Atoms = adslab[adslab.get_tags() != 2]
    return slab


def items(
    frames: Sequence[LabelledStructure], grounds: dict[str, LabelledStructure]
) -> Iterator[Item]:
    """Yield all calculations: first those of the geometries as they are, which take least."""
    yield from (Item(frame, AS_PUBLISHED) for frame in frames)
    by_uid = {frame.uid: frame for frame in frames}
    begun = set()
    for uid, ground in grounds.items():
        if ground.uid not in begun:
            begun.add(ground.uid)
            yield Item(ground, CLEAN)
        yield Item(by_uid[uid], RELAXED)


def fill(cache: Path, wanted: Sequence[Item], theory: LevelOfTheory, limit_s: float) -> None:
    """Compute what the cache lacks, until the time is over."""
    kept = read_cache(cache, theory)
    done = set(zip(kept.uid, kept.way, strict=True))
    missing = [item for item in wanted if item.key not in done]
    engine, rows, began = engine_for(theory), [], time.monotonic()
    written = began
    for number, item in enumerate(missing):
        rows.append(computed(item, theory, engine))
        now = time.monotonic()
        if now - written > _KEPT_EACH_S or now - began > limit_s or number + 1 == len(missing):
            kept, rows, written = pd.concat([kept, pd.DataFrame(rows)]), [], now
            write_cache(cache, kept)
        if now - began > limit_s:
            break
    print(f"{len(kept)} of {len(wanted)} calculations are there\n", flush=True)


def computed(item: Item, theory: LevelOfTheory, engine: Engine) -> dict[str, object]:
    """Return the row of one calculation; one that fails has no energy and the reason as a flag."""
    atoms = clean(item.frame.atoms) if item.way == CLEAN else item.frame.atoms
    mode: CalculationMode = "single_point" if item.way == AS_PUBLISHED else "relaxation"
    began = time.process_time()
    row: dict[str, object] = {"uid": item.frame.uid, "way": item.way, "hash": theory.level_hash}
    row |= {"energy_ev": np.nan, "slab_ev": np.nan, "steps": 0, "moved": False}
    try:
        done = compute(atoms, theory, engine, mode)
        slab_ev = np.nan
        if item.way == AS_PUBLISHED:
            slab_ev = compute(clean(atoms), theory, engine, mode).energy_ev
    except EngineError as error:
        return row | {"flags": error.kind.value, "cpu_s": time.process_time() - began}
    flags = [] if done.converged else ["not converged"]
    if item.way == RELAXED:
        found = check(
            atoms,
            done.atoms,
            energy_ev=0.0,
            initial_fmax_ev_ang=done.initial_fmax_ev_ang,
            limits=limits_of(theory),
        )
        flags += [flag.name for flag in found]
        row["moved"] = left_site(atoms, done.atoms)
    row |= {"energy_ev": round(done.energy_ev, 4), "slab_ev": round(slab_ev, 4)}
    spent_s = round(time.process_time() - began, 3)
    return row | {"steps": done.steps, "flags": " ".join(flags), "cpu_s": spent_s}


def read_cache(file: Path, theory: LevelOfTheory) -> pd.DataFrame:
    """Return what is kept of one level, one row for each calculation."""
    if not file.exists():
        return pd.DataFrame({"uid": [], "way": [], "hash": []})
    rows = pd.read_parquet(file)
    return rows[rows["hash"] == theory.level_hash].drop_duplicates(["uid", "way"])


def write_cache(file: Path, rows: pd.DataFrame) -> None:
    """Write the cache at once or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    rows.to_parquet(part, index=False)
    part.replace(file)


def energies(
    frames: Sequence[LabelledStructure],
    grounds: dict[str, LabelledStructure],
    kept: pd.DataFrame,
) -> pd.DataFrame:
    """Return a row for each frame and way that is finished.

    Args:
        frames: The published frames.
        grounds: The frame whose relaxed clean slab each relaxed frame is counted from.
        kept: What was computed.

    Returns:
        Published energies ``dft_ev`` and ``potential_ev``, adslab less clean slab (eV), with what
        was published about the frame, its flags, whether it moved, and CPU seconds.
    """
    found = kept.set_index(["uid", "way"]).to_dict("index")
    rows = []
    for frame in frames:
        for way in (AS_PUBLISHED, RELAXED):
            own = found.get((frame.uid, way))
            ground = grounds.get(frame.uid)
            if own is None or (way == RELAXED and ground is None):
                continue
            slab_ev = own["slab_ev"]
            if way == RELAXED and ground is not None:
                slab_ev = found.get((ground.uid, CLEAN), {"energy_ev": np.nan})["energy_ev"]
            rows.append(
                {
                    **{"set": frame.set, "way": way, "uid": frame.uid, "fold": frame.fold},
                    **{"adsorbate": frame.adsorbate, "surface": frame.surface},
                    **{"dft_ev": frame.energy_ev, "potential_ev": own["energy_ev"] - slab_ev},
                    **{key: own[key] for key in ("flags", "moved", "steps", "cpu_s")},
                    "atoms": len(frame.atoms),
                }
            )
    return pd.DataFrame(rows)


if __name__ == "__main__":
    main()
