"""Quantum ESPRESSO by stored output: a program in its place prints what pw.x prints."""

import stat
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
)
from tasks.verification.engines.dft.espresso import (
    EspressoEngine,
    espresso_parameters,
    starting_magnetization,
)
from tasks.verification.inputs.sampling import boxed
from tasks.verification.relaxation.admission import admit
from tasks.verification.relaxation.compute import compute
from tasks.verification.relaxation.logbook import Logbook

LEVEL = level("qe-pbe")
HYDROGEN = boxed(molecule("H2"), 2.0)
OUTPUT = """\

     Program PWSCF v.7.2 starts on 20Nov2026 at 12:00:00

     bravais-lattice index     =            0
     lattice parameter (alat)  =       7.5589  a.u.
     number of atoms/cell      =            2
     number of atomic types    =            1
     celldm(1)=   7.558904  celldm(2)=   0.000000  celldm(3)=   0.000000

     crystal axes: (cart. coord. in units of alat)
               a(1) = (   1.000000   0.000000   0.000000 )
               a(2) = (   0.000000   1.000000   0.000000 )
               a(3) = (   0.000000   0.000000   1.184282 )

   Cartesian axes

     site n.     atom                  positions (alat units)
         1           H   tau(   1) = (   0.5000000   0.5000000   0.6842820  )
         2           H   tau(   2) = (   0.5000000   0.5000000   0.5000000  )

     number of k points=     1  Marzari-Vanderbilt smearing, width (Ry)=  0.0073
                       cart. coord. in units 2pi/alat
        k(    1) = (   0.0000000   0.0000000   0.0000000), wk =   2.0000000

     End of self-consistent calculation

          k = 0.0000 0.0000 0.0000 (  1200 PWs)   bands (ev):

   -10.2000   0.1000

     the Fermi energy is    -2.0000 ev

!    total energy              =      -2.33000000 Ry
     estimated scf accuracy    <       0.00000001 Ry

     convergence has been achieved in   7 iterations

     Forces acting on atoms (cartesian axes, Ry/au):

     atom    1 type  1   force =     0.00000000    0.00000000    0.00010000
     atom    2 type  1   force =     0.00000000    0.00000000   -0.00010000

     Total force =     0.000141     Total SCF correction =     0.000000

   JOB DONE.
"""
CRASH_PSEUDO = "%%%%\n     Error in routine readpp (2):\n     file X.upf not found\n%%%%\n"
CRASH_INPUT = "%%%%\n     Error in routine read_namelists (1):\n     bad line in namelist\n%%%%\n"


