"""VASP by stored output: a program in its place prints what VASP prints."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.build import add_adsorbate, fcc111, molecule

from tasks.levels import level
from tasks.levels.calculation import Spin
from tasks.verification.engines import (
    CalculationJob,
    EngineError,
    EngineLocation,
    FailureKind,
    Rung,
    engine_for,
)
from tasks.verification.engines.dft.vasp import VaspEngine, vasp_parameters
from tasks.verification.inputs.sampling import boxed
from tasks.verification.relaxation.compute import compute

LEVEL = level("vasp-oc20")
HYDROGEN = boxed(molecule("H2"), 2.0)
RUN = """\
<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <kpoints>
  <varray name="kpointlist"><v> 0.0 0.0 0.0 </v></varray>
  <varray name="weights"><v> 1.0 </v></varray>
 </kpoints>
 <atominfo>
  <array name="atoms"><set><rc><c>H </c><c>1</c></rc><rc><c>H </c><c>1</c></rc></set></array>
 </atominfo>
 <structure name="initialpos">
  <crystal><varray name="basis">
   <v> 4.0 0.0 0.0 </v><v> 0.0 4.0 0.0 </v><v> 0.0 0.0 4.737166 </v>
  </varray></crystal>
  <varray name="positions"><v> 0.5 0.5 0.5778 </v><v> 0.5 0.5 0.4222 </v></varray>
 </structure>
 <calculation>
  <scstep><energy>
   <i name="e_fr_energy"> -6.80 </i><i name="e_0_energy"> -6.75 </i>
  </energy></scstep>
  <structure>
   <crystal><varray name="basis">
    <v> 4.0 0.0 0.0 </v><v> 0.0 4.0 0.0 </v><v> 0.0 0.0 4.737166 </v>
   </varray></crystal>
   <varray name="positions"><v> 0.5 0.5 0.5778 </v><v> 0.5 0.5 0.4222 </v></varray>
  </structure>
  <varray name="forces"><v> 0.0 0.0 0.001 </v><v> 0.0 0.0 -0.001 </v></varray>
  <energy><i name="e_fr_energy"> -6.80 </i><i name="e_0_energy"> -6.75 </i></energy>
  <eigenvalues><array><set><set comment="spin 1"><set comment="kpoint 1">
   <r> -10.2 1.0 </r><r> 0.1 0.0 </r>
  </set></set></set></array></eigenvalues>
  <dos><i name="efermi"> -2.0 </i></dos>
 </calculation>
</modeling>
"""
OUTCAR = """\
 vasp.6.4.2 20Jul23 (build) complex
   NKPTS =      1   k-points in BZ     NKDIM =      1   number of bands    NBANDS=      2
   EDIFF  = 0.1E-03   stopping-criterion for ELM
------------------------ aborting loop because EDIFF is reached ----------------------
 E-fermi :  -2.0000
