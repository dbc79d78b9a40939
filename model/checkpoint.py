"""A checkpoint is a folder whose files are named, with their hashes, in its manifest.

The hash of the manifest is the checkpoint's name everywhere: in the database, in the lake and in
every prediction. A folder with another file, without a listed one or with one that differs is
refused before anything of it is parsed. Nothing in it is unpickled.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.contract import BOND_RULES, BondRule
from model.errors import ModelError, SabatierError, shortened
from model.folder_owner import require_trusted_folder

MANIFEST = "manifest.json"
# Which predictor reads a folder.
QE_CATALYTIC, BASELINE, DIFFERENCE = "qe-catalytic", "baseline", "difference"
LEVEL_MEDIAN, ADSORBATE_MEDIAN = "median", "adsorbate-median"
MODEL_KINDS = (QE_CATALYTIC, BASELINE, DIFFERENCE, LEVEL_MEDIAN, ADSORBATE_MEDIAN)
MEDIANS_FILE = "medians.json"
SETTINGS_FILES = {
    QE_CATALYTIC: "qe-catalytic.json",
    BASELINE: "baseline.json",
    DIFFERENCE: "difference.json",
    LEVEL_MEDIAN: MEDIANS_FILE,
    ADSORBATE_MEDIAN: MEDIANS_FILE,
}
BASE_FOLDER = "base"  # a whole checkpoint inside one of a difference
EMBEDDED_FOLDER = Path(__file__).parent / "checkpoints"  # what ships in the wheel
_MOST_JSON_BYTES = 16 * 2**20  # two hundred times the largest that ships


@dataclass(frozen=True)
class Checkpoint:
    """A folder whose content was compared with its manifest."""

    folder: Path
    kind: str  # which Predictor reads it
    sha256: str

    def read_json(self, name: str) -> dict[str, Any]:
        """Return the content of one of its JSON files.

        Raises:
            ModelError: it cannot be read, or is no mapping.
        """
        return _read_json(self.folder / name)

    def settings(self) -> dict[str, Any]:
        """Return the settings that its predictor reads.

        Raises:
            ModelError: this version does not know its kind, or the file cannot be read.
        """
        if self.kind not in SETTINGS_FILES:
            kinds = ", ".join(MODEL_KINDS)
            raise ModelError(f"this version reads {kinds}, got kind {shortened(repr(self.kind))}")
        return self.read_json(SETTINGS_FILES[self.kind])


def seal(folder: Path, kind: str) -> Checkpoint:
    """Write the manifest of the files in ``folder`` and return the named checkpoint."""
    own = (f for f in folder.iterdir() if f.is_file() and not f.name.startswith("."))
    files = sorted(f for f in own if f.name != MANIFEST)
    manifest: dict[str, Any] = {
        "kind": kind,
        "files": {file.name: _sha256(file) for file in files},
    }
    if (folder / BASE_FOLDER).is_dir():
        manifest["base"] = open_checkpoint(folder / BASE_FOLDER).sha256
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    return Checkpoint(folder, kind, _sha256(folder / MANIFEST))


def open_checkpoint(name_or_path: str | Path) -> Checkpoint:
    """Find a checkpoint by its embedded name or its folder and verify every hash.

    Args:
        name_or_path: Name of an embedded checkpoint, or the folder of one.

    Returns:
        The checkpoint, its SHA-256 being that of its manifest.

    Raises:
        FolderError: the folder is another user's, or others may write to it.
        ModelError: there is no such checkpoint, a file is missing or differs, or the folder holds
            what the manifest does not list, or a link out of it.
    """
    folder = _locate(name_or_path)
    if EMBEDDED_FOLDER not in folder.parents:  # which is as safe as the code beside it
        require_trusted_folder(folder, "checkpoints", f"copy it to one: cp -r {folder} .")
    kind, files, base_sha256 = _read_manifest(folder / MANIFEST)
    _require_only_listed(folder, {*files, *([BASE_FOLDER] if base_sha256 else [])})
    for name, expected in files.items():
        file = folder / name
        found = _sha256(file) if file.is_file() else "missing"
        if found != expected:
            raise ModelError(
                f"checkpoint file {file} must have SHA-256 {expected[:12]}..., got {found[:12]}; "
                "restore the folder or train it again"
            )
    if base_sha256 is not None:
        _require_base(folder / BASE_FOLDER, base_sha256)
    return Checkpoint(folder, kind, _sha256(folder / MANIFEST))


def _require_base(folder: Path, expected: str) -> None:
    """Verify the checkpoint inside another, which holds none itself."""
    base = open_checkpoint(folder)
    if base.sha256 != expected or base.kind == DIFFERENCE:
        raise ModelError(
            f"the base in {folder} must be the {QE_CATALYTIC} or {BASELINE} checkpoint "
            f"{expected[:12]}, got the {base.kind} {base.sha256[:12]}; restore the folder or train "
            "it again"
        )


def embedded_names() -> list[str]:
    """Return the names of the checkpoints in the wheel."""
    return sorted(f.parent.name for f in EMBEDDED_FOLDER.glob(f"*/{MANIFEST}"))


def stated_bond_rule(checkpoint: Checkpoint) -> BondRule:
    """Return the rule of the texts that a checkpoint learnt from; ``radii`` where it states none.

    Raises:
        ModelError: this version does not know the rule.
    """
    stated = checkpoint.settings().get("bond_rule", "radii")
    for rule in BOND_RULES:
        if rule == stated:
            return rule
    raise ModelError(
        f"the texts of a checkpoint follow the bond rule {' or '.join(BOND_RULES)}, "
        f"{checkpoint.folder} states {shortened(repr(stated))}; a newer version wrote it"
    )


@contextmanager
def reading(checkpoint: Checkpoint) -> Iterator[None]:
    """Turn whatever a parser raises on a damaged file of ``checkpoint`` into one line.

    The hashes say that files are those that were sealed, not that they were whole by then.
    """
    try:
        yield
    except (SabatierError, ImportError):  # a library that is not installed is no damage
        raise
    except Exception as error:  # libraries raise anything on a damaged file
        # That of a GPU is known by its name: torch takes seconds to import, and not all have it.
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            raise ModelError(
                f"checkpoint {checkpoint.folder} does not fit into the memory that is free: free "
                "some, or restore the folder if it should"
            ) from None
        first = " ".join(str(error).split())
        raise ModelError(
            f"checkpoint {checkpoint.folder} is damaged ({type(error).__name__}: "
            f"{shortened(first, 200)}); restore the folder or train it again"
        ) from error


def _locate(name_or_path: str | Path) -> Path:
    for folder in (EMBEDDED_FOLDER / str(name_or_path), Path(name_or_path)):
        try:
            if (folder / MANIFEST).is_file():
                return folder
        except (OSError, ValueError):  # too long for a name, or not for us to look into
            continue
    raise ModelError(
        f"no checkpoint {shortened(repr(str(name_or_path)), 200)}: name one of "
        f"{', '.join(embedded_names())} or a folder that holds {MANIFEST}"
    )


def _read_manifest(file: Path) -> tuple[str, Mapping[str, str], str | None]:
    """Return the kind of a checkpoint, the hashes of its files by name, and that of its base."""
    manifest = _read_json(file)
    kind, files = manifest.get("kind"), manifest.get("files")
    if not isinstance(kind, str) or not isinstance(files, dict):
        raise ModelError(
            f"{file} is not a checkpoint manifest: it states a kind and files with their SHA-256; "
            "restore the folder or train it again"
        )
    for name, sha256 in files.items():
        # A name with a path in it would be of a file elsewhere.
        is_name = name == Path(name).name and name not in ("", "..", MANIFEST)
        if not is_name or not isinstance(sha256, str) or not re.fullmatch("[0-9a-f]{64}", sha256):
            raise ModelError(
                f"{file} is not a checkpoint manifest: {shortened(repr(name))} must be the name of "
                "a file beside it, with its SHA-256; restore the folder or train it again"
            )
    base_sha256 = manifest.get("base")
    if base_sha256 is not None and (kind != DIFFERENCE or not isinstance(base_sha256, str)):
        raise ModelError(
            f"{file} is not a checkpoint manifest: a {DIFFERENCE} alone has a base, by its "
            "SHA-256; restore the folder or train it again"
        )
    return kind, files, base_sha256


def _require_only_listed(folder: Path, files: Set[str]) -> None:
    """Refuse a folder that holds what its manifest does not list, or a link to elsewhere.

    Names that begin with a dot are of the system (.DS_Store, .nfs...); they are never read.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise ModelError(f"checkpoint {folder} cannot be read: {error.strerror}") from None
    known = {MANIFEST, *files}
    entries = [e for e in entries if e.name in files or not e.name.startswith(".")]
    if strange := [e.name for e in entries if e.name not in known]:
        more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        raise ModelError(
            f"a checkpoint folder holds the files that its {MANIFEST} lists and no other, {folder} "
            f"holds {shortened(repr(strange[0]))}{more}; move that elsewhere"
        )
    home = folder.resolve()
    for entry in entries:
        if entry.is_symlink() and entry.resolve().parent != home:
            raise ModelError(
                f"files of a checkpoint lie in its folder, {entry} is a link to elsewhere; put "
                "the file in its place"
            )


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"checkpoint file {file} cannot be read: {error.strerror}") from None


def _read_json(file: Path) -> dict[str, Any]:
    try:
        size = file.stat().st_size
        if size > _MOST_JSON_BYTES:
            raise ModelError(
                f"a JSON file of a checkpoint has at most {_MOST_JSON_BYTES:,} bytes, {file} has "
                f"{size:,}; restore the folder or train it again"
            )
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelError(
            f"{file} cannot be read as JSON: {reason}; restore the folder or train it again"
        ) from None
    if not isinstance(content, dict):
        raise ModelError(
            f"{file} must hold fields by name, got a {type(content).__name__}; restore the folder "
            "or train it again"
        )
    return content


def write_json(file: Path, values: dict[str, Any]) -> None:
    """Write ``values`` so that equal values make equal files."""
    file.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n")
