"""CP2K through ASE's calculator of its shell.

ASE returns an energy where the SCF did not converge; only CP2K's output says so. And where CP2K
aborts, ASE raises a ``ValueError`` or an ``AssertionError`` about the text that it read.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

from ase.calculators.calculator import Calculator
from ase.calculators.cp2k import CP2K
from ase.data import atomic_numbers
from ase.units import Hartree, kB

from model.processes import ending_with_parent
from tasks.errors import UserError
from tasks.levels import Calculation, LevelOfTheory, added_by
from tasks.verification.engines.base import (
    CalculationJob,
    Engine,
    failure_of,
    program_missing,
    version_in,
)
from tasks.verification.engines.failures import (
    EngineError,
    FailureKind,
    Rung,
    kind_in_output,
    last_lines,
)
from tasks.verification.engines.requirements import (
    DFT_SETTINGS,
    require_all_read,
    require_dispersion,
    require_energy_key,
    require_functional,
    require_settings,
)
from tasks.verification.inputs.sampling import (
    gamma_centred,
    kpoint_mesh,
    needs_dipole,
    start_moments,
)

_PROJECT = "cp2k"
_OUTPUT = f"{_PROJECT}.out"
_XC = {"PBE": "PBE", "RPBE": "XC_GGA_X_RPBE XC_GGA_C_PBE", "PBEsol": "XC_GGA_X_PBE_SOL"}
_POTENTIALS_FILE, _BASIS_FILE = "GTH_POTENTIALS", "BASIS_MOLOPT"
_WIDE_EV = 0.4
_MORE_STEPS = 3
_CONVERGED = re.compile(r"SCF run (NOT )?converged", re.IGNORECASE)
_FAILURES = (
    (FailureKind.SCF_NOT_CONVERGED, r"SCF run NOT converged"),
    (
        FailureKind.MISSING_POTENTIAL,
        r"(potential|basis set) .*not (be )?found|requested (atomic potential|basis)",
    ),
    (FailureKind.BAD_INPUT, r"unknown (keyword|subsection)|found an unknown|invalid value"),
)


@dataclass(frozen=True)
class Cp2kEngine(Engine):
    """CP2K; ``potentials`` of its location is its data folder."""

    name: ClassVar[str] = "cp2k"
    outputs: ClassVar[tuple[str, ...]] = (_OUTPUT, f"{_PROJECT}.inp")
    version_after_run: ClassVar[bool] = True
    functionals: ClassVar[frozenset[str]] = frozenset({"PBE", "RPBE"})
    extrapolates: ClassVar[bool] = False

    @property
    def command(self) -> str:
        """Return the command that starts CP2K's shell."""
        return self.location.command or "cp2k_shell"

    def missing(self) -> str:
        """Return what to install or set before it can run."""
        program = program_missing(
            self.command, "apt-get install cp2k cp2k-data, or set SABATIER_CP2K_COMMAND"
        )
        if program or self.location.potentials:
            return program
        return "no data folder: set SABATIER_CP2K_DATA to where GTH_POTENTIALS lies"

    def version(self) -> str:
        """Return an empty text: only the output of a calculation holds the version."""
        return ""

    def version_in_output(self, folder: Path) -> str:
        """Return the version that CP2K wrote."""
        return version_in(folder / _OUTPUT, r"CP2K version (\S+)")

    def elements(self, level: LevelOfTheory) -> frozenset[str]:
        """Return the elements that have both the level's potential and its basis set."""
        return frozenset(self._entries(level))

    def checksums(self, level: LevelOfTheory, symbols: Iterable[str]) -> dict[str, str]:
        """Return the SHA-256 of what the data files state of each element at the level."""
        entries = self._entries(level)
        return {s: sha256(entries[s].encode()).hexdigest() for s in symbols if s in entries}

    def check_level(self, level: LevelOfTheory) -> None:
        """Refuse levels that CP2K or this module cannot compute."""
        require_functional(self, level)
        require_energy_key(self, level)
        require_settings(self, level, "potentials")
        require_dispersion(self, level, ())
        require_all_read(self, level, *DFT_SETTINGS, "basis.name")
        calculation = level.require_calculation()
        _require_one_moment_each(level)
        if calculation.keywords:
            raise UserError(f"cp2k takes no keywords; level {level.name} states some; remove them")
        if calculation.smearing is not None and calculation.smearing.kind != "fermi-dirac":
            raise UserError(
                f"cp2k smears by fermi-dirac, level {level.name} by {calculation.smearing.kind}; "
                "change it"
            )
        if calculation.basis is None or not calculation.basis.name:
            raise UserError(
                f"cp2k needs a basis set: write basis: {{name: DZVP-MOLOPT-SR-GTH, ...}} in level "
                f"{level.name}"
            )

    def calculator(self, job: CalculationJob) -> Calculator:
        """Return a calculator of CP2K's shell; a smeared start leaves orbitals in the folder."""
        if job.rung is Rung.SMEARED_START:
            wide = self._cp2k(job, width_ev=_WIDE_EV, guess="ATOMIC")
            wide.get_potential_energy(job.atoms.copy())
            wide.close()  # the next one reads the orbitals that this one leaves
            return self._cp2k(job, guess="RESTART")
        return self._cp2k(job)

    def electrons_converged(self, calculator: Calculator, folder: Path) -> bool:
        """Return whether the last SCF of the output converged; without a line on it, False."""
        found = _CONVERGED.findall(last_lines(folder / _OUTPUT, 2000))
        return bool(found) and not found[-1]

    def failure(self, error: Exception, folder: Path) -> EngineError:
        """Return the failure by CP2K's output; ASE's exception is about text it cannot parse."""
        words = last_lines(folder / _OUTPUT, 60)
        for kind, pattern in _FAILURES:
            if re.search(pattern, words, re.IGNORECASE):
                return EngineError(kind, f"cp2k stopped: {_abort(words)}")
        if kind_in_output(words) is None and re.search(r"abort", words, re.IGNORECASE):
            return EngineError(FailureKind.ENGINE, f"cp2k stopped: {_abort(words)}")
        return failure_of(self, error, words)

    def _entries(self, level: LevelOfTheory) -> dict[str, str]:
        """Return the potential and the basis set of each element that has both, as text."""
        data, basis = Path(self.location.potentials), level.require_calculation().basis
        named = _listed(data / _POTENTIALS_FILE, potential_name(level))
        orbitals = _listed(data / _BASIS_FILE, (basis.name or "") if basis is not None else "")
        return {s: named[s] + orbitals[s] for s in sorted(named.keys() & orbitals.keys())}

    def _cp2k(
        self, job: CalculationJob, width_ev: float | None = None, guess: str = "ATOMIC"
    ) -> CP2K:
        data = Path(self.location.potentials).resolve()
        return CP2K(
            command=ending_with_parent(self.command, by_shell=True),
            label=str(job.folder / _PROJECT),
            potential_file=str(data / _POTENTIALS_FILE),
            basis_set_file=str(data / _BASIS_FILE),
            **cp2k_parameters(job, width_ev, guess),
        )


