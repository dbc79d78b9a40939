"""Quantum ESPRESSO: ``pw.x`` through ASE.

Its exit status is 1 for bad input or a missing pseudopotential (the file CRASH says which), 2 for
electrons that did not converge, 3 for a step limit, 255 for the wall limit. With
``scf_must_converge = .false.`` it ends with status 0 on unconverged electrons and prints a wrong
energy, so that keyword is refused.

Moments are Bohr magnetons in a level and in ASE. ``starting_magnetization`` is the moment for each
valence electron of the pseudopotential where it lies between -1 and 1, and from version 7.3 on a
moment where it does not (INPUT_PW). The first holds in every version, so that one is written; as
ASE hands moments over unchanged, nickel's 1.0 would else be read as all of its 18 electrons.
"""

import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.espresso import Espresso, EspressoProfile
from ase.data import atomic_numbers
from ase.units import Ry
from numpy.typing import NDArray

from model.processes import ending_with_parent
from tasks.levels import LevelOfTheory, added_by
from tasks.verification.engines.base import (
    CalculationJob,
    Engine,
    content_sha256,
    failure_of,
    program_missing,
    version_in,
)
from tasks.verification.engines.dft.upf import require_functional_of, valence_electrons
from tasks.verification.engines.failures import EngineError, FailureKind, Rung, kind_of, last_lines
from tasks.verification.engines.requirements import (
    DFT_SETTINGS,
    require_all_read,
    require_dispersion,
    require_energy_key,
    require_free_keywords,
    require_functional,
    require_settings,
)
from tasks.verification.inputs.sampling import (
    gamma_centred,
    kpoint_mesh,
    needs_dipole,
    start_moments,
    vacuum_middle,
)

_INPUT, _OUTPUT = "espresso.pwi", "espresso.pwo"
_ERRORS, _CRASH = "espresso.err", "CRASH"
_SMEARINGS = {
    "fermi-dirac": "fd",
    "methfessel-paxton": "mp",
    "gaussian": "gaussian",
    "marzari-vanderbilt": "mv",
}
_DISPERSION: dict[str, dict[str, Any]] = {
    "none": {},
    "D2": {"vdw_corr": "dft-d"},
    "D3": {"vdw_corr": "dft-d3", "dftd3_version": 3},
    "D3BJ": {"vdw_corr": "dft-d3", "dftd3_version": 4},
}
_WIDE_EV = 0.4
_MIXING = 0.7  # the program's default; the next rung takes
_GENTLE_MIXING = 0.2
_MORE_STEPS = 3
_TAKEN = (
    *("scf_must_converge", "tot_charge", "calculation", "ecutwfc", "ecutrho", "input_dft"),
    *("occupations", "smearing", "degauss", "nspin", "tefield", "dipfield", "edir", "emaxpos"),
    *("eopreg", "eamp", "vdw_corr", "dftd3_version", "conv_thr", "electron_maxstep"),
    *("mixing_beta", "startingpot", "startingwfc", "outdir", "pseudo_dir", "tprnfor"),
)
_STATUS = {
    2: (FailureKind.SCF_NOT_CONVERGED, "the electrons did not converge"),
    3: (FailureKind.IONS_NOT_CONVERGED, "the step limit was reached"),
    255: (FailureKind.WALL_LIMIT, "the wall limit was reached; it can go on from there"),
}


