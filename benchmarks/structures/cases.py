"""Run inputs that were once read wrong, and print what each gives now beside the right answer.

``python benchmarks/structures/cases.py --cases ../shared/cases`` takes some minutes; it ends with
status 1 where an answer is wrong. Each command is the one that a user types.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LEVEL = "beef-vdw-ch4"
RUN = "from flows.cli.app import main; main()"
GOOD_EV = 2.23  # of the adslab of cases 01 and 02, as its plain file gives it
SITES = """\
select site, count(*) as placements, sum(in_domain) as in_domain
from candidate join prediction on candidate_id = candidate.id group by site order by site"""
CAMPAIGN = """\
name: case
level: beef-vdw-ch4
bulks: {{structures: [{file}]}}
surfaces:
  {{miller_axes: conventional, millers: [{miller}], min_thickness: 5.0, min_in_plane: 5.0}}
adsorbates: [O]
placements: {{rotations: 1}}
target: {{O: {{window: [-9, 9]}}}}
triage: {{budget: 5, min_probability: 0.0}}
cluster: {{workers: 1}}
"""


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit status."""

    status: int
    text: str

    @property
    def energy_ev(self) -> float | None:
        """The energy that ``predict`` printed for the level, or None."""
        found = re.search(rf"^{LEVEL}\s+([+-]\d+\.\d+)", self.text, re.MULTILINE)
        return float(found[1]) if found else None

    @property
    def gist(self) -> str:
        """One line of it: the energy, the first line of an error, or the counts of a plan."""
        if self.energy_ev is not None:
            flagged = [line for line in self.text.splitlines() if "out of" in line]
            return " ".join([f"{self.energy_ev:+.2f} eV", *flagged[:1]])
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        chosen = [
            line
            for line in lines
            if re.search(r"^\w+: \d+ bulk|refus|error|sabatier:|cannot|symmetry|\|", line)
        ]
        return "; ".join((chosen or lines)[:4])[:400]


Check = Callable[[Answer], bool]


@dataclass(frozen=True)
class Case:
    """One input: its command, the right answer in words, and whether an answer is right."""

    name: str
    command: tuple[str, ...]
    right: str
    check: Check


def refused(*words: str) -> Check:
    """Refused in a line with exit status 2, in which one of the words stands."""

    def check(answer: Answer) -> bool:
        said = not words or any(word.lower() in answer.text.lower() for word in words)
        return answer.status == 2 and "Traceback" not in answer.text and said

    return check


def energy(expected_ev: float) -> Check:
    """Predicted within 0.011 eV."""
    return lambda answer: (
        answer.energy_ev is not None and abs(answer.energy_ev - expected_ev) < 0.011
    )


def either(*checks: Check) -> Check:
    """Any of the checks holds."""
    return lambda answer: any(check(answer) for check in checks)


_NONE_KNOWN = "none is left to screen"


def says(*patterns: str) -> Check:
    """Each of the patterns is printed, whether or not the level knows the slabs."""
    return lambda answer: (
        (answer.status == 0 or (answer.status == 2 and _NONE_KNOWN in answer.text))
        and all(re.search(p, answer.text, re.MULTILINE) for p in patterns)
    )


def predict(file: str, *options: str, miller: str = "1 1 1") -> tuple[str, ...]:
    """Return the command that predicts CO in an adslab's file."""
    return ("predict", file, "--adsorbate", "CO", "--miller", miller, "--level", LEVEL, *options)


def predicted(answer: Answer) -> bool:
    """An energy is printed, whatever it is."""
    return answer.energy_ev is not None


def screen(file: str, miller: str) -> tuple[str, ...]:
    """Return the command that screens a campaign of one file, which is written beside it."""
    return ("screen", f"{file}:{miller}")


GOOD = energy(GOOD_EV)
FLAGGED = either(
    refused(), lambda answer: "out of" in answer.text or "not in the training" in answer.text
)


