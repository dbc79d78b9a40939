"""What a set of labels covers, how its relaxations ended, and what small cells cost.

A surface that was drawn in a cell of campaign size and in a small one has two lowest energies for
an adsorbate; half of their difference is of the sites that happened to be drawn, so it is the
median over surfaces that counts.

Units: eV, s.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd
import pyarrow as pa
from ase.data import chemical_symbols

_LARGE_OVER_SMALL = 1.5  # atoms of a slab in two cells of one surface
_FEWEST = 3  # surfaces in both cells, for a line about an adsorbate
_COLUMNS = ["family", "adsorbate", "energy_ev", "flags", "seconds", "numbers", "tags"]
_SURFACE = ["bulk", "miller", "edit", "site_changed"]


def label_lines(labels: pa.Table) -> Iterator[str]:
    """Yield lines on what a set of labels covers and how its relaxations ended."""
    table = labels.select([*_COLUMNS, *_SURFACE]).to_pandas()
    good = table[np.isfinite(table["energy_ev"]) & (table["flags"].map(len) == 0)]
    symbols = {chemical_symbols[z] for numbers in good["numbers"] for z in set(numbers)}
    yield (
        f"{len(table)} placements, {len(good)} trainable: {len(symbols)} elements, "
        f"{good['adsorbate'].nunique()} adsorbates, {good['seconds'].mean():.1f} s each"
    )
    for name, group in table.groupby("family"):
        kept = good[good["family"] == name]
        yield (
            f"  {name}: {len(group)} placements, {len(kept)} trainable, "
            f"{kept['site_changed'].mean():.0%} touch other slab atoms at the end, "
            f"{kept['numbers'].map(len).median():.0f} atoms"
        )
    flags = Counter(flag for found in table["flags"] for flag in found)
    for flag, count in flags.most_common():
        yield f"  flagged {flag}: {count}"
    yield from cell_lines(good)


def cell_lines(good: pd.DataFrame) -> Iterator[str]:
    """Yield a line for each adsorbate whose surfaces were computed in small and in large cells."""
    own = good.assign(
        surface=[
            f"{b} {tuple(m)} {e}" for b, m, e in zip(good.bulk, good.miller, good.edit, strict=True)
        ],
        atoms=good["tags"].map(lambda tags: sum(tag != 2 for tag in tags)),
    )
    lowest = own.groupby(["adsorbate", "surface", "atoms"])["energy_ev"].min().reset_index()
    for adsorbate, of_one in lowest.groupby("adsorbate"):
        above = [
            large["energy_ev"] - small["energy_ev"]
            for _, cells in of_one.sort_values("atoms").groupby("surface")
            for (_, small), (_, large) in combinations(cells.iterrows(), 2)
            if large["atoms"] >= _LARGE_OVER_SMALL * small["atoms"]
        ]
        if len(above) >= _FEWEST:
            spread = np.median(np.abs(above - np.median(above)))
            yield (
                f"  {adsorbate} in large cells: {np.median(above):+.2f} eV above small ones, give "
                f"or take {spread:.2f} ({len(above)} surfaces)"
            )
