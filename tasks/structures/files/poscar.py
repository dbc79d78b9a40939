"""POSCAR files of VASP 4 to 6: elements and counts are checked here, ASE reads the rest.

VASP 4 writes no elements; they are taken from the comment where it names as many as there are
counts. Guesses, and searches in other files of the folder, are left out.

Units   Å; the scaling factor, negative where it is a volume (Å^3), is applied.
"""

import io
import re
import warnings

from ase import Atoms
from ase.io import read

from tasks.errors import UserError
from tasks.structures.files.cif_sites import MAX_ATOMS
from tasks.structures.files.species import element_symbol

_FLAGS = ("T", "F", ".TRUE.", ".FALSE.")


def read_poscar(text: str) -> Atoms:
    """Return the structure of a POSCAR.

    Raises:
        UserError: its elements are not stated, or its counts and positions differ.
    """
    lines = text.split("\n")
    if len(lines) < 8:
        raise UserError(f"a POSCAR has 8 lines or more: this has {len(lines)}")
    if _words(lines[5]) and all(word.isdigit() for word in _words(lines[5])):
        counts = _counts(lines[5])
        elements = _from_comment(lines[0], counts)
    else:
        counts = _counts(lines.pop(6))
        elements = [element_symbol(word) for word in _words(lines[5])]
    if len(elements) != len(counts):
        raise UserError(f"a POSCAR has a count for each element: got {elements} and {counts}")
    if not 0 < sum(counts) <= MAX_ATOMS:
        raise UserError(f"a structure has 1 to {MAX_ATOMS:,} atoms: the counts say {sum(counts)}")
    _check_positions(lines[6:], elements, counts)
    head = [*lines[:5], " ".join(elements), " ".join(map(str, counts))]
    return one_frame("\n".join([*head, *lines[6:], ""]), "vasp")


def one_frame(text: str, kind: str) -> Atoms:
    """Return the structure that ASE reads of a text with one, in a format of ASE."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ASE: what matters is checked before
        frames = read(io.StringIO(text), format=kind)
    return frames[-1] if isinstance(frames, list) else frames


def _words(line: str) -> list[str]:
    return re.split(r"[!#]", line)[0].split()


def _counts(line: str) -> list[int]:
    words = _words(line)
    if not words or not all(re.fullmatch(r"\d{1,9}", word) for word in words):
        raise UserError(f"the counts of a POSCAR are whole numbers: got {line.strip()!r}")
    return [int(word) for word in words]


def _from_comment(comment: str, counts: list[int]) -> list[str]:
    """Return the elements that a comment such as ``Cu3 Pt`` or ``Cu Pt`` names, if they fit."""
    words = comment.replace(",", " ").split()
    named = [
        part for word in words if re.fullmatch(r"([A-Z][a-z]?\d*)+", word)
        for part in re.findall(r"([A-Z][a-z]?)(\d*)", word)
    ]  # fmt: skip
    try:
        elements = [element_symbol(symbol) for symbol, _ in named]
    except UserError:
        elements = []
    numbers = [int(number or 1) for _, number in named]
    numbered = any(number for _, number in named)
    ratios = {count / number for count, number in zip(counts, numbers, strict=False) if number}
    if len(elements) != len(counts) or (numbered and len(ratios) != 1):
        raise UserError(
            f"a POSCAR of VASP 4 names its elements in the comment, one for each count: "
            f"{comment.strip()[:60]!r} for {counts}; add a line of elements before the counts"
        )
    return elements


def _check_positions(lines: list[str], elements: list[str], counts: list[int]) -> None:
    selective = lines[0].strip()[:1].lower() == "s"
    mode, rows = (lines[1:2], lines[2:]) if selective else (lines[:1], lines[1:])
    if not mode or mode[0].strip()[:1].lower() not in ("d", "c", "k"):
        raise UserError("a POSCAR says Direct or Cartesian before its positions")
    total = sum(counts)
    following = rows[total].split() if len(rows) > total else []
    if len([row for row in rows[:total] if len(row.split()) >= 3]) < total:
        raise UserError(f"a POSCAR has as many positions as its counts say: {total}")
    if following and re.match(r"[+-]?[\d.]", following[0]):
        raise UserError(
            f"a POSCAR has as many positions as its counts say: it has more than {total}"
        )
    species = [
        element for element, count in zip(elements, counts, strict=True) for _ in range(count)
    ]
    for element, row in zip(species, rows[:total], strict=True):
        words = row.split()
        if selective and not all(word.upper() in _FLAGS for word in (words[3:6] + [""] * 3)[:3]):
            raise UserError("with selective dynamics each position has three flags, T or F")
        label = words[6 if selective else 3 :][:1]
        if label and label[0].upper() not in _FLAGS and label[0].isalpha():
            _check_label(label[0], element)


def _check_label(label: str, element: str) -> None:
    try:
        named = element_symbol(label)
    except UserError:
        return  # a remark
    if named != element:
        raise UserError(
            f"labels and counts agree: a position is labelled {named}, the counts say {element}"
        )
