"""What a set covers, from labels that are written down."""

from typing import Any

import pandas as pd

from tasks.training_data.label_report import cell_lines


def label(adsorbate: str, atoms: int, energy_ev: float, bulk: str = "Cu") -> dict[str, Any]:
    return {
        "adsorbate": adsorbate,
        "bulk": bulk,
        "miller": [1, 1, 1],
        "edit": "",
        "tags": [0] * atoms + [2],
        "energy_ev": energy_ev,
    }


def test_the_lowest_of_a_surface_are_compared_between_its_cells() -> None:
    rows = [
        row
        for number, bulk in enumerate(("Cu", "Ag", "Au"))
        for row in (
            label("O", 12, -1.0, bulk),
            label("O", 12, -0.2, bulk),  # a worse site
            label("O", 36, -1.1 - 0.1 * number, bulk),
            label("O", 40, -1.2, f"{bulk}Pt"),  # in one cell alone
        )
    ]
    (line,) = cell_lines(pd.DataFrame(rows))
    assert line == "  O in large cells: -0.20 eV above small ones, give or take 0.10 (3 surfaces)"


def test_two_surfaces_say_nothing_and_cells_of_one_size_are_not_compared() -> None:
    rows = [label("O", 12, -1.0), label("O", 36, -1.1), label("O", 12, -1.0, "Ag")]
    rows += [label("H", n, -0.1 * n, bulk) for n in (12, 14) for bulk in ("Cu", "Ag", "Au")]
    assert list(cell_lines(pd.DataFrame(rows))) == []
