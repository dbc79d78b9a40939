"""CP2K by stored output: a program in its place speaks the shell's language and writes its log."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.build import add_adsorbate, fcc111, molecule

from tasks.errors import UserError
from tasks.levels import LevelOfTheory, level
from tasks.levels.calculation import Basis, KPoints, Potentials, Smearing
from tasks.verification.engines import (
    CalculationJob,
    EngineError,
    EngineLocation,
    FailureKind,
    Rung,
    engine_for,
)
from tasks.verification.engines.dft.cp2k import Cp2kEngine, _reduced, cp2k_parameters
from tasks.verification.inputs.sampling import boxed
from tasks.verification.relaxation.admission import admit
from tasks.verification.relaxation.compute import compute

HYDROGEN = boxed(molecule("H2"), 2.0)
SHELL = """\
import pathlib, sys
runs = pathlib.Path(__file__).with_suffix('.runs')
def say(*lines):
    for line in lines:
        print(line, flush=True)
def hear():
    return sys.stdin.readline().strip()
say('* READY')
texts, log, count, atoms = {}, None, 0, 0
while True:
    word, *rest = (hear() or 'EXIT').split()
    if word == 'EXIT':
        break
    elif word == 'VERSION':
        say('CP2K Shell Version: 7.0', '* READY')
    elif word == 'WRITE_FILE':
        name, lines = hear(), int(hear())
        texts[name] = '\\n'.join(hear() for _ in range(lines))
        hear()
        say('* READY')
    elif word == 'LOAD':
        old = runs.read_text() if runs.exists() else ''
        runs.write_text(old + texts[rest[0]] + '\\n#####\\n')
        run, log = runs.read_text().count('#####'), pathlib.Path(rest[1])
        say('1', '* READY')
    elif word == 'SET_POS':
        atoms = int(hear()) // 3
        while hear() != '*END':
            pass
        say('0.0', '* READY')
    elif word == 'SET_CELL':
        for _ in range(3):
            hear()
        say('* READY')
    elif word == 'EVAL_EF':
        count += 1
        said, energy = '  *** SCF run converged in     9 steps ***', '-31.25'
        ENDS
        with log.open('a') as stream:
            stream.write(f'\\n SCF WAVEFUNCTION OPTIMIZATION\\n{said}\\n')
        say('* READY')
    elif word == 'GET_E':
        say(energy, '* READY')
    elif word == 'GET_F':
        say(str(3 * atoms), *(['0.0 0.0 0.0'] * atoms), '* END', '* READY')
    elif word == 'GET_STRESS':
        say('0 0 0 0 0 0 0 0 0', '* READY')
    else:  # HARSH, UNITS_EV_A, DESTROY
        say('* READY')
"""
NOT_CONVERGED = "  *** WARNING in qs_scf.F:598 :: SCF run NOT converged ***"
ABORT = (
    "with log.open('a') as stream: stream.write('{}')\n"
    "        print('* ERROR', flush=True); sys.exit(1)"
)
POTENTIALS = """\
#
H GTH-PBE-q1 GTH-PBE
    1
Cu GTH-PBE-q11
    1    0   10