@dataclass(frozen=True)
class EspressoEngine(Engine):
    """Quantum ESPRESSO; ``potentials`` of its location is the folder of pseudopotentials."""

    name: ClassVar[str] = "quantum-espresso"
    outputs: ClassVar[tuple[str, ...]] = (_OUTPUT, _INPUT, _CRASH, _ERRORS)
    version_after_run: ClassVar[bool] = True
    functionals: ClassVar[frozenset[str]] = frozenset({"PBE", "PBEsol", "BEEF-vdW"})
    extrapolates: ClassVar[bool] = False

    @property
    def command(self) -> str:
        """Return the command that starts ``pw.x``."""
        return self.location.command or "pw.x"

    def missing(self) -> str:
        """Return what to install or set before it can run."""
        program = program_missing(
            self.command,
            "apt-get install quantum-espresso, or pip install qepy and set SABATIER_QE_COMMAND="
            "'python -m qepy --pw.x'",
        )
        if program or self.location.potentials:
            return program
        return "no pseudopotentials: set SABATIER_QE_POTENTIALS to the folder of the .upf files"

    def version(self) -> str:
        """Return the version that ``pw.x`` prints when it starts, or nothing where it does not."""
        try:
            return str(EspressoProfile(self.command, self.location.potentials).version())
        except (AssertionError, OSError):  # ASE asserts that the first line is the version's
            return ""

    def version_in_output(self, folder: Path) -> str:
        """Return the version that ``pw.x`` wrote."""
        return version_in(folder / _OUTPUT, r"Program PWSCF v\.(\S+)")

    def elements(self, level: LevelOfTheory) -> frozenset[str]:
        """Return the elements whose pseudopotential files lie in the folder."""
        return frozenset(self._files(level))

    def check_level(self, level: LevelOfTheory) -> None:
        """Refuse levels that Quantum ESPRESSO or this module cannot compute."""
        require_functional(self, level)
        require_energy_key(self, level)
        require_settings(self, level, "potentials")
        require_dispersion(self, level, [kind for kind in _DISPERSION if kind != "none"])
        require_free_keywords(self, level, _TAKEN)
        require_all_read(self, level, *DFT_SETTINGS, "basis.density_cutoff_ev", "potentials.files")

    def checksums(self, level: LevelOfTheory, symbols: Iterable[str]) -> dict[str, str]:
        """Return the SHA-256 of the pseudopotential of each element that has one."""
        files, folder = self._files(level), Path(self.location.potentials)
        return {s: content_sha256(folder / files[s]) for s in symbols if s in files}

    def check_potentials(self, level: LevelOfTheory, symbols: Iterable[str]) -> None:
        """Refuse pseudopotentials that were made with another functional than the level's."""
        files, folder = self._files(level), Path(self.location.potentials)
        for symbol in symbols:
            if symbol in files:
                require_functional_of(folder / files[symbol], level)

    def calculator(self, job: CalculationJob) -> Calculator:
        """Return a calculator of ``pw.x``; a smeared start leaves its density in the folder."""
        if job.rung is Rung.SMEARED_START:
            wide = self._espresso(job, {"degauss": _WIDE_EV / Ry})
            wide.get_potential_energy(job.atoms.copy())
            return self._espresso(job, {"startingpot": "file", "startingwfc": "file"})
        return self._espresso(job, {})

    def failure(self, error: Exception, folder: Path) -> EngineError:
        """Return the failure by the exit status of ``pw.x`` and its file CRASH."""
        output = f"{last_lines(folder / _OUTPUT)} {last_lines(folder / _ERRORS)}"
        if not isinstance(error, subprocess.CalledProcessError):
            return failure_of(self, error, output)
        crash = last_lines(folder / _CRASH)
        kind, reason = _STATUS.get(error.returncode, (kind_of(error, output), ""))
        if error.returncode == 1 and kind is FailureKind.ENGINE:
            lost = re.search(r"pseudo|readpp|upf", crash, re.IGNORECASE)
            kind = FailureKind.MISSING_POTENTIAL if lost else FailureKind.BAD_INPUT
        message = reason or crash or output.strip() or "no message"
        return EngineError(
            kind, f"quantum-espresso ended with status {error.returncode}: {message[-400:]}"
        )

    def _espresso(self, job: CalculationJob, changes: dict[str, Any]) -> Calculator:
        folder = Path(self.location.potentials).resolve()
        made = _Espresso(
            self._valences(job),
            profile=EspressoProfile(ending_with_parent(self.command), folder),
            directory=job.folder,
            pseudopotentials=self._files(job.level),
            **espresso_parameters(job, changes),
        )
        return cast(Calculator, made)  # one in all but its base class

    def _valences(self, job: CalculationJob) -> dict[str, float]:
        """Return the valence electrons of each element that may start magnetised."""
        files, folder = self._files(job.level), Path(self.location.potentials)
        moments_N = start_moments(job.atoms, job.calculation.spin)
        magnetic = {s for s, m in zip(job.atoms.symbols, moments_N, strict=True) if m}
        return {s: valence_electrons(folder / files[s]) for s in sorted(magnetic & set(files))}

    def _files(self, level: LevelOfTheory) -> dict[str, str]:
        """Return the file of each element: as the level names it, else by the symbol it begins."""
        folder = self.location.potentials
        if not folder or not Path(folder).is_dir():
            return {}
        here = sorted(p.name for p in Path(folder).iterdir() if p.suffix.lower() == ".upf")
        potentials = level.require_calculation().potentials
        if potentials is not None and potentials.files:
            return {s: name for s, name in potentials.files.items() if name in here}
        return _by_symbol(here)