# In order of their numbers.
CASES = (
    Case("01 no tags", predict("01-ase-layer-tags/untagged.cif"), "+2.23 eV", GOOD),
    Case("01 no tags", predict("01-ase-layer-tags/untagged.extxyz"), "+2.23 eV", GOOD),
    Case(
        "01 ASE's layer tags",
        predict("01-ase-layer-tags/tagged.extxyz"),
        "+2.23 eV or refused",
        either(GOOD, refused("tag")),
    ),
    Case("01 OC20's tags", predict("01-ase-layer-tags/oc20tags.extxyz"), "+2.23 eV", GOOD),
    *(
        Case(f"02 {name}", predict(f"02-vacuum-along-a/{name}"), "+2.23 eV", GOOD)
        for name in ("vac_c.cif", "vac_a.cif", "vac_a.extxyz", "POSCAR")
    ),
    *(
        Case(f"06 {name}", predict(f"06-coadsorbed/{name}"), "refused or flagged", FLAGGED)
        for name in ("co_h.extxyz", "two_tagged.extxyz")
    ),
    Case(
        "08 mixed valence",
        ("plan", "08-mixed-valence/c.yaml"),
        "2 slabs, as the neutral file",
        says("1 bulk", "2 slabs of 1 crystal"),
    ),
    Case(
        "09 Latin-1 bulk", ("plan", "09-latin1/c.yaml"), "read", says("1 bulk", r"[1-9]\d* slabs")
    ),
    Case(
        "09 Latin-1 adslab",
        predict("09-latin1/latin1.cif"),
        "read",
        predicted,
    ),
    Case("10 brackets", ("plan", "10-glob-brackets/c.yaml"), "read", says("1 bulk")),
    Case(
        "11 NiO twice",
        ("plan", "11-same-crystal-twice/s.yaml"),
        "one bulk",
        says("1 bulk", "same crystal"),
    ),
    Case(
        "12 orthorhombic (100)",
        ("plan", "12-file-own-axes/c.yaml"),
        "the file's (100), its index in the standard cell beside it",
        says(r"\(?1 0 0\)?.*=|\(100\).*="),
    ),
    Case(
        "12 monoclinic (001)",
        ("plan", "12-file-own-axes/c_mono.yaml"),
        "the file's (001), its index in the standard cell beside it",
        says(r"\(?0 0 1\)?.*=|\(001\).*="),
    ),
    Case("14 occupancy .", ("plan", "14-occupancy-unknown/c.yaml"), "1 bulk of Cu", says("1 bulk")),
    Case(
        "17 deuterium",
        ("plan", "17-deuterium/c_d2o.yaml"),
        "hydrogen, or one line",
        either(says("1 bulk"), refused("deuterium", "D")),
    ),
    Case(
        "30 partial occupancy in an adslab",
        predict("30-partial-adslab/half_O.cif"),
        "one line",
        refused("occupancy", "disorder"),
    ),
    *(
        Case(
            f"36 units, {name}",
            ("plan", f"36-units/{name}"),
            "refused with a word on units",
            refused("nm", "Bohr"),
        )
        for name in ("c.yaml", "c2.yaml")
    ),
    Case("37 four indices", ("plan", "37-wrong-miller/c_4index.yaml"), "read", says("1 bulk")),
    Case(
        "37 (100) slab as (111)",
        predict("37-wrong-miller/co_100.extxyz"),
        "refused",
        refused("miller"),
    ),
    Case(
        "37 (111) slab as (111)",
        predict("37-wrong-miller/co_111.extxyz"),
        "predicted",
        predicted,
    ),
    Case(
        "37 0 0 0",
        predict("37-wrong-miller/co_111.extxyz", miller="0 0 0"),
        "refused",
        refused("miller"),
    ),
    Case(
        "39 noise",
        ("plan", "39-noisy/c.yaml"),
        "6 slabs, symmetry found within a tolerance",
        says("6 slabs", r"within 0\.05 Å"),
    ),
    Case("39 ideal", ("plan", "39-noisy/c2.yaml"), "6 slabs", says("6 slabs")),
    Case(
        "45 NiO at a level without a magnetic order",
        ("screen", "45-magnetic-start/c.yaml"),
        "see tests/tasks/verification: refused when computed",
        lambda answer: answer.status == 0,
    ),
    Case(
        "49 four blocks",
        ("plan", "49-block-dropped/c.yaml"),
        "2 bulks, 2 refused by name",
        says("2 bulks", "2 .*refused|refused.*2"),
    ),
    Case(
        "60 IrO2",
        screen("60-oxide-in-domain/IrO2.cif", "[1, 1, 0]"),
        "no placement in domain",
        lambda answer: (
            not re.search(r",[1-9]\d*$", answer.text, re.MULTILINE)
            and re.search("element|placements", answer.text) is not None
        ),
    ),
    Case(
        "61 bcc(100)",
        screen("61-bcc-hollow/Fe.cif", "[1, 0, 0]"),
        "a hollow of four",
        says(r"^hollow Fe-Fe-Fe-Fe", r"^atop Fe,1,"),
    ),
    *(
        Case(
            f"62 {name}",
            predict(f"62-impossible-adslab/CO_{name}.extxyz", miller="2 1 1"),
            "refused",
            refused(word),
        )
        for name, word in (("close", "overlap"), ("far", "touch"))
    ),
    Case(
        "62 good",
        predict("62-impossible-adslab/CO_good.extxyz", miller="2 1 1"),
        "predicted",
        predicted,
    ),
    Case(
        "62 (211) slab as (111)",
        predict("62-impossible-adslab/CO_good.extxyz"),
        "refused",
        refused("this slab is (2 1 1)"),
    ),
)


def answer_of(case: Case, folder: Path) -> Answer:
    """Run the command of a case on a database of its own."""
    command, file = case.command[:1], case.command[1]
    with tempfile.TemporaryDirectory(prefix="sabatier-case-") as scratch:
        own = ["--database", f"{scratch}/case.db"]
        if ":" in file:
            structure, miller = file.split(":")
            campaign = Path(scratch) / "case.yaml"
            campaign.write_text(CAMPAIGN.format(file=folder / structure, miller=miller))
            told = run([*command, str(campaign), *own])
            rows = run(["sql", SITES, *own])
            return Answer(told.status or rows.status, rows.text if not told.status else told.text)
        extra = [] if command == ("predict",) else own
        return run([*command, str(folder / file), *case.command[2:], *extra])


def run(arguments: list[str]) -> Answer:
    """Run ``sabatier`` with these arguments in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    return Answer(ended.returncode, f"{ended.stdout}\n{ended.stderr}")


def main() -> None:
    """Print the table; end with 1 where an answer is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=Path, required=True, help="the folder of the cases")
    parser.add_argument("--only", default="", help="cases whose name begins so")
    chosen = parser.parse_args()
    wrong = 0
    print("| case | right | now | |\n|---|---|---|---|")
    for case in CASES:
        if not case.name.startswith(chosen.only):
            continue
        answer = answer_of(case, chosen.cases.resolve())
        is_right = case.check(answer)
        wrong += not is_right
        print(
            f"| {case.name} | {case.right} | {answer.gist} | {'' if is_right else 'WRONG'} |",
            flush=True,
        )
    print(f"{wrong} wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
