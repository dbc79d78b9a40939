"""One small campaign from its screening to a rollback, undisturbed or disturbed.

A command that ended before its time is given again, as a user would, until it ends well.
"""

import json
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from support.faults.commands import Command, in_own_process, start_command
from support.faults.moments import Counts, Disturbance, Watch
from support.faults.postgres import PostgresServer
from support.faults.stored_tables import Difference, compare, results

NAME = "chaos"
CAMPAIGN = """\
name: chaos
bulks: {elements: [Ag, Cu, Pt, Fe]}  # iron is outside the model
surfaces: {max_miller: 1, min_thickness: 4.0, min_in_plane: 4.0, vacuum: 10.0}
adsorbates: [H, O, CO]
placements: {rotations: 1}
target:
  O: {window: [-2.0, -1.2]}
  CO: {window: [-1.7, -1.2]}
level: emt
model: MODEL
triage: {budget: 4, min_probability: 0.0}
cluster: {workers: 2, chunk_placements: 12}
"""
LIMIT_S = 240.0  # of a command; none takes a tenth of it
_POLL_S = 0.004
_MOST_FAULTS = 3  # commands that end badly, undisturbed, until a run is given up
_OPENS_S = 1.0  # from when a command is given until it has opened the database
_USER_FAULT = 2
_TRACEBACK = "Traceback (most recent call last)"


@dataclass(frozen=True)
class Place:
    """Where a run lies: its folder, its database, and the variables of its commands."""

    folder: Path
    address: str
    variables: dict[str, str]
    checkpoints: tuple[Path, Path]  # the campaign's model, and another one to promote
    is_plain: bool = False

    @property
    def lake(self) -> Path:
        """Return where its predictions lie."""
        if "://" in self.address:
            return self.folder / "runs" / self.address.rsplit("/", 1)[1]
        return Path(self.address).with_suffix("")

    @property
    def script(self) -> dict[str, tuple[str, ...]]:
        """Return the commands by short names, in order."""
        first, other = map(str, self.checkpoints)
        return {
            "screen": ("screen", "chaos.yaml"),
            "verify": ("verify", NAME),
            "promote": ("model", "promote", first, other, "--force"),
            "rescore": ("rescore", NAME),
            "loop": ("loop", "chaos.yaml", "--rounds", "2"),
            "rollback": ("model", "rollback", first),
        }

    def prepare(self) -> None:
        """Write the campaign's file."""
        self.folder.mkdir(parents=True)
        text = CAMPAIGN.replace("MODEL", str(self.checkpoints[0]))
        (self.folder / "chaos.yaml").write_text(text)


@dataclass
class Run:
    """What came of a run: counts after each command, what was done, and what was not clean."""

    counts: list[tuple[str, Counts]] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0


def run_script(
    place: Place, disturbances: Sequence[Disturbance] = (), server: PostgresServer | None = None
) -> Run:
    """Run the commands of the script in turn, each until it ends well.

    Args:
        place: Where, prepared and with an empty database.
        disturbances: What is done, in the order of the commands.
        server: The server that a disturbance stops.

    Returns:
        Counts, disturbances that took place, and faults; nothing is compared yet.
    """
    run, began = Run(), time.monotonic()
    watch = Watch(place.address, place.lake)
    run.counts.append(("", watch.counts()))
    watch.close()
    left = list(disturbances)
    for name, arguments in place.script.items():
        own = [one for one in left if one.phase.command == name]
        left = [one for one in left if one.phase.command != name]
        if not _until_it_ends_well(place, arguments, own, server, run):
            run.faults.append(f"given up: {' '.join(arguments)}")
            break
        run.counts.append((name, watch.counts()))
        watch.close()
    run.seconds = time.monotonic() - began
    return run


def _raised(said: str) -> str:
    """Return where an output's last traceback ends: the line of code, and the exception."""
    lines = said[said.rindex(_TRACEBACK) :].splitlines()[1:]
    end = next((i for i, line in enumerate(lines) if not line.startswith(" ")), len(lines) - 1)
    return " ".join(line.strip() for line in lines[max(0, end - 3) : end + 1])


