"""Labels in a table: a CSV file that names a structure file and an energy in each line.

Columns  ``structure`` and ``energy_ev`` are needed; ``adsorbate``, ``miller``, ``bulk``, ``level``,
         ``slab`` (a structure file), ``slab_energy_ev``, ``start`` (a structure file), ``role``,
         ``converged`` and ``fmax_ev_ang`` may be there. Paths are relative to the table.
"""

import csv
import io
from pathlib import Path
from typing import Any

from ase import Atoms

from tasks.errors import UserError
from tasks.structures.files.structure_files import read_structure
from tasks.training_data.imported.source_rows import ENERGY_RULE, MOST_ROWS, SourceContent

_MOST_BYTES = 64 * 2**20
_STRUCTURES = ("slab", "start")
_NEEDED = ("structure", "energy_ev")
_KNOWN = (
    *(*_NEEDED, "adsorbate", "miller", "bulk", "level", "slab", "slab_energy_ev", "start"),
    *("role", "converged", "fmax_ev_ang", "energy_unit"),
)


def read_label_table(path: Path, content: SourceContent) -> None:
    """Add the rows of a CSV file.

    Args:
        path: The table; structures are found from its folder.
        content: Gets the rows, and the reasons of those that are none.

    Raises:
        UserError: it is no table, lacks a column that is needed, or has one in another unit.
    """
    lines = csv_lines(path)
    names = [name.strip().lower() for name in lines[0]]
    _require_columns(path, names)
    structures = _StructureFiles(path.parent)
    for number, words in enumerate(lines[1:], start=2):
        if not any(word.strip() for word in words):
            continue
        source = f"{path.name}:{number}"
        if len(words) != len(names):
            content.refuse(source, f"columns: the header names {len(names)}, here {len(words)}")
            continue
        facts: dict[str, Any] = dict(zip(names, (w.strip() for w in words), strict=True))
        try:
            atoms = structures(facts.pop("structure"))
            for name in _STRUCTURES:
                facts[name] = structures(facts[name]) if facts.get(name) else None
        except UserError as error:
            content.refuse(source, f"structure: {error}")
            continue
        if not facts["energy_ev"]:
            content.refuse(source, "energy: none is given in column energy_ev")
            continue
        content.add(source, atoms, facts)


def read_gas_table(path: Path) -> dict[str, float]:
    """Return the energies (eV) of gas molecules from a CSV file: ``molecule``, ``energy_ev``.

    Raises:
        UserError: it is no such table, or a molecule has two energies.
    """
    lines = csv_lines(path)
    names = [name.strip().lower() for name in lines[0]]
    if names != ["molecule", "energy_ev"]:
        raise UserError(
            f"a table of references has the columns molecule and energy_ev; {path} has "
            f"{', '.join(names)}: rename them, {ENERGY_RULE}"
        )
    return gas_energies([f"{line[0]}={line[1]}" for line in lines[1:] if len(line) == len(names)])


def gas_energies(stated: list[str]) -> dict[str, float]:
    """Return energies (eV) by molecule from statements such as ``H2=-6.77``.

    Raises:
        UserError: one is no such statement, or a molecule has two energies.
    """
    found: dict[str, float] = {}
    for each in stated:
        molecule, _, word = each.partition("=")
        try:
            energy_ev = float(word)
        except ValueError:
            energy_ev = float("nan")
        name = molecule.strip()
        if not name or not abs(energy_ev) < float("inf"):
            raise UserError(f"the energy of a gas molecule is given as H2=-6.77 (eV), got {each!r}")
        if found.setdefault(name, energy_ev) != energy_ev:
            raise UserError(f"a gas molecule has one energy; {name} has two: leave one out")
    return found


def csv_lines(path: Path) -> list[list[str]]:
    """Return the lines of a CSV file as words, the header first.

    Args:
        path: The file; commas, semicolons or tabs part its words.

    Returns:
        The lines that are not empty.

    Raises:
        UserError: the file is a web page, no text, empty, or too large.
    """
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise UserError(
                f"a table has at most {_MOST_BYTES // 2**20} MiB, {path} has {size // 2**20}: "
                "split it"
            )
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"a table is text in UTF-8; {path} is not: save it as CSV") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); check the path") from None
    if text.lstrip()[:1] == "<":
        raise UserError(
            f"a table is a CSV file; {path} begins as a web page or XML: download the file itself"
        )
    try:
        lines = list(csv.reader(io.StringIO(text), delimiter=_delimiter(text)))
    except csv.Error as error:
        raise UserError(f"{path} cannot be read as CSV: {error}; save it again") from None
    lines = [line for line in lines if line]
    if len(lines) < 2:
        raise UserError(f"a table has a header and at least one row; {path} has {len(lines)} lines")
    if len(lines) > MOST_ROWS:
        raise UserError(f"a table has at most {MOST_ROWS:,} rows, {path} has more: split it")
    return lines


def _delimiter(text: str) -> str:
    header = text.partition("\n")[0]
    return max((",", ";", "\t"), key=header.count)


def _require_columns(path: Path, names: list[str]) -> None:
    missing = [name for name in _NEEDED if name not in names]
    if "energy_ev" in missing and (other := [name for name in names if "energy" in name]):
        raise UserError(
            f"{ENERGY_RULE}, in a column energy_ev; {path} has {', '.join(other)}: convert it and "
            "rename it"
        )
    if missing:
        raise UserError(
            f"a table of labels has the columns {' and '.join(_NEEDED)}; {path} lacks "
            f"{', '.join(missing)} and has {', '.join(names)[:200]}"
        )
    if unknown := [name for name in names if name not in _KNOWN]:
        raise UserError(
            f"columns of a table of labels are {', '.join(_KNOWN)}; {path} has "
            f"{', '.join(unknown)[:200]} as well: leave it out or rename it"
        )


class _StructureFiles:
    """Structure files that lines of one table name, each read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, Atoms] = {}

    def __call__(self, name: str) -> Atoms:
        if not name:
            raise UserError("no file is named in column structure")
        if name not in self._read:
            try:
                self._read[name] = read_structure(self._folder / name)
            except UserError as error:
                raise UserError(f"{name}: {error}") from error
        return self._read[name]
