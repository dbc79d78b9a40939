"""A queue of tiny calculations, and an engine that fails as a test wants it to.

The engine is installed as a user's would be, by an entry point, in a folder of its own; processes
find it there through PYTHONPATH.
"""

import json
import os
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ase.build import add_adsorbate, fcc111

from flows.records.to_rows import adsorbate_row, level_row
from screening_db.database.engine import Database, open_database
from screening_db.queue.enqueue import enqueue
from screening_db.records.screening import record_chunk
from support import stored_rows as make
from support.paths import REPOSITORY
from tasks.enumeration import adsorbate
from tasks.levels import LevelOfTheory, read_level
from tasks.structures.formats import structure_text
from tasks.structures.identity import candidate_ids, pair_id, slab_id

CAMPAIGN = "tiny"
ENGINE = '''
"""EMT, but the first tries at one formula go wrong in a way that the level's keywords name."""

import os
import signal
import sys
import time
from pathlib import Path

from ase.calculators.emt import EMT
from threadpoolctl import threadpool_info

from tasks.verification.engines import EngineError, FailureKind


class Moody:
    version = "1.0"

    def check_level(self, level):
        return None

    def calculator(self, atoms, level, folder):
        words = level.require_calculation().keywords
        formula = str(atoms.symbols)
        notes = Path(words["notes"])
        before = (notes / "tries").read_text().split() if (notes / "tries").exists() else []
        with (notes / "tries").open("a") as file:
            file.write(formula + "\\n")
        threads = {str(pool["num_threads"]) for pool in threadpool_info()}
        variables = [os.environ.get(f"{n}_NUM_THREADS") for n in ("OMP", "MKL", "OPENBLAS")]
        (notes / "threads").write_text(" ".join([*sorted(threads), *map(str, variables)]))
        (notes / f"pid-{formula}").write_text(str(os.getpid()))
        if words["at"] in (formula, "all") and before.count(formula) < words["times"]:
            act(words["mood"])
        return EMT()


def act(mood):
    if mood == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif mood == "memory":
        raise MemoryError("unable to allocate")
    elif mood == "reaped":  # as a program of which the system killed a rank for its memory
        print("slurmstepd: error: Detected 1 oom_kill event in StepId=1.0", file=sys.stderr)
        raise EngineError(FailureKind.KILLED, "mpirun returned an error: 137")
    elif mood == "hang":
        time.sleep(600)
    elif mood == "deaf":  # as a program in C that does not come back to Python
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})
        while True:
            try:
                time.sleep(600)
            except EngineError:
                continue
    elif mood.startswith("slow"):
        time.sleep(float(mood.removeprefix("slow")))
    else:
        raise EngineError(FailureKind(mood), f"in a mood of {mood}")
'''
DRIVE = """
import sys
from pathlib import Path
from flows.config.batch_profile import load_batch_profile
from flows.verification.driver import DriverIntervals
from flows.verification.flow import BatchJobs, run_verification
from screening_db.database.engine import open_database
from screening_db.queries.campaigns import find_campaign

address, folder, profile, system, jobs, lease_s = sys.argv[1:]
db = open_database(address)
where = BatchJobs(system, load_batch_profile(Path(profile)), Path(folder), int(jobs))
intervals = DriverIntervals(lease_s=float(lease_s), poll_s=0.1, queue_check_s=0.3)
print(run_verification(
    db, find_campaign(db, "tiny"), limit=None, engine=None, where=where, intervals=intervals
))
"""


@dataclass(frozen=True)
class MoodyQueue:
    """A database with queued adslabs at a level of the moody engine, and where it takes notes."""

    db: Database
    level: LevelOfTheory
    folder: Path

    @property
    def notes(self) -> Path:
        return self.folder / "notes"

    @property
    def jobs(self) -> Path:
        return self.folder / "jobs"

    def tries(self) -> Counter[str]:
        """Return how often the engine was asked for each formula."""
        file = self.notes / "tries"
        return Counter(file.read_text().split()) if file.exists() else Counter()

    def environment(self, **variables: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "SABATIER_"))}
        paths = os.pathsep.join([str(REPOSITORY), str(self.folder / "site")])
        return kept | {"PYTHONPATH": paths} | variables

    def drive(
        self,
        *,
        system: str = "local",
        jobs: int = 2,
        lease_s: float = 30.0,
        profile: str = "{}",
        **variables: str,
    ) -> "subprocess.Popen[str]":
        """Start a driver of its own process on this queue."""
        file = self.folder / "profile.yaml"
        file.write_text(profile)
        arguments = [self.db.address, str(self.jobs), str(file), system, str(jobs), str(lease_s)]
        return subprocess.Popen(
            [sys.executable, "-c", DRIVE, *arguments],
            env=self.environment(**variables),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def drained(self, **how: object) -> str:
        """Drive the queue until it is empty; return what was said."""
        process = self.drive(**how)  # type: ignore[arg-type]
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        return out.strip().splitlines()[-1]


def moody_queue(
    folder: Path,
    address: str,
    *,
    mood: str = "none",
    at: str = "nothing",
    times: int = 1,
    metals: Sequence[str] = ("Cu",),
    relaxation: Mapping[str, float] | None = None,
) -> MoodyQueue:
    """Make a queue of H on one slab of each metal, three atoms high."""
    (folder / "notes").mkdir()
    install(folder / "site")
    keywords = {"notes": str(folder / "notes"), "mood": mood, "at": at, "times": times}
    text = json.dumps(  # JSON is YAML
        {
            "name": "moody",
            "based_on": "emt",
            "engine": "moody",
            "calculation": {"keywords": keywords, "relaxation": dict(relaxation or {})},
        }
    )
    (folder / "moody.yaml").write_text(text)
    level = read_level(folder / "moody.yaml")
    db = open_database(address)
    make.record(db, level_row(level), adsorbate_row(adsorbate("H")))
    make.record(db, make.checkpoint(), make.campaign(CAMPAIGN, level=level.name))
    for metal in metals:
        _queue(db, level.name, metal)
    return MoodyQueue(db, level, folder)


def install(site: Path) -> None:
    """Install the engine as a distribution with an entry point."""
    info = site / "moody-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "moody.py").write_text(textwrap.dedent(ENGINE))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: moody\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sabatier.engines]\nmoody = moody:Moody\n")


def _queue(db: Database, level: str, metal: str) -> None:
    slab = fcc111(metal, (1, 1, 3), vacuum=8.0, periodic=True)
    slab.set_tags([0, 0, 1])
    adslab = slab.copy()
    add_adsorbate(adslab, "H", 1.5, "fcc")
    adslab.set_tags([0, 0, 1, 2])
    slab_key = slab_id(slab)
    scaled_13 = adslab.get_scaled_positions(wrap=False)[3:]
    (item,) = candidate_ids(slab_key, "H", adslab.numbers[3:], scaled_13[None])
    make.record(db, make.bulk(metal, metal))
    plane = {"miller_h": 1, "miller_k": 1, "miller_l": 1, "shift": 0.0}
    stored = {"n_atoms": 3, "elements": [metal], "structure": structure_text(slab)}
    make.record(db, make.slab(slab_key, metal, **plane | stored))
    candidate = make.candidate(
        item,
        pair_id(slab_key, "H"),
        slab_key,
        adsorbate="H",
        site_kind="hollow",
        site=f"hollow {metal}",
        recipe={},
        structure=structure_text(adslab),
    )
    queued = make.placement(item, CAMPAIGN, "queued")
    record_chunk(db, CAMPAIGN, metal, [candidate], [], [queued])
    enqueue(db, [make.queue_row(item, CAMPAIGN, level=level)])
