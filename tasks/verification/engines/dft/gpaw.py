"""GPAW: plane waves and PAW setups, installed by ``pip install sabatier[dft]``.

Under MPI a calculation with one k-point, such as every gas reference, dies where ScaLAPACK is
missing: run one serial process for each core.
"""

import importlib.metadata
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, cast

from ase import Atoms
from ase.calculators.calculator import Calculator

from tasks.levels import LevelOfTheory, Smearing, added_by
from tasks.verification.engines.base import CalculationJob, Engine, content_sha256, failure_of
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
    is_slab,
    kpoint_mesh,
    needs_dipole,
    start_moments,
)

_LOG = "gpaw.txt"
_GENTLE_MIXING = 0.02  # GPAW's own is 0.05
_MORE_STEPS = 3
_WIDE_EV = 0.3  # smearing of a start
_TAKEN = (
    *("mode", "xc", "h", "gpts", "kpts", "occupations", "convergence", "maxiter", "mixer"),
    *(
        "poissonsolver",
        "setups",
        "spinpol",
        "magmoms",
        "hund",
        "charge",
        "txt",
        "background_charge",
    ),
)


@dataclass(frozen=True)
class GpawEngine(Engine):
    """GPAW in this process; ``potentials`` of its location overrides where its setups lie."""

    name: ClassVar[str] = "gpaw"
    outputs: ClassVar[tuple[str, ...]] = (_LOG,)
    functionals: ClassVar[frozenset[str]] = frozenset({"PBE", "RPBE", "revPBE", "BEEF-vdW"})

    def missing(self) -> str:
        """Return how to install GPAW where it is not."""
        if find_spec("gpaw") is None:
            return (
                "GPAW is not installed: pip install 'sabatier[dft]' (it needs g++; without a BLAS "
                "or libxc, set GPAW_CONFIG to a file with the lines mpi=False, compiler='g++', "
                "nolibxc=True, noblas=True)"
            )
        return ""

    def version(self) -> str:
        """Return GPAW's version."""
        return importlib.metadata.version("gpaw")

    def elements(self, level: LevelOfTheory) -> frozenset[str]:
        """Return the elements that have a setup for the level's functional on this machine."""
        return frozenset(self._setups(level))

    def check_level(self, level: LevelOfTheory) -> None:
        """Refuse levels that GPAW or this module cannot compute."""
        require_functional(self, level)
        require_energy_key(self, level)
        # CO in the gas relaxes on the grid's own ripples unless a grid is stated: basis.grid_ang
        require_settings(self, level)
        require_dispersion(self, level, ())
        require_free_keywords(self, level, _TAKEN)
        require_all_read(self, level, *DFT_SETTINGS, "basis.grid_ang")

    def checksums(self, level: LevelOfTheory, symbols: Iterable[str]) -> dict[str, str]:
        """Return the SHA-256 of the unpacked setup of each element that has one."""
        setups = self._setups(level)
        return {symbol: content_sha256(setups[symbol]) for symbol in symbols if symbol in setups}

    def calculator(self, job: CalculationJob) -> Calculator:
        """Return a GPAW calculator; a smeared start has converged once with wide smearing."""
        from gpaw import GPAW  # 0.5 s, and an extra

        if self.location.potentials:
            import gpaw

            gpaw.setup_paths[:0] = [Path(self.location.potentials)]
        stated = cast(Calculator, GPAW(**gpaw_parameters(job)))  # GPAW annotates it otherwise
        if job.rung is not Rung.SMEARED_START:
            return stated
        wide = GPAW(**gpaw_parameters(job, width_ev=_WIDE_EV))
        narrowed: Calculator = _narrowed(wide, stated, job.atoms.copy())
        return narrowed

    def prepared(self, atoms: Atoms) -> Atoms:
        """Return a slab open along c, which the dipole layer asks for, and others as they are."""
        if not is_slab(atoms):
            return atoms
        opened: Atoms = atoms.copy()
        opened.pbc = (True, True, False)
        return opened

    def failure(self, error: Exception, folder: Path) -> EngineError:
        """Return GPAW's exceptions as failures; the messages of two of them are replaced."""
        if any(kind.__name__ == "KohnShamConvergenceError" for kind in type(error).__mro__):
            return EngineError(
                FailureKind.SCF_NOT_CONVERGED,
                "gpaw: the electrons did not converge; see the steps at the end of its log: "
                + last_lines(folder / _LOG, 6),
            )
        if isinstance(error, FileNotFoundError) and "PAW dataset" in str(error):
            wanted = re.search(r'"([^"]+)"', str(error))
            return EngineError(
                FailureKind.MISSING_POTENTIAL,
                f"gpaw has no setup {wanted[1] if wanted else ''}; install it, or set "
                "GPAW_SETUP_PATH to where it lies",
            )
        return failure_of(self, error)

    def _setups(self, level: LevelOfTheory) -> dict[str, Path]:
        """Return the setup file of each element; the first folder that has one counts."""
        # BEEF-vdW has no setups of its own: GPAW takes those of PBE
        xc = "PBE" if level.functional == "BEEF-vdW" else level.functional
        found: dict[str, Path] = {}
        for folder in self._folders():
            for path in sorted(folder.glob(f"*.{xc}*")):
                match = re.fullmatch(rf"([A-Z][a-z]?)\.{re.escape(xc)}(\.gz)?", path.name)
                if match:
                    found.setdefault(match[1], path)
        return found

    def _folders(self) -> list[Path]:
        if self.location.potentials:
            return [Path(self.location.potentials)]
        from gpaw import setup_paths

        return [Path(folder) for folder in setup_paths]


