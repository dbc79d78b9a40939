"""The folder of one set of labels: shards, parts of a run that is not over, and what it is of.

``set.json`` names the level and the plan, by hash, that all rows of the folder come from, and the
draws that gave none: no row tells of them, and nobody needs to cut them again. Who writes here
holds the folder (``model.files.lock_folder``).

Placements are drawn from all sites and orientations, so a large share touches other slab atoms at
its end than at its start (``label_report`` prints it): molecules that bind weakly lift off. A label
is the energy of where the relaxation ends; start and end are both stored and trained on, each under
a text of its own atoms.

Units: eV, s.
"""

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from model.files import new_file
from tasks.enumeration import Adsorbate
from tasks.errors import UserError
from tasks.levels import LevelOfTheory
from tasks.structures.identity import content_id
from tasks.training_data.label_set import Draw, LabelFamily, LabelPlan, draws, write_labels

SET_FILE = "set.json"
_SHARDS, _SHARD = "labels-*.parquet", "labels-{:06d}-{:06d}.parquet"
_PARTS, _PART = ".parts", "part-{:06d}.parquet"
_MOST_DRAWS = 10  # times as many as would do if each gave all its placements


def plan_hash(plan: LabelPlan) -> str:
    """Return the hash of all that decides on a plan's draws.

    Settings that have their default are left out: one that a later release adds changes no hash.
    """
    parts = [_stated(plan.placements), plan.per_slab, plan.seed, *map(_family, plan.families)]
    return content_id(json.dumps(parts))


def _family(family: LabelFamily) -> list[Any]:
    return [
        family.name,
        family.share,
        [bulk.bulk_id for bulk in family.bulks],
        _stated(family.slabs),
        _stated(family.edits),
        list(map(_adsorbate, family.adsorbates)),
    ]


def _adsorbate(species: Adsorbate) -> list[Any]:
    positions = np.rint(species.atoms.positions * 1000).astype(int)
    return [species.name, species.binding, species.atoms.numbers.tolist(), positions.tolist()]


def _stated(settings: Any) -> dict[str, Any]:
    values = {each.name: (getattr(settings, each.name), each.default) for each in fields(settings)}
    return {name: value for name, (value, default) in values.items() if value != default}


def open_label_folder(folder: Path, plan: LabelPlan, level: LevelOfTheory) -> None:
    """Make sure that a folder is of a plan and a level; a new one is, from now on.

    Args:
        folder: Of the set, held by this process.
        plan: What is drawn from.
        level: Level of theory of the labels.

    Raises:
        UserError: the folder holds labels of another plan or level, or does not say of which.
    """
    wanted = {"level": level.name, "level_hash": level.level_hash, "plan_hash": plan_hash(plan)}
    (folder / _PARTS).mkdir(exist_ok=True)
    if not (folder / SET_FILE).exists():
        if label_files(folder) or _parts(folder):
            raise UserError(
                f"a folder of labels says in {SET_FILE} of which level and plan they are; {folder} "
                "holds labels and no such file; give a new folder"
            )
        _write_set(folder, {**wanted, "empty_draws": []})
    found = _read_set(folder)
    if any(found[name] != wanted[name] for name in ("level_hash", "plan_hash")):
        raise UserError(
            f"a folder holds labels of one level and one plan; those in {folder} are of "
            f"{_named(found)}, this run is of {_named(wanted)}; give a new folder"
        )


def _named(content: dict[str, Any]) -> str:
    hashes = content["level_hash"][:12], content["plan_hash"][:12]
    return f"level {content['level']} ({hashes[0]}) and plan {hashes[1]}"


def _read_set(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / SET_FILE).read_text(encoding="utf-8"))
        return {name: found[name] for name in ("level", "level_hash", "plan_hash", "empty_draws")}
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise UserError(
            f"{folder / SET_FILE} says of which level and plan the labels beside it are, and "
            f"cannot be read ({fault}); give a new folder"
        ) from fault


def _write_set(folder: Path, content: dict[str, Any]) -> None:
    try:
        with new_file(folder / SET_FILE) as fresh:
            fresh.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except OSError as fault:
        raise UserError(f"{folder / SET_FILE} cannot be written: {fault}") from fault


def label_files(folder: Path) -> list[Path]:
    """Return the shards of a set, in the order of their names."""
    return sorted(folder.glob(_SHARDS))


def missing_draws(folder: Path, plan: LabelPlan, placements: int) -> list[Draw]:
    """Return the next draws that a set of so many placements needs.

    A draw that is not computed yet counts as if all its placements were new, so that none is
    computed in vain; where some were not, the next call returns what is still missing.

    Args:
        folder: Of the set.
        plan: What is drawn from.
        placements: How many the set is to have.

    Returns:
        Draws that neither a shard nor a part holds; none where the set is complete, or where ten
        times the draws that would do have not given enough.
    """
    computed = _pairs_by_draw(folder, [*label_files(folder), *_parts(folder)])
    pairs: set[str] = set()
    missing: list[Draw] = []
    for draw in islice(draws(plan), _MOST_DRAWS * math.ceil(placements / plan.per_slab)):
        if len(pairs) + len(missing) * plan.per_slab >= placements:
            break
        if draw.number in computed:
            pairs |= computed[draw.number]
        else:
            missing.append(draw)
    return missing


def _pairs_by_draw(folder: Path, files: Sequence[Path]) -> dict[int, set[str]]:
    """Return which placements each computed draw gave; some gave none."""
    found: defaultdict[int, set[str]] = defaultdict(set)
    for number in _read_set(folder)["empty_draws"]:
        found[number] = set()
    for file in files:
        rows = pq.read_table(file, columns=["draw", "pair"])
        if not rows.num_rows:  # a part: a draw of which no slab could be cut
            found[_number(file)] = set()
        for number, pair in zip(*(column.to_pylist() for column in rows.columns), strict=True):
            found[number].add(pair)
    return found


def _parts(folder: Path) -> list[Path]:
    return sorted((folder / _PARTS).glob("part-*.parquet"))


def _number(part: Path) -> int:
    return int(part.stem.removeprefix("part-"))


def write_draw(folder: Path, draw: Draw, rows: Sequence[dict[str, Any]]) -> int:
    """Keep the rows of one draw, none too, until they are gathered; return how many."""
    return write_labels(folder / _PARTS / _PART.format(draw.number), rows)


def gather_parts(folder: Path) -> None:
    """Move the rows of all parts into one shard, note the draws without, and remove the parts.

    A run that was killed here has left parts that are gathered already: they are dropped.
    """
    computed = _pairs_by_draw(folder, label_files(folder))
    parts = _parts(folder)
    tables = {_number(part): pq.read_table(part) for part in parts if _number(part) not in computed}
    full = [number for number, table in tables.items() if table.num_rows]
    if full:
        rows = pa.concat_tables([tables[number] for number in full]).to_pylist()
        write_labels(folder / _SHARD.format(full[0], full[-1]), rows)
    if empty := tables.keys() - set(full):
        found = _read_set(folder)
        _write_set(folder, {**found, "empty_draws": sorted(empty.union(found["empty_draws"]))})
    for part in parts:
        part.unlink()
