"""Compare a screened campaign with published minima that took no part in training.

    python benchmarks/engines/example_against_dft.py --data DIR --database runs/screening.db

MamunHighT2019 holds BEEF-vdW energies relative to CH4, H2O and H2, as ``beef-vdw-ch4`` does. For
each surface and adsorbate that both hold, the lowest prediction meets the lowest published energy.
The two lists of sites differ, and a published minimum may lack a site.
"""

import argparse
from pathlib import Path

import pandas as pd
from pymatgen.core.composition import Composition

from model.uncertainty.metrics import Z90
from screening_db.database.engine import open_database
from screening_db.database.read_only_sql import run_select

# The reactions whose references are those of the level; others of the set are left out.
REACTIONS = (
    "CH4(g) - 2.0H2(g) + * -> C*",
    "CH4(g) - 1.5H2(g) + * -> CH*",
    "CH4(g) - H2(g) + * -> CH2*",
    "CH4(g) - 0.5H2(g) + * -> CH3*",
    "0.5H2(g) + * -> H*",
    "H2O(g) - H2(g) + * -> O*",
    "H2O(g) - 0.5H2(g) + * -> OH*",
)
QUERY = """
select campaign.name as campaign, slab.id as slab_id, bulk.formula as surface,
       slab.miller_h, slab.miller_k, slab.miller_l,
       pair_minimum.adsorbate, pair_minimum.energy_ev, pair_minimum.sigma_ev
from pair_minimum join slab on slab.id = pair_minimum.slab_id join bulk on bulk.id = slab.bulk_id
join campaign on campaign.name = pair_minimum.campaign
where campaign.level = 'beef-vdw-ch4'
"""


def main() -> None:
    """Print bias, MAE and coverage for pure metals and for alloys."""
    parser = argparse.ArgumentParser(description="A campaign against published minima.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the published sets")
    parser.add_argument("--database", default="runs/screening.db")
    options = parser.parse_args()
    pairs = predicted(options.database).merge(
        published(options.data / "mamun_reactions.parquet"),
        on=["surface", "facet", "adsorbate"],
    )
    pairs["error"] = pairs.energy_ev - pairs.dft_ev
    pairs["covered"] = pairs.error.abs() <= Z90 * pairs.sigma_ev
    pairs["kind"] = [("metal", "alloy")[len(Composition(s)) > 1] for s in pairs.surface]
    print(f"{len(pairs)} pairs of surface and adsorbate")
    for keys in (["kind"], ["kind", "adsorbate"]):
        grouped = pairs.groupby(keys).agg(
            pairs=("error", "size"),
            bias_ev=("error", "mean"),
            mae_ev=("error", lambda error: error.abs().mean()),
            coverage_90=("covered", "mean"),
        )
        print(grouped.round(2).to_string())


def predicted(database: str) -> pd.DataFrame:
    """Return the lowest prediction (eV) of each surface, facet and adsorbate."""
    selected = run_select(open_database(database, create=False), QUERY)
    frame = pd.DataFrame(selected.rows, columns=list(selected.columns))
    millers = frame[["miller_h", "miller_k", "miller_l"]].astype(str)
    frame["facet"] = "(" + millers.agg("".join, axis=1) + ")"
    # Terminations of one surface: the published set has one, the lowest stands for it.
    lowest = frame.groupby(["surface", "facet", "adsorbate"]).energy_ev.idxmin()
    return frame.loc[lowest]


def published(file: Path) -> pd.DataFrame:
    """Return the lowest published energy ``dft_ev`` of each surface, facet and adsorbate."""
    rows = pd.read_parquet(file)
    rows = rows[rows.rxn.isin(REACTIONS)].copy()
    rows["surface"] = [_formula(name) for name in rows.surface]
    keys = ["surface", "facet", "adsorbate"]
    return rows.groupby(keys).e_ads.min().rename("dft_ev").reset_index()


def _formula(name: str) -> str:
    try:
        return str(Composition(name).reduced_formula)
    except ValueError:
        return ""


if __name__ == "__main__":
    main()