"""
UNCONVERGED = "aborting loop EDIFF was not reached (unconverged)"


def engine(folder: Path, ends: str = "") -> VaspEngine:
    """Return the engine with a stand-in for VASP that counts its runs and ends as told."""
    for kind in ("H", "Cu", "Cu_pv", "O", "Ni_pv"):
        (folder / "potpaw_PBE" / kind).mkdir(parents=True)
        (folder / "potpaw_PBE" / kind / "POTCAR").write_text(f"  PAW_PBE {kind}\n End of Dataset\n")
    script = folder / "vasp.py"
    script.write_text(
        "import os, pathlib, sys\n"
        "runs = pathlib.Path(__file__).with_suffix('.runs')\n"
        "old = runs.read_text() if runs.exists() else ''\n"
        "runs.write_text(old + pathlib.Path('INCAR').read_text()\n"
        "                + pathlib.Path('KPOINTS').read_text() + '\\n#####\\n')\n"
        "run = runs.read_text().count('#####')\n"
        f"xml, outcar = {RUN!r}, {OUTCAR!r}\n"
        f"{ends}\n"
        "pathlib.Path('vasprun.xml').write_text(xml)\n"
        "pathlib.Path('OUTCAR').write_text(outcar)\n"
    )
    return VaspEngine(EngineLocation(f"{sys.executable} {script}", str(folder)))


def inputs(folder: Path) -> list[str]:
    return (folder / "vasp.runs").read_text().split("\n#####\n")[:-1]


def parameters(atoms: Atoms, rung: Rung = Rung.AS_STATED, **parts: Any) -> dict[str, Any]:
    theory = replace(LEVEL, calculation=replace(LEVEL.require_calculation(), **parts))
    return vasp_parameters(CalculationJob(atoms, theory, Path(), rung), "/potentials/potpaw_PBE")


def adslab(symbol: str = "Cu") -> Atoms:
    atoms = fcc111(symbol, (3, 3, 3), vacuum=8.0)
    add_adsorbate(atoms, "O", 1.2, "fcc")
    atoms.pbc = True
    return atoms


def test_both_energies_are_read_and_the_extrapolated_one_counts(tmp_path: Path) -> None:
    done = compute(HYDROGEN, LEVEL, engine(tmp_path))
    assert done.energy_ev == pytest.approx(-6.75)
    assert done.free_energy_ev == pytest.approx(-6.80)
    assert done.fmax_ev_ang == pytest.approx(0.001)


@pytest.mark.parametrize(("bounds", "right"), [(">=6.4,<7", True), (">=5.4,<6", False)])
def test_the_version_is_compared_once_vasp_has_told_it(
    tmp_path: Path, bounds: str, right: bool
) -> None:
    vasp = engine(tmp_path)
    theory = replace(LEVEL, calculation=replace(LEVEL.require_calculation(), engine_version=bounds))
    engine_for(theory, locations={"vasp": vasp.location})  # before it, nothing is known
    if right:
        assert compute(HYDROGEN, theory, vasp).converged
        return
    with pytest.raises(EngineError, match=r"with vasp >=5.4,<6, found 6.4.2") as caught:
        compute(HYDROGEN, theory, vasp)
    assert caught.value.kind is FailureKind.BAD_INPUT
    assert len(inputs(tmp_path)) == 1  # not tried again, nor after the first energy


def test_the_input_says_what_oc20_says(tmp_path: Path) -> None:
    compute(HYDROGEN, LEVEL, engine(tmp_path))
    (text,) = inputs(tmp_path)
    words = {
        line.split("=")[0].strip(): line.split("=")[1].strip()
        for line in text.split("\n")
        if "=" in line
    }
    assert float(words["ENCUT"]) == 350.0
    assert words["GGA"] == "RP"
    assert words["ISMEAR"] == "1"
    assert float(words["SIGMA"]) == 0.2
    assert words["IBRION"] == "-1"
    assert words["NSW"] == "0"
    assert words["ISYM"] == "0"
    assert words["ISPIN"] == "1"
    assert "LDIPOL" not in words
    assert "1 1 1" in text


def test_oc20s_k_points_are_forty_over_the_edges() -> None:
    edge = float(adslab().cell.lengths()[0])
    assert parameters(adslab())["kpts"] == (round(40 / edge), round(40 / edge), 1)


def test_spins_and_dipoles_come_where_the_level_asks_for_them() -> None:
    free = Spin("magnetic-elements", {"Ni": 1.0})
    nickel = parameters(adslab("Ni"), spin=free, dipole="asymmetric")
    assert nickel["ispin"] == 2
    assert nickel["magmom"] == [1.0] * 27 + [0.0]
    assert (nickel["ldipol"], nickel["idipol"]) == (True, 3)
    assert "magmom" not in parameters(adslab("Cu"), spin=free)
    assert parameters(adslab(), dispersion="D3BJ")["ivdw"] == 12


def test_gentle_mixing_changes_how_and_not_what() -> None:
    plain, gentle = parameters(adslab()), parameters(adslab(), Rung.GENTLE_MIXING)
    differ = {key for key in gentle if gentle[key] != plain.get(key)}
    assert differ == {"nelm", "amix", "bmix", "amix_mag", "bmix_mag"}


def test_electrons_that_did_not_converge_are_seen_though_vasp_ends_well(tmp_path: Path) -> None:
    reached = "aborting loop because EDIFF is reached"
    stuck = f"if run < 3: outcar = outcar.replace({reached!r}, {UNCONVERGED!r})"
    done = compute(HYDROGEN, LEVEL, engine(tmp_path, stuck))
    assert [t.kind for t in done.tries] == [FailureKind.SCF_NOT_CONVERGED] * 2 + [None]
    texts = inputs(tmp_path)
    sigmas = [
        line.split("=")[1].strip() for text in texts for line in text.split("\n") if "SIGMA" in line
    ]
    assert [float(sigma) for sigma in sigmas] == [0.2, 0.2, 0.4, 0.2]
    assert "ISTART = 1" in texts[3]


@pytest.mark.parametrize(
    ("ends", "kind", "said"),
    [
        (f"outcar = {UNCONVERGED!r}", FailureKind.SCF_NOT_CONVERGED, "in 3 tries"),
        ("outcar = ''", FailureKind.SCF_NOT_CONVERGED, "in 3 tries"),  # silence is no convergence
        ("print('VERY BAD NEWS! internal error'); sys.exit(0)", FailureKind.BAD_INPUT, "VERY BAD"),
        (
            "print('forrtl: insufficient virtual memory'); sys.exit(41)",
            FailureKind.OUT_OF_MEMORY,
            "41",
        ),
        ("print('CANCELLED DUE TO TIME LIMIT'); sys.exit(1)", FailureKind.WALL_LIMIT, "TIME"),
        ("os.kill(os.getpid(), 9)", FailureKind.KILLED, "137|-9"),
        ("xml = xml.replace('-6.80', 'NaN')", FailureKind.NUMERICAL, "finite"),
        ("xml = 'nonsense'", FailureKind.ENGINE, "vasp stopped"),
        ("sys.exit(0)", FailureKind.ENGINE, "vasp stopped"),
        ("sys.exit(3)", FailureKind.ENGINE, "error: 3"),
    ],
)
def test_how_it_ends_is_the_class_of_its_failure(
    tmp_path: Path, ends: str, kind: FailureKind, said: str
) -> None:
    with pytest.raises(EngineError, match=said) as caught:
        compute(HYDROGEN, LEVEL, engine(tmp_path, ends))
    assert caught.value.kind is kind


def test_the_files_of_an_earlier_step_are_no_answer(tmp_path: Path) -> None:
    first = "if run == 1: xml = xml.replace('0.001', '0.100')\nelse: sys.exit(0)"
    with pytest.raises(EngineError, match="vasp stopped"):
        compute(HYDROGEN, LEVEL, engine(tmp_path, first))
    assert len(inputs(tmp_path)) == 2


def test_elements_are_those_with_a_potcar_of_the_levels_kind(tmp_path: Path) -> None:
    vasp, how = engine(tmp_path), LEVEL.require_calculation()
    assert vasp.elements(LEVEL) == {"H", "Cu", "O"}
    assert how.potentials is not None
    kinds = replace(how, potentials=replace(how.potentials, kinds={"Cu": "_pv", "Ni": "_pv"}))
    other = replace(LEVEL, calculation=kinds)
    assert vasp.elements(other) == {"H", "Cu", "O", "Ni"}
    assert vasp.checksums(other, ["Cu"]) != vasp.checksums(LEVEL, ["Cu"])
    with pytest.raises(EngineError, match="no potential for Ru") as caught:
        compute(adslab("Cu").__class__("Ru2", positions=[[0, 0, 0], [0, 0, 2.6]]), LEVEL, vasp)
    assert caught.value.kind is FailureKind.MISSING_POTENTIAL
