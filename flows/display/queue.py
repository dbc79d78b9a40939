"""Print the verification queue, one item with all its attempts, and what a command changed."""

import gzip
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from flows.display.labels import SHORT_ID
from flows.display.tables import new_table, print_table
from flows.errors import CampaignError
from screening_db.calculations import Step, StoredFile, attempts_of, steps_of, stored_files
from screening_db.database import Database
from screening_db.queries import find_label
from screening_db.queue.commands import CommandResult
from screening_db.queue.view import ItemKey, QueueItem, queue_items
from screening_db.tables import CalculationRow, LabelRow
from tasks.reports.report import surface_name

_UNCHANGED_SHOWN = 10


def show_queue(
    name: str, items: Sequence[QueueItem], number: int, running: Mapping[ItemKey, Step]
) -> None:
    """Print how many items are in each state, and the first ``number`` of them.

    Args:
        name: The campaign's name, or words for all campaigns.
        items: The queue's items, in the order in which they are computed.
        number: How many are shown one by one.
        running: The last step of items that are being computed.
    """
    counts = Counter((item.level, item.kind, item.state) for item in items)
    table = new_table(f"{name}: verification queue", ("level", "kind", "state", "count"), {"count"})
    for (level, kind, state), count in sorted(counts.items()):
        table.add_row(level, kind, state, f"{count:,}")
    print_table(table)
    if not items:
        return
    title = "all of them" if len(items) <= number else f"first {number} of {len(items):,} in line"
    table = new_table(
        title,
        (
            "id",
            "what",
            "adsorbate",
            "site",
            "energy (eV)",
            "state",
            "attempts",
            "priority",
            "failure",
        ),
        {"energy (eV)", "attempts", "priority"},
    )
    for item in items[:number]:
        table.add_row(
            item.item[:SHORT_ID],
            _what(item),
            item.adsorbate or "",
            item.site or "",
            _energy(item),
            _state(item, running.get(item.key)),
            str(item.attempts),
            f"{item.priority:g}",
            item.error_class,
        )
    print_table(table)
    if len(items) > number:
        print("more with --number; one alone, with all attempts: sabatier queue show ID")


def show_queue_item(db: Database, item: QueueItem) -> None:
    """Print one item and the provenance of each of its attempts."""
    lines = [
        ("item", item.item),
        ("what", " ".join(filter(None, (_what(item), item.adsorbate, item.site)))),
        ("level", item.level),
        ("state", f"{item.state}, priority {item.priority:g}, memory class {item.memory_class}"),
        ("queued by", f"{item.campaign} ({item.why})"),
        ("predicted", _energy(item)),
        *_label_lines(find_label(db, item.item, item.level)),
        ("failure", ": ".join(filter(None, (item.error_class, item.error_message)))),
    ]
    for name, value in lines:
        if value:
            print(f"{name:<11}{value}")
    attempts = attempts_of(db, item.item, item.level)
    if not attempts:
        print("attempts   none yet")
    for row in attempts:
        _show_attempt(row, stored_files(db, row))
        _show_steps(row, steps_of(db, (row.item, row.level, row.token)))


def write_attempts(db: Database, item: QueueItem, folder: Path) -> None:
    """Write the structures and the kept files of every attempt, one folder for each."""
    for number, row in enumerate(attempts_of(db, item.item, item.level), start=1):
        own = folder / f"{item.item[:SHORT_ID]}-{_plain(item.level)}-{number:02d}"
        files = {
            "structure_in.json": row.structure_in.encode(),
            "structure_out.json": row.structure_out.encode(),
        }
        for kept in stored_files(db, row):
            if kept.content is not None:
                files[kept.name] = gzip.decompress(kept.content)
        _write(own, {name: data for name, data in files.items() if data})
        print(f"written    {own}")


def show_changed_items(db: Database, done: str, result: CommandResult) -> None:
    """Print the items that a command changed, and those that it did not, with reasons.

    Args:
        db: Where the items are.
        done: The change in the past tense, as in "held".
        result: The items by the command.

    Raises:
        CampaignError: nothing was changed.
    """
    items = {item.key: item for item in queue_items(db)}
    table = new_table(f"{len(result.changed):,} {done}", ("id", "what", "adsorbate", "state now"))
    for key, state in result.changed[:_UNCHANGED_SHOWN]:
        found = items.get(key)
        what, adsorbate = (_what(found), found.adsorbate or "") if found else ("", "")
        table.add_row(key[0][:SHORT_ID], what, adsorbate, state)
    if result.changed:
        print_table(table)
        if len(result.changed) > _UNCHANGED_SHOWN:
            print(f"and {len(result.changed) - _UNCHANGED_SHOWN:,} more")
    for item in result.unchanged[:_UNCHANGED_SHOWN]:
        print(f"unchanged: {item.key[0][:SHORT_ID]} at {item.key[1]}: {item.reason}")
    if len(result.unchanged) > _UNCHANGED_SHOWN:
        print(f"and {len(result.unchanged) - _UNCHANGED_SHOWN:,} more are unchanged")
    if not result.changed:
        raise CampaignError(
            f"nothing was {done}: no state of the {len(result.unchanged)} items named allows it; "
            "choose others, see: sabatier queue list"
        )


