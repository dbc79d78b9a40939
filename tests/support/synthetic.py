"""Made-up labelled rows whose energies follow from adsorbate, metal and top layer."""

from typing import Literal

import numpy as np
import pyarrow as pa
from ase.data import atomic_numbers

from model.data.rows import Row

METALS = {"Cu": 0.4, "Pt": -0.3, "Ag": 0.8, "Pd": -0.1, "Ni": -0.5}
BINDING = {"O": 1.0, "H": -0.4, "CO": -1.2}


def rows(form: Literal["adslab", "clean", "text"], *, level: str = "made-up") -> list[Row]:
    """Return rows of every adsorbate on every A3B alloy, three sites each."""
    found: list[Row] = []
    for adsorbate in BINDING:
        for one in METALS:
            for other in METALS:
                for contacts in (1, 2, 3):
                    found.append(_row(form, level, adsorbate, one, other, contacts, len(found)))
    return found


def table(labelled: list[Row], **extra: list[str]) -> pa.Table:
    """Return rows as a training table; ``extra`` columns come last."""
    plain = ("uid", "pair", "set", "level", "adsorbate", "text", "kind", "fold", "energy_ev")
    columns = {name: [getattr(row, name) for row in labelled] for name in plain}
    columns["numbers"] = [row.numbers_N.tolist() for row in labelled]
    columns["positions"] = [row.positions_N3.ravel().tolist() for row in labelled]
    columns["cell"] = [
        row.cell_33.ravel().tolist() if len(row.numbers_N) else [] for row in labelled
    ]
    columns["tags"] = [row.tags_N.tolist() for row in labelled]
    return pa.table(columns | extra)


def _row(
    form: str, level: str, adsorbate: str, one: str, other: str, contacts: int, number: int
) -> Row:
    energy = BINDING[adsorbate] + 0.75 * METALS[one] + 0.25 * METALS[other] - 0.05 * contacts
    kind = ("atop", "bridge", "hollow")[contacts - 1]
    touched = [one, one, other][:contacts]
    around = " ".join(f"[{metal} {one} {one} {other} {adsorbate[0]}]" for metal in touched)
    body = f"[{adsorbate[0]} {' '.join(touched)} {kind} {around}]"
    numbers, positions, tags = _slab(one, other) if form != "text" else ([], [], [])
    if form == "adslab":
        numbers, positions, tags = [*numbers, 8], [*positions, (0.0, 0.0, 6.0)], [*tags, 2]
    return Row(
        uid=f"{form}{number}",
        pair=f"{form}{number}",
        set=form,
        level=level,
        adsorbate=adsorbate,
        text=f"{adsorbate}</s>{one}3{other} (1 1 1)</s>{'[]' if form == 'clean' else body}",
        kind={"adslab": "unrelaxed", "clean": "clean", "text": "text"}[form],
        fold=number % 5,
        energy_ev=energy,
        numbers_N=np.array(numbers, dtype=np.int64),
        positions_N3=np.array(positions, dtype=np.float64).reshape(-1, 3),
        cell_33=np.diag([5.0, 5.0, 20.0]) if numbers else np.zeros((3, 3)),
        tags_N=np.array(tags, dtype=np.int64),
        group=f"{one}3{other}",
    )


def _slab(one: str, other: str) -> tuple[list[int], list[tuple[float, float, float]], list[int]]:
    numbers = [atomic_numbers[symbol] for symbol in (one, one, one, other)] * 2
    corners = [(0.0, 0.0), (2.5, 0.0), (0.0, 2.5), (2.5, 2.5)]
    positions = [(x, y, z) for z in (2.0, 4.0) for x, y in corners]
    return numbers, positions, [0] * 4 + [1] * 4
