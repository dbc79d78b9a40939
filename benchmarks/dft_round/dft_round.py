"""One round at real DFT: predict, verify, learn, judge and rank again, all at one level.

    pip install 'sabatier[dft]'
    python benchmarks/dft_round/dft_round.py --base mini             hours of two cores, resumable
    python benchmarks/dft_round/dft_round.py --base mini --stored    minutes: with the labels kept
    python benchmarks/dft_round/dft_round.py --base mini --keep      keep labels and log here

Nobody has labels at the level of ``campaign.yaml`` (beside this file). So the first predictions are
a universal potential's, with a difference that is assumed to be nothing; GPAW verifies what triage
chooses, and the difference that is learnt from it serves if the gate lets it. Every command of
Sabatier that runs, and what it prints, is in ``log.txt`` of the folder.
"""

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TextIO

import ase.io
import pandas as pd

from tasks.structures.formats import structure_from_text
from tasks.yaml_text import read_yaml

HERE = Path(__file__).resolve().parent
LABELS = HERE / "labels.parquet"
KEPT = ("log.txt", "ranks.csv")
SIGMA_EV = 0.3  # how far PBE and the potential's r2SCAN are taken to differ before any label
REFERENCE = "CO, H2O, H2, N2"


class Round:
    """A folder in which the campaign runs, and its name and level."""

    def __init__(self, folder: Path, campaign: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(campaign, folder / "campaign.yaml")
        _, stated = read_yaml(campaign.read_text())
        self.folder = folder
        self.name, self.level = str(stated["name"]), str(stated["level"])
        self.relaxed_at = str(stated["relax"]["level"])
        self.budget = int(stated["triage"]["budget"])
        self.database = folder / "round.db"

    def sabatier(self, *words: str) -> None:
        """Run a command of Sabatier in the folder; what it prints goes to the log, too."""
        with (self.folder / "log.txt").open("a") as log:
            said(log, f"$ sabatier {' '.join(words)}\n")
            process = subprocess.Popen(
                [sys.executable, "-c", "from flows.cli.app import main; main()", *words],
                cwd=self.folder,
                env=os.environ | {"SABATIER_DATABASE": str(self.database), "COLUMNS": "140"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            assert process.stdout is not None
            for line in process.stdout:
                said(log, line)
        if process.wait():
            raise SystemExit(f"sabatier {words[0]} ended with {process.returncode}, see log.txt")

    def ask(self, query: str) -> pd.DataFrame:
        """Return the rows of a query."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            return pd.read_sql_query(
                query, connection, params={"campaign": self.name, "level": self.level}
            )


def said(log: TextIO, line: str) -> None:
    """Print a line, and write it to the log."""
    print(line, end="", flush=True)
    log.write(line)


def main() -> None:
    """Run what is asked for, and print errors and ranks before and after."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", default="mini", help="answers at the potential's level")
    parser.add_argument("--folder", type=Path, default=Path("runs/dft-round"))
    parser.add_argument("--campaign", type=Path, default=HERE / "campaign.yaml")
    parser.add_argument("--stored", action="store_true", help="import the labels that are kept")
    parser.add_argument(
        "--keep", action="store_true", help="keep labels, log and ranks beside this"
    )
    given = parser.parse_args()
    this = Round(given.folder.resolve(), given.campaign)
    predict_first(this, given.base)
    if given.stored:
        learn_stored(this)
    else:
        this.sabatier("loop", "campaign.yaml", "--rounds", "1", "--budget", str(this.budget))
    report(this)
    if given.keep:
        stored_labels(this).to_parquet(LABELS, compression="zstd", index=False)
        for name in KEPT:
            shutil.copyfile(this.folder / name, HERE / name)


def predict_first(this: Round, base: str) -> None:
    """Screen with a difference that is assumed, unless that is done, and keep the ranking."""
    before = this.folder / "before.parquet"
    if before.exists():
        return
    settings = {
        "on": f"[{this.relaxed_at}]",
        "levels": f"[{this.level}]",
        "assumed_sigma_ev": str(SIGMA_EV),
        "base": base,
    }
    changes = [word for n, v in settings.items() for word in ("--set", f"difference.{n}={v}")]
    this.sabatier("train", "difference", "--out", "assumed", *changes)
    this.sabatier("screen", "campaign.yaml")
    ranking(this).to_parquet(before)


def learn_stored(this: Round) -> None:
    """Import the labels that are kept, learn them, and rank again."""
    folder = this.folder / "labels"
    folder.mkdir(exist_ok=True)
    table = pd.read_parquet(LABELS)
    for kind in ("start", "relaxed"):
        names = [f"{kind}-{number}.extxyz" for number in range(len(table))]
        for name, content in zip(names, table[kind], strict=True):
            ase.io.write(folder / name, structure_from_text(content))
        table[kind] = names
    table = table.rename(columns={"relaxed": "structure"})
    table.to_csv(folder / "labels.csv", index=False)
    this.sabatier(
        *("import", "labels", "labels/labels.csv", "--level", this.level),
        *("--energies", "adsorption", "--reference", REFERENCE),
    )
    this.sabatier("fine-tune", this.name)
    this.sabatier("rescore", this.name)


def stored_labels(this: Round) -> pd.DataFrame:
    """Return the round's labels as ``sabatier import labels`` takes them, structures as text."""
    return this.ask(
        "SELECT p.adsorbate, s.miller_h || ' ' || s.miller_k || ' ' || s.miller_l AS miller, "
        "coalesce(b.formula, s.formula) AS bulk, l.energy_ev, l.converged, "
        "c.structure AS start, l.structure AS relaxed "
        "FROM label l JOIN candidate c ON c.id = l.candidate_id JOIN pair p ON p.id = c.pair_id "
        "JOIN slab s ON s.id = p.slab_id LEFT JOIN bulk b ON b.id = s.bulk_id "
        "WHERE l.level = :level ORDER BY l.candidate_id"
    )


def ranking(this: Round) -> pd.DataFrame:
    """Return the ranks of the campaign as they are."""
    return this.ask(
        "SELECT rank, bulk, miller, adsorbate, site, energy_ev, sigma_ev, probability, basis, "
        "label_ev, candidate_id FROM ranked_candidates WHERE campaign = :campaign ORDER BY rank"
    )


def report(this: Round) -> None:
    """Print what the gate found, errors of both predictions of what was verified, and ranks."""
    tuned = this.ask("SELECT state, report FROM fine_tuning WHERE campaign = :campaign")
    for state, found in zip(tuned["state"], map(json.loads, tuned["report"]), strict=True):
        print(f"gate: {state} {'; '.join(found['reasons'])}")
        for look, errors in found["numbers"].get("errors", {}).items():
            print(
                f"  {look}: {errors['rows']} rows, MAE {errors['mae_before_ev']:.3f} eV before and "
                f"{errors['mae_after_ev']:.3f} eV after"
            )
    before = pd.read_parquet(this.folder / "before.parquet")
    both = ranking(this).merge(before, on=["bulk", "miller", "adsorbate"], suffixes=("", "_before"))
    labelled = both[both["label_ev"].notna()]
    for name, column in (("before", "energy_ev_before"), ("after", "energy_ev")):
        wrong = labelled[column] - labelled["label_ev"]
        mae, mean = wrong.abs().mean(), wrong.mean()
        print(f"{len(labelled)} verified, {name}: mean {mean:+.3f} eV, MAE {mae:.3f} eV")
    moved = (both["rank"] - both["rank_before"]).abs()
    print(
        f"{len(both)} pairs ranked again: {(moved != 0).sum()} moved, by {moved.median():.0f} "
        f"places in the median and {moved.max()} at most"
    )
    columns = ["rank", "rank_before", "bulk", "miller", "adsorbate", "site", "energy_ev"]
    columns += ["sigma_ev", "energy_ev_before", "sigma_ev_before", "label_ev"]
    both[columns].round(3).to_csv(this.folder / "ranks.csv", index=False)
    print(both[columns].head(20).round(3).to_string(index=False))


if __name__ == "__main__":
    main()