def program(folder: Path, ends: str) -> str:
    """Write a stand-in for pw.x that counts its runs and ends as ``ends`` says."""
    script = folder / "pw.py"
    script.write_text(
        "import os, pathlib, signal, sys\n"
        "runs = pathlib.Path(__file__).with_suffix('.runs')\n"
        "if '-in' in sys.argv:\n"
        "    old = runs.read_text() if runs.exists() else ''\n"
        "    name = sys.argv[sys.argv.index('-in') + 1]\n"
        "    runs.write_text(old + pathlib.Path(name).read_text() + '\\n#####\\n')\n"
        "    run = runs.read_text().count('#####')\n"
        f"output = {OUTPUT!r}\n"
        f"{ends}\n"
        "print(output)\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return f"{sys.executable} {script}"


def upf(functional: str) -> str:
    """Return the beginning of a pseudopotential file of version 2 of the format."""
    return (
        '<UPF version="2.0.1">\n<PP_HEADER comment="of > 1" pseudo_type="NC"\n'
        f'   functional="{functional}"\n   z_valence="1.0"/>\n'
    )


def upf_1(functional: str) -> str:
    """Return the beginning of a pseudopotential file of version 1."""
    return (
        "<PP_INFO>\nmade long ago\n</PP_INFO>\n<PP_HEADER>\n    0     Version Number\n"
        f"  Cu     Element\n   US    Ultrasoft pseudopotential\n {functional}"
        "  Exchange-Correlation functional\n   11.00000000000    Z valence\n</PP_HEADER>\n"
    )


def engine(folder: Path, ends: str = "") -> EspressoEngine:
    for name in ("H.upf", "Cu.upf", "O.upf", "Ni.upf"):
        (folder / name).write_text(upf(" SLA  PW   PBX  PBC ") + name)
    return EspressoEngine(EngineLocation(program(folder, ends), str(folder)))


def inputs(folder: Path) -> list[str]:
    return (folder / "pw.runs").read_text().split("\n#####\n")[:-1]


def job(atoms: Atoms, rung: Rung = Rung.AS_STATED, **parts: Any) -> CalculationJob:
    theory = replace(LEVEL, calculation=replace(LEVEL.require_calculation(), **parts))
    return CalculationJob(atoms, theory, Path(), rung)


def data(atoms: Atoms, rung: Rung = Rung.AS_STATED, **parts: Any) -> dict[str, Any]:
    found: dict[str, Any] = espresso_parameters(job(atoms, rung, **parts), {})["input_data"]
    return found


def adslab(symbol: str = "Cu") -> Atoms:
    atoms = fcc111(symbol, (1, 1, 3), vacuum=8.0)
    add_adsorbate(atoms, "O", 1.2, "fcc")
    atoms.pbc = True
    return atoms


def test_an_energy_is_read_and_both_keys_are_the_free_energy(tmp_path: Path) -> None:
    done = compute(HYDROGEN, LEVEL, engine(tmp_path))
    assert done.energy_ev == pytest.approx(-2.33 * 13.605698, abs=1e-3)
    assert done.energy_ev == done.free_energy_ev
    assert done.converged


def test_the_input_says_what_the_level_says(tmp_path: Path) -> None:
    compute(HYDROGEN, LEVEL, engine(tmp_path))
    (text,) = inputs(tmp_path)
    assert "scf_must_converge" not in text
    assert "tprnfor          = .true." in text
    assert "H.upf" in text
    numbers = {
        line.split("=")[0].strip(): line.split("=")[1].strip()
        for line in text.split("\n")
        if "=" in line
    }
    assert float(numbers["ecutwfc"]) == pytest.approx(90.0, abs=0.01)
    assert float(numbers["ecutrho"]) == pytest.approx(360.0, abs=0.05)
    assert numbers["smearing"] == "'mv'"
    assert numbers["input_dft"] == "'PBE'"
    assert "nspin" not in numbers


def test_spins_k_points_and_dipole_follow_from_the_atoms() -> None:
    stated = espresso_parameters(job(adslab("Ni")), {})
    assert stated["kpts"][2] == 1
    assert stated["koffset"] == (0, 0, 0)
    assert stated["input_data"]["nspin"] == 2
    assert stated["input_data"]["tefield"]
    assert stated["input_data"]["edir"] == 3
    jump = stated["input_data"]["emaxpos"] + stated["input_data"]["eopreg"] / 2
    top = adslab("Ni").get_scaled_positions()[:, 2].max()
    assert top < jump % 1.0 or jump % 1.0 < 0.2  # in the vacuum
    assert "nspin" not in data(adslab("Cu"))
    assert "tefield" not in data(HYDROGEN)


def test_gentle_mixing_changes_how_and_not_what() -> None:
    plain, gentle = data(adslab()), data(adslab(), Rung.GENTLE_MIXING)
    differ = {key for key in plain if plain[key] != gentle[key]}
    assert differ == {"mixing_beta", "electron_maxstep"}
    assert gentle["mixing_beta"] < plain["mixing_beta"]
    assert gentle["electron_maxstep"] == 3 * plain["electron_maxstep"]


def test_the_ladder_ends_at_the_levels_own_smearing(tmp_path: Path) -> None:
    done = compute(HYDROGEN, LEVEL, engine(tmp_path, "if run < 3: sys.exit(2)"))
    assert [t.kind for t in done.tries] == [FailureKind.SCF_NOT_CONVERGED] * 2 + [None]
    texts = inputs(tmp_path)
    assert len(texts) == 4  # as stated, gentle, wide, and from there as stated
    widths = [
        line.split("=")[1] for text in texts for line in text.split("\n") if "degauss" in line
    ]
    assert widths[0] == widths[1] == widths[3] != widths[2]
    assert "startingpot      = 'file'" in texts[3]


@pytest.mark.parametrize(
    ("ends", "kind", "said"),
    [
        ("sys.exit(2)", FailureKind.SCF_NOT_CONVERGED, "in 3 tries"),
        ("sys.exit(3)", FailureKind.IONS_NOT_CONVERGED, "step limit"),
        ("sys.exit(255)", FailureKind.WALL_LIMIT, "can go on from there"),
        (
            f"pathlib.Path('CRASH').write_text({CRASH_PSEUDO!r}); sys.exit(1)",
            FailureKind.MISSING_POTENTIAL,
            "X.upf not found",
        ),
        (
            f"pathlib.Path('CRASH').write_text({CRASH_INPUT!r}); sys.exit(1)",
            FailureKind.BAD_INPUT,
            "bad line in namelist",
        ),
        ("os.kill(os.getpid(), signal.SIGKILL)", FailureKind.KILLED, "status -9"),
        ("print('cannot allocate memory'); sys.exit(1)", FailureKind.OUT_OF_MEMORY, "allocate"),
        ("output = 'garbage'", FailureKind.ENGINE, "quantum-espresso stopped"),
        ("output = output.replace('-2.33000000', 'NaN')", FailureKind.NUMERICAL, "finite"),
        ("output = output.replace('0.00010000', '****')", FailureKind.ENGINE, "stopped"),
    ],
)
def test_how_it_ends_is_the_class_of_its_failure(
    tmp_path: Path, ends: str, kind: FailureKind, said: str
) -> None:
    with pytest.raises(EngineError, match=said) as caught:
        compute(HYDROGEN, LEVEL, engine(tmp_path, ends))
    assert caught.value.kind is kind


def test_elements_are_those_whose_files_lie_in_the_folder(tmp_path: Path) -> None:
    espresso = engine(tmp_path)
    assert espresso.elements(LEVEL) == {"H", "Cu", "O", "Ni"}
    (tmp_path / "cu_other_v1.UPF").write_text("another copper")
    assert "Cu" not in espresso.elements(LEVEL)  # two: the level has to name one
    how = LEVEL.require_calculation()
    assert how.potentials is not None
    named = replace(how, potentials=replace(how.potentials, files={"Cu": "cu_other_v1.UPF"}))
    assert espresso.elements(replace(LEVEL, calculation=named)) == {"Cu"}


def test_another_file_than_the_levels_is_refused_before_it_is_computed(tmp_path: Path) -> None:
    espresso, how = engine(tmp_path), LEVEL.require_calculation()
    assert how.potentials is not None
    found = espresso.checksums(LEVEL, ["H"])["H"]
    for stated, right in ((found[:16], True), ("0123456789abcdef", False)):
        pinned = replace(how, potentials=replace(how.potentials, checksums={"H": stated}))
        theory = replace(LEVEL, name="pinned", calculation=pinned)
        if right:
            assert compute(HYDROGEN, theory, espresso).converged
            continue
        with pytest.raises(EngineError, match="whose potential of H has checksum 0123") as caught:
            compute(HYDROGEN, theory, espresso)
        assert caught.value.kind is FailureKind.NOT_INSTALLED  # on this machine


@pytest.mark.parametrize(
    ("header", "functional", "right"),
    [
        (upf("PBE"), "PBE", True),
        (upf(" SLA  PW   PBX  PBC"), "PBE", True),
        (upf(" SLA  PW   PBE  PBE "), "BEEF-vdW", True),  # it takes the sets of PBE
        (upf_1("SLA  PW   PBE  PBE     PBE"), "PBE", True),
        (upf("PBESOL"), "PBEsol", True),
        (upf(" SLA  PW   PSX  PSC"), "PBEsol", True),
        (upf(" SLA  PZ   NOGX NOGC"), "PBE", False),
        (upf_1(" SLA  PZ   NOGX NOGC   PZ"), "PBE", False),
        (upf(" SLA  PW   PSX  PSC"), "PBE", False),
        (upf("PBE"), "PBEsol", False),
        ("<UPF>", "PBE", False),
    ],
)
def test_a_pseudopotential_of_another_functional_is_refused_by_its_header(
    tmp_path: Path, header: str, functional: str, right: bool
) -> None:
    espresso, theory = engine(tmp_path), replace(LEVEL, functional=functional)
    (tmp_path / "Cu.upf").write_text(header)
    if right:
        espresso.check_potentials(theory, ["Cu"])
        return
    rule = rf"pseudopotentials of {functional}, Cu.upf is of (SLA P|PBE|a functional that its)"
    with pytest.raises(EngineError, match=rule) as caught:
        admit(adslab(), theory, espresso)
    assert caught.value.kind is FailureKind.NOT_INSTALLED


def test_an_element_without_a_checksum_beside_others_is_refused(tmp_path: Path) -> None:
    espresso, how = engine(tmp_path), LEVEL.require_calculation()
    assert how.potentials is not None
    only_o = espresso.checksums(LEVEL, ["O"])
    pinned = replace(how, potentials=replace(how.potentials, checksums=only_o))
    found = espresso.checksums(LEVEL, ["Cu"])["Cu"][:16]
    with pytest.raises(EngineError, match=rf"leave out Cu, .* its file has {found}$") as caught:
        admit(adslab(), replace(LEVEL, calculation=pinned), espresso)
    assert caught.value.kind is FailureKind.MISSING_POTENTIAL


def test_a_try_tells_the_checksums_of_the_pseudopotentials_that_it_used(tmp_path: Path) -> None:
    espresso, book = engine(tmp_path), Logbook()
    compute(HYDROGEN, LEVEL, espresso, book=book)
    assert book.versions["potential of H"] == espresso.checksums(LEVEL, ["H"])["H"]
    assert "potential of Cu" not in book.versions


def test_the_version_is_what_it_prints_when_it_starts(tmp_path: Path) -> None:
    assert engine(tmp_path, "output = output.lstrip(chr(10))").version() == "7.2"


@pytest.mark.parametrize("header", [upf("PBE"), upf_1("SLA PW PBE PBE").replace("11.0", " 1.0")])
@pytest.mark.parametrize("version", ["7.1", "7.2", "7.3", "7.4.1"])
def test_moments_are_written_per_valence_electron_which_every_version_reads(
    tmp_path: Path, header: str, version: str
) -> None:
    espresso = engine(tmp_path, f"output = output.replace('v.7.2', 'v.{version}')")
    (tmp_path / "H.upf").write_text(header)
    spin = Spin("magnetic-elements", {"H": 0.4})
    theory = replace(LEVEL, calculation=replace(LEVEL.require_calculation(), spin=spin))
    compute(HYDROGEN, theory, espresso)
    found = [line for text in inputs(tmp_path) for line in text.split("\n") if "starting_m" in line]
    assert [float(line.split("=")[1]) for line in found] == [0.4]


def test_a_moment_is_divided_by_the_valence_of_its_own_element() -> None:
    atoms = Atoms("NiFeO", magmoms=[1.0, -3.0, 0.0])
    found = starting_magnetization(atoms, {"Ni": 18.0, "Fe": 16.0})
    assert found.tolist() == pytest.approx([1 / 18, -3 / 16, 0.0])


def test_more_moment_than_valence_electrons_is_refused() -> None:
    with pytest.raises(EngineError, match="H has 1 and starts with 1; lower its moment"):
        starting_magnetization(Atoms("H", magmoms=[1.0]), {"H": 1.0})
