"""Some of the inputs as real commands: exit status 0 or 2, one line at most, within a time."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

from support.fuzz.checkpoints import damaged_copy, write_small_checkpoints
from support.fuzz.files import adslab, written
from support.fuzz.targets import FuzzTargets
from support.fuzz.watch import LONGEST_S, Tally
from support.paths import REPOSITORY

# That a command may print beside its one line.
_NOTICES = ("note: ", "Note: ", "sabatier: the database was given with its password")
# How many of two hundred commands are of each kind.
SHARES = {
    **{"campaign": 50, "checkpoint": 30, "url": 25, "sql": 25, "where": 20, "level": 10},
    **{"recipe": 5, "cif": 10, "poscar": 5, "extxyz": 5, "text": 10, "miller": 5},
}


def run_commands(number: int, seed: int, folder: Path, report: Callable[[str], None]) -> Tally:
    """Run ``number`` commands on inputs and return what they came to."""
    targets, tally = FuzzTargets(folder), Tally()
    commands = _Commands(folder)
    start_s = min(commands.seconds(["levels"])[1] for _ in range(2))
    for kind, share in SHARES.items():
        for content in drawn(targets.kinds[kind].inputs, round(share * number / 200), seed):
            words = commands.words(kind, content)
            if words is None:
                tally.refused += 1  # no such command can be typed: an argument holds no NUL
                continue
            failure = commands.failure(words, tally, start_s)
            if failure:
                tally.failures.append((f"{kind} {content!r}", failure))
                report(f"{kind}: {failure} {words!r}")
    return tally


def drawn(inputs: Any, number: int, seed: int) -> Iterator[Any]:
    """Yield inputs of a strategy, the same for a seed."""
    found: list[Any] = []

    @seeded(seed)
    @settings(
        max_examples=max(1, number),
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs)
    def collect(content: Any) -> None:
        found.append(content)

    if number:
        collect()
    yield from found[:number]


def _seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class _Commands:
    def __init__(self, folder: Path):
        self.folder = folder
        self.whole = write_small_checkpoints(folder / "whole-for-commands")
        (folder / "adslab.xyz").write_text(written(adslab(), "extxyz"))
        self.environment = os.environ | {
            "PYTHONPATH": str(REPOSITORY),
            "RES_OPTIONS": "timeout:1 attempts:1",
        }
        self.seconds(["sql", "select 1", "--database=fuzz.db"])

    def words(self, kind: str, content: Any) -> list[str] | None:
        """Return the command that reads an input of a kind; None where it cannot be typed."""
        by_file = {
            "campaign": ("c.yaml", ["plan", "c.yaml"]),
            "level": ("l.yaml", ["predict", "--text=H</s>Cu (1 1 1)</s>[]", "--level=l.yaml"]),
            "recipe": ("r.yaml", ["train", "r.yaml", "--table=none", "--out=trained"]),
            "cif": ("s.cif", ["predict", "s.cif", "--adsorbate=O"]),
            "poscar": ("s.poscar", ["predict", "s.poscar", "--adsorbate=O"]),
            "extxyz": ("s.xyz", ["predict", "s.xyz", "--adsorbate=O"]),
        }
        if kind in by_file:
            name, words = by_file[kind]
            (self.folder / name).write_bytes(content)
            return words
        if kind == "checkpoint":
            copy = damaged_copy(content, self.whole, self.folder)
            return ["adsorbates", "--level=emt", f"--model={copy}"]
        if "\0" in content:
            return None
        content = content.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
        by_text = {
            "url": ["sql", "select 1", f"--database={content}"],
            "sql": ["sql", "--database=fuzz.db", "--", content],
            "where": ["queue", "list", "--database=fuzz.db", f"--where={content}"],
            "text": ["predict", f"--text={content}", "--model=baseline"],
            "miller": ["predict", "adslab.xyz", "--adsorbate=O", f"--miller={content}"],
        }
        return by_text[kind]

    def seconds(self, words: list[str]) -> tuple[subprocess.CompletedProcess[bytes], float]:
        """Run a command and return it with the time of the processor that it took."""
        begin = _seconds_of_children()
        done = subprocess.run(
            [sys.executable, "-m", "flows.cli.app", *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            timeout=600,
            check=False,
        )
        return done, _seconds_of_children() - begin

    def failure(self, words: list[str], tally: Tally, start_s: float) -> str:
        """Run a command and count it; return what is wrong with its end, or nothing."""
        done, took_s = self.seconds(words)
        tally.slowest_s = max(tally.slowest_s, took_s - start_s)
        text = done.stderr.decode("utf-8", "replace")
        lines = [x for x in text.splitlines() if x.strip() and not x.startswith(_NOTICES)]
        if "Traceback" in text or done.returncode not in (0, 2) or len(lines) > 1:
            return f"status {done.returncode}: {' | '.join(lines)[-400:]}"
        if took_s - start_s > LONGEST_S:
            return f"took {took_s:.1f} s, of which {start_s:.1f} s are its start"
        tally.refused += done.returncode == 2
        tally.answered += done.returncode == 0
        return ""