Ir GTH-PBE-q9 GTH-PBE
"""
BASES = """\
H  SZV-MOLOPT-SR-GTH SZV-MOLOPT-SR-GTH-q1
H  DZVP-MOLOPT-SR-GTH DZVP-MOLOPT-SR-GTH-q1
Cu DZVP-MOLOPT-SR-GTH DZVP-MOLOPT-SR-GTH-q11
"""


def stated(**parts: Any) -> LevelOfTheory:
    how = replace(
        level("qe-pbe").require_calculation(),
        engine_version="any",
        basis=Basis(cutoff_ev=5442.0, name="DZVP-MOLOPT-SR-GTH"),
        smearing=Smearing("fermi-dirac", 0.1),
        potentials=Potentials("GTH-PBE"),
    )
    base = replace(level("qe-pbe"), name="cp2k-pbe", engine="cp2k")
    return replace(base, calculation=replace(how, **parts))


LEVEL = stated()


def engine(folder: Path, ends: str = "pass") -> Cp2kEngine:
    (folder / "GTH_POTENTIALS").write_text(POTENTIALS)
    (folder / "BASIS_MOLOPT").write_text(BASES)
    script = folder / "shell.py"
    script.write_text(SHELL.replace("ENDS", ends))
    return Cp2kEngine(EngineLocation(f"{sys.executable} {script}", str(folder)))


def inputs(folder: Path) -> list[str]:
    return (folder / "shell.runs").read_text().split("\n#####\n")[:-1]


def template(atoms: Atoms, rung: Rung = Rung.AS_STATED, **parts: Any) -> str:
    return str(cp2k_parameters(CalculationJob(atoms, stated(**parts), Path(), rung))["inp"])


def adslab(symbol: str = "Cu") -> Atoms:
    atoms = fcc111(symbol, (1, 1, 3), vacuum=8.0)
    add_adsorbate(atoms, "H", 1.0, "fcc")
    atoms.pbc = True
    return atoms


def test_an_energy_counts_where_the_log_says_that_it_converged(tmp_path: Path) -> None:
    done = compute(HYDROGEN, LEVEL, engine(tmp_path))
    assert done.energy_ev == done.free_energy_ev == -31.25
    assert done.converged


def test_the_input_says_what_the_level_says(tmp_path: Path) -> None:
    compute(HYDROGEN, LEVEL, engine(tmp_path))
    (text,) = inputs(tmp_path)
    for line in (
        "CUTOFF [eV] 5.442",
        "MAX_SCF 150",
        "METHOD FERMI_DIRAC",
        "ELECTRONIC_TEMPERATURE [K] 1160.45",
        "BASIS_SET DZVP-MOLOPT-SR-GTH",
        "POTENTIAL GTH-PBE",
        "&PBE",
        "ADDED_MOS 2",
    ):
        assert line in text
    assert "KPOINTS" not in text


@pytest.mark.parametrize(
    ("written", "found"), [("2023.1", "2023.1"), ("", "no version in its output")]
)
def test_the_version_is_compared_once_cp2k_has_written_it(
    tmp_path: Path, written: str, found: str
) -> None:
    theory = stated(engine_version=">=2024")
    cp2k = engine(tmp_path, f"log.write_text('CP2K version {written}\\n' if {written!r} else '')")
    engine_for(theory, locations={"cp2k": cp2k.location})
    with pytest.raises(EngineError, match=rf"with cp2k >=2024, found {found}") as caught:
        compute(HYDROGEN, theory, cp2k)
    assert caught.value.kind is FailureKind.BAD_INPUT


def test_spins_k_points_and_dipole_follow_from_the_atoms() -> None:
    text = template(adslab("Ni"))
    assert "MAGNETIZATION 1" in text
    assert "SURF_DIP_DIR Z" in text
    assert "KPOINT 0.00000000 0.00000000 0.00000000 1" in text
    assert "MAGNETIZATION" not in template(adslab("Cu"))
    assert "SURF_DIP_DIR" not in template(adslab(), dipole="none")


@pytest.mark.parametrize("gamma", [True, False])
def test_time_reversal_spares_half_of_a_mesh_and_loses_no_weight(gamma: bool) -> None:
    points = _reduced((4, 3, 1), gamma)
    assert sum(weight for _, weight in points) == 12
    assert len(points) < 12
    assert ((0.0, 0.0, 0.0) in [point for point, _ in points]) is gamma
    assert all(-0.5 <= x < 0.5 for point, _ in points for x in point)


def test_an_energy_of_electrons_that_did_not_converge_is_not_believed(tmp_path: Path) -> None:
    stuck = f"said = {NOT_CONVERGED!r} if run < 3 else said"
    done = compute(HYDROGEN, LEVEL, engine(tmp_path, stuck))
    assert [t.kind for t in done.tries] == [FailureKind.SCF_NOT_CONVERGED] * 2 + [None]
    texts = inputs(tmp_path)
    kelvins = [line.split()[-1] for text in texts for line in text.split("\n") if "[K]" in line]
    assert kelvins[0] == kelvins[1] == kelvins[3] != kelvins[2]
    assert "SCF_GUESS RESTART" in texts[3]


def test_only_the_last_of_several_says_whether_it_converged(tmp_path: Path) -> None:
    cp2k = engine(tmp_path)
    log = tmp_path / "cp2k.out"
    log.write_text(f"{NOT_CONVERGED}\n *** SCF run converged in 9 steps ***\n")
    assert cp2k.electrons_converged(object(), tmp_path)  # type: ignore[arg-type]
    log.write_text(f" *** SCF run converged in 9 steps ***\n{NOT_CONVERGED}\n")
    assert not cp2k.electrons_converged(object(), tmp_path)  # type: ignore[arg-type]
    log.write_text("a log that does not say\n")
    assert not cp2k.electrons_converged(object(), tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ends", "kind", "said"),
    [
        (f"said = {NOT_CONVERGED!r}", FailureKind.SCF_NOT_CONVERGED, "in 3 tries"),
        (
            ABORT.format("[ABORT] SCF run NOT converged. To continue regardless"),
            FailureKind.SCF_NOT_CONVERGED,
            "in 3 tries",
        ),
        (
            ABORT.format("[ABORT] The requested basis set <DZVP> was not found"),
            FailureKind.MISSING_POTENTIAL,
            "was not found",
        ),
        (
            ABORT.format("[ABORT] found an unknown keyword CUTTOFF"),
            FailureKind.BAD_INPUT,
            "CUTTOFF",
        ),
        (ABORT.format("[ABORT] Memory allocation failed"), FailureKind.OUT_OF_MEMORY, "Memory"),
        (ABORT.format("[ABORT] CPASSERT failed"), FailureKind.ENGINE, "CPASSERT"),
        ("energy = 'NaN'", FailureKind.NUMERICAL, "finite"),
        ("energy = 'nonsense'", FailureKind.ENGINE, "cp2k stopped"),
        ("sys.exit(0)", FailureKind.ENGINE, "cp2k stopped"),
    ],
)
def test_how_it_ends_is_the_class_of_its_failure(
    tmp_path: Path, ends: str, kind: FailureKind, said: str
) -> None:
    with pytest.raises(EngineError, match=said) as caught:
        compute(HYDROGEN, LEVEL, engine(tmp_path, ends))
    assert caught.value.kind is kind


def test_elements_have_both_a_potential_and_a_basis(tmp_path: Path) -> None:
    assert engine(tmp_path).elements(LEVEL) == {"H", "Cu"}  # iridium has no basis
    with pytest.raises(EngineError, match="cp2k has no potential for Ir") as caught:
        compute(adslab("Ir"), LEVEL, engine(tmp_path))
    assert caught.value.kind is FailureKind.MISSING_POTENTIAL


def test_another_potential_or_basis_than_the_levels_is_refused(tmp_path: Path) -> None:
    cp2k = engine(tmp_path)
    found = cp2k.checksums(LEVEL, ["H", "Cu"])
    assert len(set(found.values())) == 2
    pinned = stated(potentials=Potentials("GTH-PBE", checksums=found))
    admit(HYDROGEN, pinned, cp2k)
    basis = BASES.replace("H  SZV", "# H\nH  SZV")  # neither a comment nor another set counts
    (tmp_path / "BASIS_MOLOPT").write_text(basis.replace("Cu DZVP", "Cu SZV 1\n 1 2\nCu DZVP"))
    admit(HYDROGEN, pinned, cp2k)
    (tmp_path / "GTH_POTENTIALS").write_text(POTENTIALS.replace("    1\nCu", "    2\nCu"))
    with pytest.raises(EngineError, match="whose potential of H has checksum") as caught:
        admit(HYDROGEN, pinned, cp2k)
    assert caught.value.kind is FailureKind.NOT_INSTALLED


@pytest.mark.parametrize(
    ("parts", "rule"),
    [
        ({"basis": Basis(cutoff_ev=5442.0)}, "needs a basis set: write basis: {name"),
        ({"smearing": Smearing("gaussian", 0.1)}, "smears by fermi-dirac"),
        ({"keywords": {"charge": 1}}, "cp2k takes no keywords"),
        ({"energy_key": "energy"}, "gives the free energy alone"),
        ({"kpoints": None}, "cp2k needs kpoints"),
    ],
)
def test_a_level_that_cp2k_cannot_compute_is_refused(parts: dict[str, Any], rule: str) -> None:
    with pytest.raises(UserError, match=rule):
        engine_for(stated(**parts))


def test_a_shifted_mesh_of_a_square_cell_misses_gamma() -> None:
    square = Atoms("Cu", cell=[2.6, 2.6, 20.0], pbc=True)
    text = template(square, kpoints=KPoints(15.0, gamma="hexagonal"))  # a mesh of six
    assert "KPOINT 0.00000000 0.00000000" not in text
