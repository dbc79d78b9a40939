"""VASP through ASE: licensed, so tested here against stored outputs alone.

VASP ends with status 0 where its electrons did not converge: the calculator's ``converged`` has to
be the value True: ASE leaves None where it cannot read it. The atoms are moved here, never by VASP.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ase.calculators.calculator import Calculator
from ase.calculators.vasp import Vasp

from model.processes import ending_with_parent
from tasks.errors import UserError
from tasks.levels import LevelOfTheory, added_by
from tasks.verification.engines.base import (
    CalculationJob,
    Engine,
    content_sha256,
    failure_of,
    program_missing,
    version_in,
)
from tasks.verification.engines.failures import EngineError, FailureKind, Rung, last_lines
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
)

_OUTPUT, _OUTCAR = "vasp.out", "OUTCAR"
_XC = {"PBE": "pbe", "RPBE": "rpbe", "PBEsol": "pbesol", "BEEF-vdW": "beef-vdw"}
_ISMEAR = {"fermi-dirac": -1, "gaussian": 0, "methfessel-paxton": 1}
_IVDW = {"none": None, "D2": 10, "D3": 11, "D3BJ": 12}
_WIDE_EV = 0.4
_MORE_STEPS = 3
_TAKEN = (
    *("nelect", "encut", "gga", "xc", "pp", "setups", "kpts", "gamma", "ismear", "sigma", "ispin"),
    *("magmom", "ldipol", "idipol", "dipol", "ivdw", "ediff", "nelm", "amix", "bmix", "amix_mag"),
    *("bmix_mag", "ibrion", "nsw", "istart", "icharg", "command", "directory"),
)
_FAILURES = (
    (FailureKind.MISSING_POTENTIAL, r"No pseudopotential for|POTCAR.*(not found|missing)"),
    (FailureKind.BAD_INPUT, r"VERY BAD NEWS|number of potentials.*incompatible|Error reading item"),
    (FailureKind.SCF_NOT_CONVERGED, r"BRMIX: very serious problems|EDDDAV|ZBRENT"),
)


class _FreshVasp(Vasp):
    """VASP that cannot be answered by the files of an earlier step."""

    def calculate(self, *args: Any, **kwargs: Any) -> None:
        """Remove the output of an earlier run, then compute."""
        for name in (_OUTCAR, "vasprun.xml"):
            (Path(self.directory) / name).unlink(missing_ok=True)
        super().calculate(*args, **kwargs)  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class VaspEngine(Engine):
    """VASP; ``potentials`` of its location is the folder that holds ``potpaw_PBE`` or the like."""

    name: ClassVar[str] = "vasp"
    outputs: ClassVar[tuple[str, ...]] = (_OUTCAR, "INCAR", "KPOINTS", "POSCAR", _OUTPUT)
    version_after_run: ClassVar[bool] = True
    functionals: ClassVar[frozenset[str]] = frozenset(_XC)

    @property
    def command(self) -> str:
        """Return the command that starts VASP; there is no default."""
        return self.location.command

    def missing(self) -> str:
        """Return what to install or set before it can run."""
        if not self.location.command:
            return "no command: set SABATIER_VASP_COMMAND, such as 'mpirun -n 8 vasp_std'"
        program = program_missing(self.location.command, "VASP is licensed; install your own copy")
        if program or self.location.potentials:
            return program
        return "no potentials: set SABATIER_VASP_POTENTIALS to the folder that holds potpaw_PBE"

    def version(self) -> str:
        """Return an empty text: only a calculation's OUTCAR holds VASP's version."""
        return ""

    def version_in_output(self, folder: Path) -> str:
        """Return the version that VASP wrote; its potentials are licensed and are not kept."""
        return version_in(folder / _OUTCAR, r"vasp\.(\S+)")

    def elements(self, level: LevelOfTheory) -> frozenset[str]:
        """Return the elements whose POTCAR of the level's kind lies in the family's folder."""
        return frozenset(self._potcars(level))

    def check_level(self, level: LevelOfTheory) -> None:
        """Refuse levels that VASP or this module cannot compute."""
        require_functional(self, level)
        require_energy_key(self, level)
        require_settings(self, level, "potentials")
        require_dispersion(self, level, [kind for kind in _IVDW if kind != "none"])
        require_free_keywords(self, level, _TAKEN)
        require_all_read(self, level, *DFT_SETTINGS, "potentials.kinds")
        _ismear(level)

    def checksums(self, level: LevelOfTheory, symbols: Iterable[str]) -> dict[str, str]:
        """Return the SHA-256 of the POTCAR of each element that has one."""
        potcars = self._potcars(level)
        return {symbol: content_sha256(potcars[symbol]) for symbol in symbols if symbol in potcars}

    def calculator(self, job: CalculationJob) -> Calculator:
        """Return a calculator of VASP; a smeared start leaves its density in the folder."""
        if job.rung is Rung.SMEARED_START:
            wide = self._vasp(job, {"sigma": _WIDE_EV, "lcharg": True, "lwave": True})
            wide.get_potential_energy(job.atoms.copy())
            return self._vasp(job, {"istart": 1, "icharg": 1})
        return self._vasp(job, {})

    def electrons_converged(self, calculator: Calculator, folder: Path) -> bool:
        """Return whether OUTCAR says that the electrons reached their limit."""
        return getattr(calculator, "converged", None) is True

    def failure(self, error: Exception, folder: Path) -> EngineError:
        """Return the failure by VASP's output; some errors end with status 0 and no energy."""
        words = f"{last_lines(folder / _OUTPUT, 40)} {last_lines(folder / _OUTCAR, 5)}"
        for kind, pattern in _FAILURES:
            if re.search(pattern, f"{error} {words}"):
                return EngineError(kind, f"vasp stopped: {error} {words}"[:500])
        return failure_of(self, error, words)

    def _vasp(self, job: CalculationJob, changes: dict[str, Any]) -> Calculator:
        made: Calculator = _FreshVasp(
            command=ending_with_parent(self.location.command, by_shell=True) or None,
            directory=str(job.folder),
            txt=_OUTPUT,
            **vasp_parameters(job, str(self._family(job.level))) | changes,
        )
        return made

    def _family(self, level: LevelOfTheory) -> Path:
        potentials = level.require_calculation().potentials
        return Path(self.location.potentials).resolve() / (potentials.family if potentials else "")

    def _potcars(self, level: LevelOfTheory) -> dict[str, Path]:
        family, potentials = self._family(level), level.require_calculation().potentials
        kinds = potentials.kinds if potentials is not None else {}
        if not self.location.potentials or not family.is_dir():
            return {}
        names = {re.match(r"[A-Z][a-z]?", p.name) for p in family.iterdir()}
        symbols = {match[0] for match in names if match}
        paths = {s: family / f"{s}{kinds.get(s, '')}" / "POTCAR" for s in sorted(symbols)}
        return {symbol: path for symbol, path in paths.items() if path.is_file()}


