"""Tables of ``published_geometries.py``: errors after one offset for each adsorbate."""

import pandas as pd
from pymatgen.core.composition import Composition
from scipy.stats import spearmanr

EARLY, MAGNETIC, LATE, OTHERS = "early", "magnetic", "late", "p block and zinc's group"
_KINDS = {
    MAGNETIC: ("Fe", "Co", "Ni"),
    EARLY: ("Sc", "Ti", "V", "Cr", "Mn", "Y", "Zr", "Nb", "Mo", "Tc", "La", "Hf", "Ta", "W", "Re"),
    OTHERS: ("Zn", "Cd", "Hg", "Al", "Ga", "In", "Tl", "Sn", "Pb", "Bi"),
}


def print_tables(rows: pd.DataFrame) -> None:
    """Print each set: as published, then relaxed and the same rows as published.

    Args:
        rows: Of ``published_geometries.energies``.
    """
    for name, of_set in rows.groupby("set", sort=False):
        found = with_errors(of_set)
        for way, of_way in found.groupby("way", sort=True):
            print_way(f"{name}, {way}", of_way)
            before = found[(found.way != way) & found.uid.isin(of_way.uid)]
            if way == "relaxed":
                print(f"the same rows as published: {summary(before)}\n")


def with_errors(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a set that have an energy, with ``error`` (eV) after the offsets.

    The offset of a row is the median difference of its adsorbate in the other folds, geometries as
    published. What relaxing gains at the median, over all adsorbates in the other folds, comes to
    it for relaxed rows: they are too few for offsets of their own.
    """
    rows = rows[rows.potential_ev.notna()].reset_index(drop=True)
    gap, relaxed = rows.potential_ev - rows.dft_ev, rows.way == "relaxed"
    before = dict(zip(rows.uid[~relaxed], gap[~relaxed], strict=True))
    gained = gap[relaxed] - rows.uid[relaxed].map(before).astype(float)
    errors = []
    for row, own_gap in zip(rows.itertuples(), gap, strict=True):
        others = rows.fold != row.fold
        offset = gap[~relaxed & others & (rows.adsorbate == row.adsorbate)].median()
        if row.way == "relaxed":
            offset += gained[others[relaxed]].median()
        errors.append(own_gap - offset)
    rows["error"] = errors
    rows["kind"] = [kind_of(surface) for surface in rows.surface]
    return rows


def kind_of(surface: str) -> str:
    """Return the kind of metal of a surface such as ``Pt`` or ``Au#Ni`` (a nickel atom in gold)."""
    elements = {str(element) for element in Composition(surface.replace("#", "")).elements}
    return next((kind for kind, among in _KINDS.items() if elements & set(among)), LATE)


def print_way(title: str, rows: pd.DataFrame) -> None:
    """Print one set in one way: all rows, then by adsorbate, by kind of metal and by metal."""
    flagged = rows["flags"] != ""
    print(f"{title}: {summary(rows)}")
    print(
        f"  without {flagged.sum()} flagged rows {mae(rows[~flagged]):.3f}; "
        f"{int(rows.moved.sum())} at another site; CPU s a row: median {rows.cpu_s.median():.2f}, "
        f"mean {rows.cpu_s.mean():.2f}, {rows.atoms.median():.0f} atoms"
    )
    for column in ("adsorbate", "kind", "surface"):
        listed = [
            f"{value} {mae(part):.3f} ({len(part)}{rank(part) if column == 'adsorbate' else ''})"
            for value, part in sorted(rows.groupby(column), key=lambda pair: mae(pair[1]))
        ]
        print(f"  by {column}: {', '.join(listed)}")
    print()


def summary(rows: pd.DataFrame) -> str:
    """Return the number of rows, their mean absolute error and how many are within 0.1 eV."""
    near = (rows.error.abs() < 0.1).mean()
    return f"{len(rows)} rows, MAE {mae(rows):.3f} eV, {near:.0%} within 0.1 eV"


def mae(rows: pd.DataFrame) -> float:
    """Return the mean absolute error (eV)."""
    return float(rows.error.abs().mean())


def rank(rows: pd.DataFrame) -> str:
    """Return the rank correlation of potential and published energies."""
    if len(rows) < 3:
        return ""
    return f", rho {spearmanr(rows.potential_ev, rows.dft_ev).statistic:.2f}"
