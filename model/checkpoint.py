"""A checkpoint is a folder whose files are named, with their hashes, in its manifest.

The hash of the manifest is the checkpoint's name everywhere: in the database, in the lake and in
every prediction. Nothing in it is unpickled.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.contract import BOND_RULES, BondRule
from model.errors import ModelError
from model.folder_owner import require_trusted_folder

MANIFEST = "manifest.json"
# Which predictor reads a folder.
QE_CATALYTIC, BASELINE = "qe-catalytic", "baseline"
LEVEL_MEDIAN, ADSORBATE_MEDIAN = "median", "adsorbate-median"
MODEL_KINDS = (QE_CATALYTIC, BASELINE, LEVEL_MEDIAN, ADSORBATE_MEDIAN)
MEDIANS_FILE = "medians.json"
SETTINGS_FILES = {
    QE_CATALYTIC: "qe-catalytic.json",
    BASELINE: "baseline.json",
    LEVEL_MEDIAN: MEDIANS_FILE,
    ADSORBATE_MEDIAN: MEDIANS_FILE,
}
EMBEDDED_FOLDER = Path(__file__).parent / "checkpoints"  # what ships in the wheel


@dataclass(frozen=True)
class Checkpoint:
    """A folder whose content was compared with its manifest."""

    folder: Path
    kind: str  # which Predictor reads it
    sha256: str

    def read_json(self, name: str) -> dict[str, Any]:
        """Return the content of one of its JSON files."""
        content: dict[str, Any] = json.loads((self.folder / name).read_text())
        return content


def seal(folder: Path, kind: str) -> Checkpoint:
    """Write the manifest of the files in ``folder`` and return the named checkpoint."""
    files = sorted(f for f in folder.iterdir() if f.is_file() and f.name != MANIFEST)
    manifest = {"kind": kind, "files": {file.name: _sha256(file) for file in files}}
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
        ModelError: there is no such checkpoint, or a file is missing or differs.
    """
    folder = _locate(name_or_path)
    if EMBEDDED_FOLDER not in folder.parents:  # which is as safe as the code beside it
        require_trusted_folder(folder, "checkpoints", f"copy it to one: cp -r {folder} .")
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        files, kind = manifest["files"], manifest["kind"]
    except (ValueError, KeyError, TypeError) as cause:
        raise ModelError(f"{folder / MANIFEST} is not a checkpoint manifest: {cause}") from cause
    for name, expected in files.items():
        file = folder / name
        found = _sha256(file) if file.is_file() else "missing"
        if found != expected:
            raise ModelError(
                f"checkpoint file {file} must have SHA-256 {expected[:12]}..., got {found[:12]}; "
                "restore the folder or train it again"
            )
    return Checkpoint(folder, kind, _sha256(folder / MANIFEST))


def embedded_names() -> list[str]:
    """Return the names of the checkpoints in the wheel."""
    return sorted(f.parent.name for f in EMBEDDED_FOLDER.glob(f"*/{MANIFEST}"))


def stated_bond_rule(checkpoint: Checkpoint) -> BondRule:
    """Return the rule of the texts that a checkpoint learnt from; ``radii`` where it states none.

    Raises:
        ModelError: this version does not know the rule.
    """
    stated = checkpoint.read_json(SETTINGS_FILES[checkpoint.kind]).get("bond_rule", "radii")
    for rule in BOND_RULES:
        if rule == stated:
            return rule
    raise ModelError(
        f"the texts of a checkpoint follow the bond rule {' or '.join(BOND_RULES)}, "
        f"{checkpoint.folder} states {stated!r}; a newer version wrote it"
    )


def _locate(name_or_path: str | Path) -> Path:
    for folder in (EMBEDDED_FOLDER / str(name_or_path), Path(name_or_path)):
        if (folder / MANIFEST).is_file():
            return folder
    raise ModelError(
        f"no checkpoint {str(name_or_path)!r}: name one of {', '.join(embedded_names())} "
        f"or a folder that holds {MANIFEST}"
    )


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def write_json(file: Path, values: dict[str, Any]) -> None:
    """Write ``values`` so that equal values make equal files."""
    file.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n")