def gpaw_parameters(job: CalculationJob, width_ev: float | None = None) -> dict[str, Any]:
    """Return the keywords of a GPAW calculator.

    Args:
        job: A structure at a level that the engine has checked; its rung changes mixing and steps.
        width_ev: Smearing width (eV) in place of the level's.

    Returns:
        Keywords by name, energies in eV.

    Raises:
        ValueError: the level leaves out what ``check_level`` requires.
    """
    c = job.calculation
    if c.basis is None or c.kpoints is None or c.smearing is None or c.scf is None:
        raise ValueError(f"level {job.level.name} was not checked for engine gpaw")
    added = added_by("gpaw")
    gentle = job.rung is not Rung.AS_STATED
    parameters: dict[str, Any] = {
        "mode": {"name": "pw", "ecut": c.basis.cutoff_ev},
        "xc": job.level.functional,
        "kpts": {"size": kpoint_mesh(job.atoms, c.kpoints)},
        "occupations": _occupations(c.smearing, width_ev or c.smearing.width_ev),
        "convergence": {
            "energy": {"name": "energy", "tol": c.scf.energy_ev, "relative": False},
            "density": added["density_convergence"],
            "eigenstates": added["eigenstates_convergence"],
        },
        "maxiter": c.scf.max_steps * (_MORE_STEPS if gentle else 1),
        "txt": str(job.folder / _LOG),
        **c.keywords,
    }
    if c.basis.grid_ang is not None:
        parameters["h"] = c.basis.grid_ang
    if gamma_centred(job.atoms, c.kpoints):
        parameters["kpts"]["gamma"] = True
    if gentle:
        parameters["mixer"] = {"beta": _GENTLE_MIXING}
    if start_moments(job.atoms, c.spin).any():
        parameters["spinpol"] = True
    if needs_dipole(job.atoms, c):
        parameters["poissonsolver"] = {"dipolelayer": "xy"}
    return parameters


def _occupations(smearing: Smearing, width_ev: float) -> dict[str, Any]:
    """Return GPAW's words for a smearing; to it the Gaussian is Methfessel-Paxton's order 0."""
    order = added_by("gpaw", smearing.kind).get("methfessel_paxton_order")
    if order is None:
        return {"name": smearing.kind, "width": width_ev}
    return {"name": "methfessel-paxton", "width": width_ev, "order": order}


def _narrowed(wide: Any, stated: Any, atoms: Atoms) -> Any:
    """Return ``wide`` after it converged, with the occupations that are ``stated`` from here on."""
    wide.get_potential_energy(atoms)
    stated.create_new_calculation(atoms)
    wide.dft.scf_loop.occ_calc = stated.dft.scf_loop.occ_calc
    wide.params = stated.params
    wide.dft.results.clear()  # what was found with wide smearing is not an answer
    return wide