def _require_one_moment_each(level: LevelOfTheory) -> None:
    if level.require_calculation().spin.planes is not None:  # ASE writes one kind an element
        raise UserError(
            f"cp2k starts each element with one moment here, level {level.name} states spin.order "
            "antiferromagnetic; take gpaw, quantum-espresso or vasp for it"
        )


def potential_name(level: LevelOfTheory) -> str:
    """Return the name of the level's potentials in CP2K's data files: their family."""
    potentials = level.require_calculation().potentials
    return potentials.family if potentials is not None else ""


def cp2k_parameters(
    job: CalculationJob, width_ev: float | None = None, guess: str = "ATOMIC"
) -> dict[str, Any]:
    """Return the keywords of ASE's calculator; ``inp`` holds what it has no keyword for."""
    c = job.calculation
    if c.basis is None or c.scf is None:
        raise ValueError(f"level {job.level.name} was not checked for engine cp2k")
    steps = c.scf.max_steps * (_MORE_STEPS if job.rung is not Rung.AS_STATED else 1)
    return {
        "xc": _XC[job.level.functional],
        "cutoff": c.basis.cutoff_ev,
        "basis_set": c.basis.name,
        "pseudo_potential": potential_name(job.level),
        "max_scf": steps,
        "uks": bool(start_moments(job.atoms, c.spin).any()),
        "stress_tensor": False,
        "print_level": "MEDIUM",  # at LOW it may not say whether the SCF converged
        "inp": _template(job, c, width_ev, guess),
    }


