"""Relax a campaign's lowest placements with a potential, beside published minima.

    python benchmarks/engines/example_relaxed.py --data DIR --database runs/screening.db --minutes 8

Of the pairs of ``example_against_dft.py`` some are drawn with a seed, and the two placements of
each that were predicted lowest are relaxed from where the screening put them. Compared with the
lowest published energy are the lower of the two, the prediction, and the mean of both, each after
one offset for each adsorbate: the mean of the other pairs of that adsorbate, so that no pair
corrects itself. What is finished is kept in ``--cache``; portions go on there.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from example_against_dft import predicted, published

from flows.records.from_rows import stored_adsorbates, stored_slabs
from screening_db.database import Database
from screening_db.database.engine import open_database
from screening_db.queries.ranking import lowest_placements
from tasks.enumeration import Adsorbate, adslab_from_recipe
from tasks.levels import LevelOfTheory, level
from tasks.prediction.predict import StoredSlab
from tasks.verification.engines import EngineError, engine_for
from tasks.verification.labels.energies import MemoryCache
from tasks.verification.labels.verify import verify_adslab

HERE = Path(__file__).parent
PER_PAIR = 2
SEED = 0
KEY = ["surface", "facet", "adsorbate"]


def main() -> None:
    """Relax what is missing for the minutes that are given, then print the errors."""
    options = parse()
    pairs = drawn_pairs(options.database, options.data, options.pairs)
    kept = pd.read_parquet(options.cache) if options.cache.exists() else pd.DataFrame()
    if not options.table:
        db = open_database(options.database, create=False)
        kept = fill(options.cache, kept, pairs, db, level(options.level), 60 * options.minutes)
    print_errors(pairs.merge(kept, on=KEY))


def parse() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description="Relaxed placements against published minima.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the published sets")
    parser.add_argument("--database", default="runs/screening.db")
    parser.add_argument("--level", default="diep-r2scan")
    parser.add_argument("--pairs", type=int, default=48, help="pairs, drawn with a seed")
    parser.add_argument("--cache", type=Path, default=HERE / "results" / "example-relaxed.parquet")
    parser.add_argument("--minutes", type=float, default=8.0, help="how long to compute")
    parser.add_argument("--table", action="store_true", help="print and compute nothing")
    return parser.parse_args()


def drawn_pairs(database: str, data: Path, count: int) -> pd.DataFrame:
    """Return so many pairs that have a prediction and a published energy (eV), slab by slab."""
    both = predicted(database).merge(published(data / "mamun_reactions.parquet"), on=KEY)
    both = both.sort_values(KEY, kind="stable").reset_index(drop=True)
    order = np.random.default_rng(SEED).permutation(len(both))[:count]
    return both.iloc[order].sort_values(KEY, kind="stable")


def fill(
    cache: Path,
    kept: pd.DataFrame,
    pairs: pd.DataFrame,
    db: Database,
    theory: LevelOfTheory,
    limit_s: float,
) -> pd.DataFrame:
    """Return the cache with what it lacked, as far as the time goes; each pair is kept at once."""
    began, energies = time.monotonic(), MemoryCache()
    done = set() if kept.empty else set(zip(*(kept[key] for key in KEY), strict=True))
    lowest: dict[tuple[str, str], list[str]] = {}
    for row in lowest_placements(db, str(pairs.campaign.iloc[0]), per_pair=PER_PAIR):
        lowest.setdefault((row.slab_id, row.adsorbate), []).append(row.candidate_id)
    adsorbates = stored_adsorbates(db, set(pairs.adsorbate))
    for pair in pairs.to_dict("records"):
        if tuple(pair[key] for key in KEY) in done:
            continue
        if time.monotonic() - began > limit_s:
            break
        (slab,) = stored_slabs(db, lowest[pair["slab_id"], pair["adsorbate"]])
        found = relaxed(slab, adsorbates[pair["adsorbate"]], theory, energies)
        new = pd.DataFrame([{key: pair[key] for key in KEY} | found])
        kept = pd.concat([kept, new], ignore_index=True)
        cache.parent.mkdir(parents=True, exist_ok=True)
        kept.to_parquet(cache, index=False)
    return kept


def relaxed(
    on: StoredSlab, adsorbate: Adsorbate, theory: LevelOfTheory, energies: MemoryCache
) -> dict[str, object]:
    """Return the lowest energy (eV) of the placements that count as labels, and what it took."""
    began, engine, found, faults = time.process_time(), engine_for(theory), [], []
    for candidate in on.candidates:
        placed = adslab_from_recipe(candidate.recipe, on.slab, adsorbate)
        try:
            energy = verify_adslab(placed.atoms, on.slab.atoms, adsorbate, theory, energies, engine)
        except EngineError as error:
            faults.append(error.kind.value)
            continue
        faults += [flag.name for flag in energy.flags]
        if energy.trainable:
            found.append(energy.energy_ev)
    return {
        "potential_ev": round(min(found), 4) if found else np.nan,
        "flags": " ".join(faults),
        "atoms": len(on.slab.atoms) + len(adsorbate.atoms),
        "cpu_s": round(time.process_time() - began, 2),
    }


def print_errors(pairs: pd.DataFrame) -> None:
    """Print the errors of the prediction, of the potential and of their mean."""
    lost = pairs[pairs.potential_ev.isna()]
    pairs = pairs[pairs.potential_ev.notna()].copy()
    print(f"{len(pairs)} pairs; without a label {len(lost)}: {', '.join(lost['flags'])}")
    both = pd.DataFrame({"model": pairs.energy_ev, "potential": pairs.potential_ev})
    errors = both.apply(lambda energies: left_out(energies - pairs.dft_ev, pairs.adsorbate))
    errors["mean of both"] = errors.mean(axis=1)
    raw = (both["model"] - pairs.dft_ev).abs().mean()
    print(f"MAE (eV), the model's without offsets {raw:.3f}; after them:")
    print(errors.abs().mean().to_frame("all").T.round(3).to_string())
    print(errors.abs().groupby(pairs.adsorbate).mean().round(3).to_string())
    print(f"CPU s a pair: median {pairs.cpu_s.median():.1f}, atoms {pairs.atoms.median():.0f}")


def left_out(gaps: pd.Series, adsorbates: pd.Series) -> pd.Series:
    """Return gaps (eV) less the mean gap of the other rows of the same adsorbate."""
    groups = gaps.groupby(adsorbates)
    others = (groups.transform("sum") - gaps) / (groups.transform("size") - 1)
    return gaps - others


if __name__ == "__main__":
    main()