def _until_it_ends_well(
    place: Place,
    arguments: Sequence[str],
    disturbances: list[Disturbance],
    server: PostgresServer | None,
    run: Run,
) -> bool:
    """Give a command again and again, and return whether it ended well at last."""
    output, begun = place.folder / "output.log", []
    faults = 0
    while faults < _MOST_FAULTS:
        before = output.stat().st_size if output.exists() else 0
        command = start_command(
            arguments, place.folder, output, place.variables, is_plain=place.is_plain
        )
        begun.append(command)
        given = time.monotonic()
        told, is_away = False, False
        while disturbances and not told and command.poll() is None:
            was_opening = disturbances[0].is_at_start or time.monotonic() - given < _OPENS_S
            is_away |= disturbances[0].target == "server" and was_opening
            told = _disturb(place, command, disturbances.pop(0), server, run)
        status = command.wait(LIMIT_S)
        said = output.read_bytes()[before:].decode(errors="replace")
        last = (said.strip().splitlines() or [""])[-1]
        if _TRACEBACK in said:
            run.faults.append(f"{' '.join(arguments)}: traceback, {_raised(said)}; {last}")
        if status == 0:
            break
        if status is None:
            command.kill_group()
        # a command that finds no server when it opens the database says so, and waits for none
        told |= is_away and status == _USER_FAULT and last.startswith("sabatier: database")
        if not told:
            faults += 1
            run.faults.append(f"{' '.join(arguments)} ended with {status}: {last}")
        if arguments[0] in ("verify", "loop"):
            command.wait_for_group(30.0)  # else two would compute what one has leased
            _end_leases(place)
    run.done += [f"{disturbance}: too late" for disturbance in disturbances]
    for command in begun:
        if left := command.wait_for_group(30.0):
            run.faults.append(f"{left} processes outlived {' '.join(arguments)}")
            command.kill_group()
    return faults < _MOST_FAULTS


def _disturb(
    place: Place,
    command: Command,
    disturbance: Disturbance,
    server: PostgresServer | None,
    run: Run,
) -> bool:
    """Wait for the moment and do it; return whether the command was told to end."""
    if not _reached(place, command, disturbance):
        run.done.append(f"{disturbance}: too late")
        return False
    run.done.append(str(disturbance))
    if disturbance.target == "server" and server is not None:
        server.stop()
        time.sleep(disturbance.pause_s)
        server.start()
        return False
    if disturbance.target == "worker":
        workers = command.workers()
        for worker in workers[:1]:
            worker.kill()
        if not workers:
            run.done[-1] += ": no worker"
        return False
    send: Callable[[int, int], None] = os.killpg if disturbance.target == "group" else os.kill
    send(command.pid, disturbance.number)
    command.wait(60.0)
    time.sleep(disturbance.pause_s)
    return True


def _reached(place: Place, command: Command, disturbance: Disturbance) -> bool:
    watch = Watch(place.address, place.lake)
    try:
        while watch.count(disturbance.phase.counted) < disturbance.count:
            if command.poll() is not None:
                return False
            time.sleep(_POLL_S)
    finally:
        watch.close()
    time.sleep(disturbance.delay_s)
    return command.poll() is None


def _end_leases(place: Place) -> None:
    """Let the leases of a killed run end now, as they would in two minutes."""
    statement = "UPDATE queue SET lease_until = 1 WHERE state = 'leased'"
    if "://" in place.address:
        import psycopg  # only where a server is used

        with psycopg.connect(place.address, autocommit=True) as server:
            if server.execute("SELECT to_regclass('queue')").fetchone() != (None,):
                server.execute(statement)
    elif Path(place.address).exists():
        connection = sqlite3.connect(place.address, timeout=30)
        tables = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'queue'")
        if tables.fetchone():
            connection.execute(statement)
        connection.commit()
        connection.close()


def compare_runs(place: Place, undisturbed: Place) -> Difference:
    """Return how what a run left differs from what an undisturbed one left.

    A process of its own reads it: pandas and pyarrow start threads, which must not be here when the
    next command is forked.
    """
    answer = place.folder / "difference.json"

    def compared() -> None:
        both = (results(each.address, each.lake) for each in (place, undisturbed))
        answer.write_text(json.dumps(vars(compare(*both))))

    in_own_process(compared)
    return Difference(**json.loads(answer.read_text()))
