"""What is kept of a calculation beside its energy: the engine's texts, the trajectory, versions."""

from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.extxyz import write_extxyz

from tasks.verification.engines.base import Engine
from tasks.verification.relaxation.checkpoint import RelaxationFrame
from tasks.verification.relaxation.logbook import Logbook

_READ_LIMIT_BYTES = 64_000_000
_TAIL_BYTES = 1_000_000  # of a file beyond the limit: how it ended


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
