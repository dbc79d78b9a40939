"""One attempt at one item: where it goes on from, and everything it leaves beside its energy.

That is notes, the steps, the engine's texts, the trajectory and versions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.extxyz import write_extxyz

from tasks.verification.engines import Engine, ScfTry
from tasks.verification.relaxation.checkpoint import RelaxationFrame, Watch

_SAME_CELL_ANG = 1e-6
_READ_LIMIT_BYTES = 64_000_000
_TAIL_BYTES = 1_000_000  # of a file beyond the limit: how it ended


@dataclass(frozen=True)
class LastGeometry:
    """The geometry at which an earlier attempt at the item ended.

    ``attempt`` is the number of that attempt, ``initial_fmax_ev_ang`` the largest force at the very
    first start, which a start from here does not show.
    """

    atoms: Atoms
    attempt: int
    initial_fmax_ev_ang: float = 0.0


@dataclass
class Logbook:
    """One attempt at an item: a candidate or slab by its id, or a molecule.

    ``folder`` is its path under the engine's work folder: it follows from item, level and
    input, so that the next attempt finds it; without it a relaxation cannot go on.
    """

    item: str = ""
    folder: str = ""
    attempt: int = 1
    last: LastGeometry | None = None
    watch: Watch | None = None
    notes: list[str] = field(default_factory=list)
    rungs: list[str] = field(default_factory=list)  # the outcome of each rung of an SCF ladder
    frames: list[RelaxationFrame] = field(
        default_factory=list
    )  # new ones of the item's own relaxation
    atoms: Atoms | None = None  # at the last of them, or at the end
    start: Atoms | None = None  # what was to be computed
    files: dict[str, bytes] = field(default_factory=dict)  # most useful first
    versions: dict[str, str] = field(default_factory=dict)
    work_folder: str = ""  # path of the item's folder, once it exists

    @property
    def last_attempt(self) -> int:
        """Return the number of the attempt that left the last geometry, 0 where none did."""
        return 0 if self.last is None else self.last.attempt

    def note(self, what: str) -> None:
        """Note something that happened, once."""
        if what not in self.notes:
            self.notes.append(what)

    def tried(self, part: str, one: ScfTry) -> None:
        """Keep the outcome of a rung; ``part`` names a relaxation beside the item's own."""
        self.rungs.append(f"{part.replace('-', ' ')}{one}")

    def geometry(self, atoms: Atoms) -> Atoms | None:
        """Return ``atoms`` at the last geometry, or None where there is none of these atoms."""
        if self.last is None:
            return None
        last = self.last.atoms
        fits = np.array_equal(last.numbers, atoms.numbers) and np.allclose(
            last.cell.array, atoms.cell.array, rtol=0, atol=_SAME_CELL_ANG
        )
        if not fits:
            self.note("the last geometry is of other atoms and was left out")
            return None
        moved: Atoms = atoms.copy()
        moved.set_positions(last.positions)  # fixed atoms stay
        return moved

    def step(self, atoms: Atoms, frame: RelaxationFrame) -> None:
        """Add a step of the item's own relaxation of ``atoms``."""
        self.frames.append(frame)
        self.atoms = atoms.copy()
        self.atoms.positions = frame.positions_N3
        if self.watch is not None:
            self.watch(frame)


def keep(
    book: Logbook,
    engine: Engine,
    folder: Path,
    name: str,
    atoms: Atoms,
    frames: Sequence[RelaxationFrame],
) -> None:
    """Add the files that an engine left in ``folder``, and the steps that ``atoms`` took."""
    files = {f"{name}.extxyz": trajectory(atoms, frames)} if frames else {}
    for output in engine.outputs:
        path = folder / output
        if path.is_file():
            files |= _content(path, f"{name}-{output}")
    book.files = files | book.files
    version = engine.version_in_output(folder) or book.versions.get(engine.name) or engine.version()
    if version:
        book.versions[engine.name] = version


def trajectory(atoms: Atoms, frames: Sequence[RelaxationFrame]) -> bytes:
    """Return steps as extended XYZ, with energies (eV) and forces (eV/Å)."""
    images = []
    for frame in frames:
        image = atoms.copy()
        image.info = {}
        image.positions = frame.positions_N3
        image.calc = SinglePointCalculator(image, energy=frame.energy_ev, forces=frame.forces_N3)
        images.append(image)
    text = StringIO()
    write_extxyz(text, images)
    return text.getvalue().encode()


def _content(path: Path, name: str) -> dict[str, bytes]:
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= _READ_LIMIT_BYTES:
            return {name: file.read()}
        file.seek(size - _TAIL_BYTES)
        return {f"tail-of-{name}": file.read()}