def _template(job: CalculationJob, c: Calculation, width_ev: float | None, guess: str) -> str:
    if c.smearing is None or c.scf is None:
        raise ValueError(f"level {job.level.name} was not checked for engine cp2k")
    added = added_by("cp2k")
    gentle = job.rung is not Rung.AS_STATED
    kelvin = (width_ev or c.smearing.width_ev) / kB
    empty = int(added["empty_orbitals_per_atom"]) * len(job.atoms)
    dipole = ["SURFACE_DIPOLE_CORRECTION ON", "SURF_DIP_DIR Z"]
    lines = [
        "&FORCE_EVAL",
        "&DFT",
        *(dipole if needs_dipole(job.atoms, c) else []),
        *_kpoints(job, c),
        f"&QS\nEPS_DEFAULT {added['eps_default']:g}\n&END QS",
        f"&MGRID\nREL_CUTOFF [eV] {added['relative_cutoff_ev']:g}\n&END MGRID",
        "&SCF",
        f"SCF_GUESS {guess}",
        f"EPS_SCF {c.scf.energy_ev / Hartree:.3e}",
        f"ADDED_MOS {empty}",
        f"&SMEAR ON\nMETHOD FERMI_DIRAC\nELECTRONIC_TEMPERATURE [K] {kelvin:.2f}\n&END SMEAR",
        f"&MIXING\nMETHOD BROYDEN_MIXING\nALPHA {0.05 if gentle else 0.2:g}\n&END MIXING",
        "&END SCF",
        "&END DFT",
        *_kinds(job, c),
        "&END FORCE_EVAL",
    ]
    return "\n".join(lines)


def _kinds(job: CalculationJob, c: Calculation) -> list[str]:
    """Return the starting moment of each element that has one."""
    moments_N = start_moments(job.atoms, c.spin)
    symbols = job.atoms.get_chemical_symbols()
    of = {s: m for s, m in zip(symbols, moments_N.tolist(), strict=True) if m}
    lines = [f"&KIND {s}\nMAGNETIZATION {m:g}\n&END KIND" for s, m in sorted(of.items())]
    return ["&SUBSYS", *lines, "&END SUBSYS"] if lines else []


def _kpoints(job: CalculationJob, c: Calculation) -> list[str]:
    """Return an explicit mesh, of which time reversal spares half; none at Gamma alone.

    CP2K's own Monkhorst-Pack meshes miss Gamma where they are even.
    """
    if c.kpoints is None:
        raise ValueError(f"level {job.level.name} was not checked for engine cp2k")
    mesh = kpoint_mesh(job.atoms, c.kpoints)
    if mesh == (1, 1, 1):
        return []
    points = _reduced(mesh, gamma_centred(job.atoms, c.kpoints))
    words = [f"KPOINT {x:.8f} {y:.8f} {z:.8f} {weight}" for (x, y, z), weight in points]
    return ["&KPOINTS", "SCHEME GENERAL", "UNITS B_VECTOR", *words, "&END KPOINTS"]


def _reduced(
    mesh: tuple[int, int, int], gamma: bool
) -> list[tuple[tuple[float, float, float], int]]:
    """Return one of each pair k, -k with its weight, in a fixed order."""
    shifts = [0 if gamma or n % 2 else 1 for n in mesh]  # in halves of a step
    weights: dict[tuple[int, ...], int] = {}
    for index in product(*(range(n) for n in mesh)):
        here = tuple(2 * i + s for i, s in zip(index, shifts, strict=True))
        mirror = tuple((-h) % (2 * n) for h, n in zip(here, mesh, strict=True))
        key = min(here, mirror)
        weights[key] = weights.get(key, 0) + 1
    points = []
    for key, weight in sorted(weights.items()):
        x, y, z = ((h / (2 * n) + 0.5) % 1.0 - 0.5 for h, n in zip(key, mesh, strict=True))
        points.append(((x, y, z), weight))
    return points


def _listed(path: Path, name: str) -> dict[str, str]:
    """Return, by element, what a data file of CP2K lists under ``name``, comments left out."""
    if not name or not path.is_file():
        return {}
    found: dict[str, str] = {}
    symbol = ""  # of the entry that the line belongs to, where its name matches
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.partition("#")[0].split()
        if len(words) > 1 and words[0] in atomic_numbers:
            symbol = words[0] if name in _names(words[1:]) else ""
        if symbol and words:
            found[symbol] = found.get(symbol, "") + " ".join(words) + "\n"
    return found


def _names(words: list[str]) -> set[str]:
    """Return the names and those without a count of electrons: GTH-PBE-q11 is GTH-PBE too."""
    return {*words, *(re.sub(r"-q\d+$", "", word) for word in words)}


def _abort(words: str) -> str:
    """Return the part of the output that says why it stopped."""
    match = re.search(r"\[ABORT\].*|\*\*\* (WARNING|ERROR).*", words)
    return (match[0] if match else words)[-400:]
