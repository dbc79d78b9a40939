"""Small checkpoints of each kind, and copies of them that are damaged and sealed again."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from model.checkpoint import (
    BASELINE,
    EMBEDDED_FOLDER,
    LEVEL_MEDIAN,
    MANIFEST,
    QE_CATALYTIC,
    seal,
)
from support.fuzz.inputs import ODD, paths_of

LEVEL = "beef-vdw-ch4"
KINDS = (QE_CATALYTIC, BASELINE, LEVEL_MEDIAN)
_MODES = ("graph", "text")


def write_small_checkpoints(folder: Path) -> dict[str, Path]:
    """Write a checkpoint of each kind, made of parts of those that ship; return their folders."""
    folders = {kind: folder / kind for kind in KINDS}
    for kind, each in folders.items():
        each.mkdir(parents=True)
        {QE_CATALYTIC: _network, BASELINE: _boosters, LEVEL_MEDIAN: _medians}[kind](each)
        seal(each, kind)
    return folders


def _shipped(name: str, file: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((EMBEDDED_FOLDER / name / file).read_text())
    return content


def _network(folder: Path) -> None:
    """Keep one member of the embedded network, without the designer and the rows."""
    shipped = EMBEDDED_FOLDER / "mini"
    for name in ("member-0.safetensors", "tokenizer.json"):
        shutil.copyfile(shipped / name, folder / name)
    settings = _shipped("mini", "qe-catalytic.json")
    del settings["designer"]
    width = settings["network"]["language"]["width"]
    for mode in _MODES:
        arrays = load_file(shipped / f"reference-{mode}.safetensors")
        arrays["mean"], arrays["axes"] = arrays["mean"][:width], arrays["axes"][:width]
        save_file(
            {n: a.copy() for n, a in arrays.items()}, folder / f"reference-{mode}.safetensors"
        )
    (folder / "qe-catalytic.json").write_text(json.dumps(settings))


def _boosters(folder: Path) -> None:
    """Keep the first level of the embedded baseline."""
    settings = _shipped("baseline", "baseline.json")
    first = next(iter(settings["levels"]))
    for part in (settings["levels"], settings["calibration"]):
        for level in set(part) - {first}:
            del part[level]
    settings["domain"]["levels"] = [first]
    (folder / "baseline.json").write_text(json.dumps(settings))
    for name in ("text-0.txt", "text-0-error.txt"):
        shutil.copyfile(EMBEDDED_FOLDER / "baseline" / name, folder / name)


def _medians(folder: Path) -> None:
    calibration = _shipped("baseline", "baseline.json")["calibration"][LEVEL]["text"]
    parts = {"slab_elements": ["Cu"], "adsorbate_elements": ["O"], "adsorbates": ["O"]}
    settings = {
        "bond_rule": "radii",
        "domain": {"levels": {LEVEL: {**parts, "kinds": ["metal"], "facets": [[1, 1, 1]]}}},
        "levels": {
            LEVEL: {"energy_ev": 0.5, "spread_ev": 0.3, "adsorbates": {"O": 0.4}, "spreads": {}}
        },
        "calibration": {LEVEL: calibration},
    }
    (folder / "medians.json").write_text(json.dumps(settings))


@dataclass(frozen=True)
class Damage:
    """How a copy of a checkpoint differs from a whole one."""

    kind: str
    file: int
    act: str
    at: int
    piece: bytes
    values: Sequence[tuple[int, Any]]
    sealed: bool


DAMAGES = st.builds(
    Damage,
    kind=st.sampled_from((BASELINE, LEVEL_MEDIAN, LEVEL_MEDIAN, LEVEL_MEDIAN, QE_CATALYTIC)),
    file=st.integers(0, 50),
    act=st.sampled_from(("flip", "cut", "add", "remove", "link", "extra", *("values",) * 6)),
    at=st.integers(0, 2**24),
    piece=st.binary(min_size=1, max_size=40),
    values=st.lists(st.tuples(st.integers(0, 2**16), ODD), min_size=1, max_size=2),
    sealed=st.sampled_from((True, True, True, False)),
)


def damaged_copy(damage: Damage, whole: Mapping[str, Path], folder: Path) -> Path:
    """Return a new folder in ``folder`` with a damaged copy; other files are links to the whole."""
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(mode=0o700)
    for file in whole[damage.kind].iterdir():
        os.link(file, copy / file.name)
    names = sorted(file.name for file in copy.iterdir())
    chosen = copy / names[damage.file % len(names)]
    if damage.act == "values":
        jsons = [n for n in names if n.endswith(".json") and n != MANIFEST]
        chosen = copy / jsons[damage.file % len(jsons)]
    content = chosen.read_bytes()
    chosen.unlink()
    _write_damaged(damage, chosen, content, whole[damage.kind])
    if damage.sealed:
        (copy / MANIFEST).unlink(missing_ok=True)  # a link, too: the whole one keeps its own
        seal(copy, damage.kind)
    return copy


def _write_damaged(damage: Damage, file: Path, content: bytes, whole: Path) -> None:
    at = damage.at % (len(content) + 1)
    if damage.act == "flip":
        end = at + len(damage.piece)
        file.write_bytes(content[:at] + damage.piece[: len(content) - at] + content[end:])
    elif damage.act == "cut":
        file.write_bytes(content[:at])
    elif damage.act == "add":
        file.write_bytes(content[:at] + damage.piece + content[at:])
    elif damage.act == "link":
        file.symlink_to(whole / file.name)
    elif damage.act == "extra":
        file.write_bytes(content)
        file.with_name("extra.pkl").write_bytes(damage.piece)
    elif damage.act == "values":
        data = {"whole": json.loads(content)}
        for number, value in damage.values:
            paths = list(paths_of(data))
            *parents, last = paths[number % len(paths)]
            part: Any = data
            for step in parents:
                part = part[step]
            part[last] = value
        file.write_bytes(json.dumps(data["whole"]).encode("ascii"))