class _Espresso(Espresso):
    """ASE's calculator, whose input has each moment as a share of its atom's valence electrons."""

    def __init__(self, valences: Mapping[str, float], **settings: Any) -> None:
        super().__init__(**settings)  # type: ignore[no-untyped-call]
        self._valences = valences

    def calculate(self, atoms: Atoms, properties: Any, system_changes: Any) -> None:
        """Run ``pw.x`` on the atoms with their moments in its unit."""
        scaled = atoms.copy()
        scaled.set_initial_magnetic_moments(starting_magnetization(atoms, self._valences))
        super().calculate(scaled, properties, system_changes)  # type: ignore[no-untyped-call]


def starting_magnetization(atoms: Atoms, valences: Mapping[str, float]) -> NDArray[np.float64]:
    """Return each atom's moment (N) as a share of its valence electrons, between -1 and 1.

    Raises:
        EngineError: an atom has more moment than valence electrons.
    """
    shares_N = np.zeros(len(atoms))
    for index, moment in enumerate(atoms.get_initial_magnetic_moments().tolist()):
        if not moment:
            continue
        symbol = atoms.symbols[index]
        shares_N[index] = moment / valences[symbol]
        if abs(shares_N[index]) >= 1.0:
            raise EngineError(
                FailureKind.BAD_INPUT,
                f"spin.moments are below the valence electrons, {symbol} has "
                f"{valences[symbol]:g} and starts with {moment:g}; lower its moment in the level",
            )
    return shares_N


def _by_symbol(names: Iterable[str]) -> dict[str, str]:
    """Return the file of each element that has one alone: of two, neither was chosen."""
    found: dict[str, list[str]] = {}
    for name in names:
        match = re.match(r"([A-Za-z]{1,2})[._-]", name)
        symbol = match[1].capitalize() if match else ""
        if symbol in atomic_numbers:
            found.setdefault(symbol, []).append(name)
    return {symbol: files[0] for symbol, files in found.items() if len(files) == 1}


def espresso_parameters(job: CalculationJob, changes: dict[str, Any]) -> dict[str, Any]:
    """Return the keywords of ASE's calculator.

    Args:
        job: A structure at a level that the engine has checked; its rung changes mixing and steps.
        changes: Entries of ``input_data`` that replace or follow the level's.

    Returns:
        ``input_data`` (flat; ASE sorts it into namelists, Ry), ``kpts`` and ``koffset``.

    Raises:
        ValueError: the level leaves out what ``check_level`` requires.
    """
    c = job.calculation
    if c.basis is None or c.kpoints is None or c.smearing is None or c.scf is None:
        raise ValueError(f"level {job.level.name} was not checked for engine quantum-espresso")
    gentle = job.rung is not Rung.AS_STATED
    flat: dict[str, Any] = {
        "calculation": "scf",
        "outdir": "./scratch",
        "tprnfor": True,
        "ecutwfc": c.basis.cutoff_ev / Ry,
        "input_dft": job.level.functional,
        "occupations": "smearing",
        "smearing": _SMEARINGS[c.smearing.kind],
        "degauss": c.smearing.width_ev / Ry,
        "conv_thr": c.scf.energy_ev / Ry,
        "electron_maxstep": c.scf.max_steps * (_MORE_STEPS if gentle else 1),
        "mixing_beta": _GENTLE_MIXING if gentle else _MIXING,
        **_DISPERSION[c.dispersion],
        **c.keywords,
    }
    if c.basis.density_cutoff_ev is not None:
        flat["ecutrho"] = c.basis.density_cutoff_ev / Ry
    if start_moments(job.atoms, c.spin).any():
        flat["nspin"] = 2
    if needs_dipole(job.atoms, c):
        flat |= _dipole(job)
    shift = 0 if gamma_centred(job.atoms, c.kpoints) else 1
    mesh = kpoint_mesh(job.atoms, c.kpoints)
    offsets = tuple(shift if count % 2 == 0 else 0 for count in mesh)
    return {"input_data": flat | changes, "kpts": mesh, "koffset": offsets}


def _dipole(job: CalculationJob) -> dict[str, Any]:
    """Return a saw-tooth that jumps in the middle of the vacuum and has no field of its own."""
    added = added_by("quantum-espresso")
    width = float(added["dipole_width"])
    return {
        "tefield": True,
        "dipfield": True,
        "edir": 3,
        "emaxpos": round((vacuum_middle(job.atoms) - width / 2) % 1.0, 6),
        "eopreg": width,
        "eamp": added["dipole_amplitude_au"],
    }
