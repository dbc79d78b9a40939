"""Labels in the folders that Catalysis-Hub takes: files are told apart by name and place.

``PUBLICATION/CODE/FUNCTIONAL/gas/`` holds gas molecules, ``.../BULK/FACET/`` the clean slab
(``empty_slab``), and ``.../FACET/REACTION/`` (or a folder of a site below it) adslabs whose names
end with ``star``: ``COstar.traj``. All energies are total.

Source  docs.catalysis-hub.org, "Submitting data"; Winther et al. 2019, Sci. Data 6, 75.
"""

import re
from pathlib import Path

from tasks.training_data.imported.source_rows import (
    Role,
    SourceContent,
    output_kind,
    read_output,
)

_PUBLICATION = "publication.txt"
_GAS = "gas"
_SLABS = ("empty_slab", "empty_surface", "star")
_ADSLAB = re.compile(r"([A-Za-z0-9]+?)star(?:[@_-].*)?\Z")
_FACET = re.compile(r"(\d)(\d)(?:\d(?=\d))?(\d)(?:[-_@x].*)?\Z")  # 111, or 0001 as 001


def is_catalysis_hub(folder: Path, files: list[Path]) -> bool:
    """Tell whether a folder is laid out as Catalysis-Hub's."""
    names = [path.relative_to(folder) for path in files]
    has_gas = any(_GAS in name.parts[:-1] for name in names)
    return has_gas and any(
        name.name == _PUBLICATION or name.stem.lower().startswith(_SLABS[:2]) for name in names
    )


def read_catalysis_hub(folder: Path, files: list[Path], content: SourceContent) -> None:
    """Add the calculations of a folder; what is no structure or unneeded is passed over."""
    for path in files:
        name = path.relative_to(folder)
        stem = path.stem
        if output_kind(path) is None or stem.lower().startswith("bulk"):
            content.passed_over.append(str(name))
        elif stem.startswith("TS"):
            content.refuse(str(name), "transition state: labels are of minima")
        elif (role := _role(name)) is None:
            content.refuse(
                str(name), "name: gas molecules lie in gas/, slabs are empty_slab, adslabs end "
                "with star (COstar)"
            )  # fmt: skip
        else:
            adslab = _ADSLAB.match(stem) if role == "adslab" else None
            read_output(
                path,
                str(name),
                content,
                role=role,
                adsorbate=adslab[1] if adslab else "",
                miller=_miller(name) if role == "adslab" else "",
            )


def _role(name: Path) -> Role | None:
    if _GAS in name.parts[:-1]:
        return "gas"
    if name.stem.lower().startswith(_SLABS[:2]) or name.stem.lower() == _SLABS[2]:
        return "slab"
    return "adslab" if _ADSLAB.match(name.stem) else None


def _miller(name: Path) -> str:
    """Return the index that the nearest folder above a file is called by, empty without one."""
    for part in reversed(name.parts[:-1]):
        if found := _FACET.match(part):
            return " ".join(found.groups())
    return ""