def _show_attempt(row: CalculationRow, files: Sequence[StoredFile]) -> None:
    until = _time(row.ended_at) if row.ended_at is not None else "now"
    seconds = "" if row.ended_at is None else f" ({row.ended_at - row.started_at:.1f} s)"
    versions = ", ".join(f"{name} {value}" for name, value in sorted(row.versions.items()))
    kept = ", ".join(
        f"{file.name} ({file.size_bytes:,} bytes{'' if file.content else ', too large to keep'})"
        for file in files
    )
    lines = [
        ("state", f"{row.state}, memory class {row.memory_class}"),
        ("time", f"{_time(row.started_at)} to {until}{seconds}"),
        ("host", row.host),
        ("job", row.job),
        ("engine", row.engine),
        ("level", f"hash {row.level_hash}" if row.level_hash else ""),
        ("versions", versions),
        ("input", f"hash {row.input_sha256}" if row.input_sha256 else ""),
        ("structures", _structures(row)),
        *(("ladder", rung) for rung in row.rungs),
        ("failure", ": ".join(filter(None, (row.error_class, row.error_message)))),
        ("files", kept),
        ("refused", f"{row.refused} times" if row.refused else ""),
        ("note", row.note),
    ]
    print(f"attempt {row.attempt}")
    for name, value in lines:
        if value:
            print(f"  {name:<11}{value}")


def _structures(row: CalculationRow) -> str:
    stored = [name for name, text in (("in", row.structure_in), ("out", row.structure_out)) if text]
    return f"{' and '.join(stored)}; write them with --out FOLDER" if stored else ""


def _what(item: QueueItem) -> str:
    """Return the surface of an adslab or slab, or the molecule."""
    if item.bulk is None or item.miller is None:
        return f"{item.item} gas"
    surface = surface_name(item.bulk, item.miller, item.termination or "", item.edit or "")
    return surface if item.kind == "adslab" else f"{surface} clean"


def _state(item: QueueItem, last: Step | None) -> str:
    """Return the state of an item, and how far its relaxation is where one runs."""
    if item.state != "leased" or last is None:
        return item.state
    return f"{item.state}, step {last.step}, fmax {last.fmax:.2f}"


def _energy(item: QueueItem) -> str:
    if item.energy_ev is None or item.sigma_ev is None:
        return ""
    return f"{item.energy_ev:+.2f} ± {item.sigma_ev:.2f}"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _plain(level: str) -> str:
    """Return a level's name as part of a folder's name."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in level)


def _write(folder: Path, files: dict[str, bytes]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
    except (FileExistsError, NotADirectoryError, PermissionError) as fault:
        raise CampaignError(
            f"files are written into a folder; {folder} cannot be one ({fault.strerror}); give "
            "another --out"
        ) from fault


def _show_steps(attempt: CalculationRow, steps: Sequence[Step]) -> None:
    """Print every step of one attempt: total energy, largest force, time since it began."""
    for step in steps:
        print(
            f"  step {step.step:>4}  {step.energy_ev:14.6f} eV  fmax {step.fmax:8.4f} eV/Å  "
            f"after {max(0.0, step.at - attempt.started_at):.1f} s"
        )


def _label_lines(label: LabelRow | None) -> list[tuple[str, str]]:
    """Return the fields of a label as names and values; none without a label."""
    if label is None:
        return []
    apart = label.two_start_ev
    return [
        ("label", f"{label.energy_ev:+.3f} eV, {_worth(label)}"),
        ("flags", "; ".join(_flag(label, name) for name in label.flags)),
        ("site", _site(label)),
        ("text", label.relaxed_text),
        ("two starts", "" if apart is None else f"{apart:.4f} eV apart"),
    ]


def _worth(label: LabelRow) -> str:
    if label.trainable:
        return "may be trained on"
    return "not trained on" if label.converged else "not converged, not trained on"


def _flag(label: LabelRow, name: str) -> str:
    """Return a flag with the number that was found and its limit."""
    if name not in label.flag_numbers:
        return name
    found, limit = label.flag_numbers[name]
    return f"{name} {'beyond all numbers' if found is None else f'{found:.3g}'} (limit {limit:g})"


def _site(label: LabelRow) -> str:
    if not label.site_after:
        return ""
    if not label.migrated:
        return label.site_after
    return f"{label.site_after}, begun on {label.site_before}"
