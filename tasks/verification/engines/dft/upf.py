"""A pseudopotential file of Quantum ESPRESSO by its header: its functional and its valence.

Version 2 of the format writes it as an attribute of ``PP_HEADER``, version 1 on a line of its own;
both as names of the program, such as ``SLA PW PBX PBC`` for PBE.
"""

import re
from pathlib import Path

from tasks.levels import LevelOfTheory
from tasks.verification.engines.failures import EngineError, FailureKind

_WRITTEN = {
    "PBE": "PBE",
    "SLA PW PBX PBC": "PBE",
    "SLA PW PBE PBE": "PBE",
    "PBESOL": "PBEsol",
    "SLA PW PSX PSC": "PBEsol",
}
_SETS_OF = {"BEEF-vdW": "PBE"}  # it has no sets of its own and takes those of PBE
_QUOTED = r"""(?:[^>"']|"[^"]*"|'[^']*')*?"""  # other attributes
_V2 = re.compile(rf"<PP_HEADER\b{_QUOTED}\bfunctional\s*=\s*[\"']([^\"']*)[\"']")
_V1 = re.compile(r"<PP_HEADER>(?:.*\n)*?(.*?)\s+Exchange-Correlation functional")
_VALENCE_V2 = re.compile(rf"<PP_HEADER\b{_QUOTED}\bz_valence\s*=\s*[\"']\s*([\d.DEde+-]+)")
_VALENCE_V1 = re.compile(r"<PP_HEADER>(?:.*\n)*?\s*([\d.DEde+-]+)\s+Z valence")
_WORDS = 4  # exchange and correlation, local and gradient; version 1 adds a short name


def require_functional_of(path: Path, level: LevelOfTheory) -> None:
    """Refuse a pseudopotential that was made with another functional than the level's.

    Raises:
        EngineError: it was, its header names no functional, or the file cannot be read.
    """
    wanted = _SETS_OF.get(level.functional, level.functional)
    words = functional_words(path)
    if _WRITTEN.get(words, words) != wanted:
        raise EngineError(
            FailureKind.NOT_INSTALLED,
            f"level {level.name} ({level.functional}) is computed with pseudopotentials of "
            f"{wanted}, {path.name} is of {words or 'a functional that its header does not name'}; "
            f"set SABATIER_QE_POTENTIALS to a folder of {wanted} files",
        )


def functional_words(path: Path) -> str:
    """Return the functional as a file's header names it; empty where it names none."""
    text = _text(path)
    match = _V2.search(text) or _V1.search(text)
    words = re.split(r"[\s+-]+", match[1].strip().upper()) if match else []
    return " ".join(words[:_WORDS])


def valence_electrons(path: Path) -> float:
    """Return how many electrons of an atom the file leaves to the calculation.

    Raises:
        EngineError: its header does not say, or the file cannot be read.
    """
    text = _text(path)
    match = _VALENCE_V2.search(text) or _VALENCE_V1.search(text)
    if match is None:
        raise EngineError(
            FailureKind.NOT_INSTALLED,
            f"pseudopotential {path.name} does not state its valence electrons (z_valence), which "
            "a magnetic start is written in; install another file for this element",
        )
    return float(match[1].upper().replace("D", "E"))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise EngineError(
            FailureKind.NOT_INSTALLED,
            f"pseudopotential {path} cannot be read ({error.strerror}); mend its permissions or "
            "install it again",
        ) from error