def vasp_parameters(job: CalculationJob, family: str) -> dict[str, Any]:
    """Return the keywords of ASE's calculator.

    Args:
        job: A structure at a level that the engine has checked; its rung changes mixing and steps.
        family: Folder that holds a folder with a POTCAR for each element.

    Returns:
        Keywords by name, energies in eV.

    Raises:
        ValueError: the level leaves out what ``check_level`` requires.
    """
    c = job.calculation
    if c.basis is None or c.kpoints is None or c.smearing is None or c.scf is None:
        raise ValueError(f"level {job.level.name} was not checked for engine vasp")
    moments_N = start_moments(job.atoms, c.spin)
    gentle = job.rung is not Rung.AS_STATED
    parameters: dict[str, Any] = {
        "xc": _XC[job.level.functional],
        "pp": family,
        "setups": dict(c.potentials.kinds) if c.potentials else {},
        "encut": c.basis.cutoff_ev,
        "kpts": kpoint_mesh(job.atoms, c.kpoints),
        "gamma": gamma_centred(job.atoms, c.kpoints),
        "ismear": _ismear(job.level),
        "sigma": c.smearing.width_ev,
        "ediff": c.scf.energy_ev,
        "nelm": c.scf.max_steps * (_MORE_STEPS if gentle else 1),
        "ispin": 2 if moments_N.any() else 1,
        **added_by("vasp"),
        **c.keywords,
    }
    if moments_N.any():
        parameters["magmom"] = moments_N.tolist()
    if _IVDW[c.dispersion] is not None:
        parameters["ivdw"] = _IVDW[c.dispersion]
    if gentle:  # linear mixing in small steps
        parameters |= {"amix": 0.1, "bmix": 0.0001, "amix_mag": 0.4, "bmix_mag": 0.0001}
    if needs_dipole(job.atoms, c):
        centre = job.atoms.get_center_of_mass(scaled=True).tolist()
        parameters |= {"ldipol": True, "idipol": 3, "dipol": centre}
    return parameters


def _ismear(level: LevelOfTheory) -> int:
    smearing = level.require_calculation().smearing
    if smearing is None or smearing.kind not in _ISMEAR:
        raise UserError(
            f"vasp smears by {', '.join(_ISMEAR)}; level {level.name} states "
            f"{smearing.kind if smearing else 'none'}; change it"
        )
    return _ISMEAR[smearing.kind]
