"""Give the product ten thousand bad inputs, and some of them as real commands.

    PYTHONPATH=.:tests python benchmarks/faults/fuzz.py --inputs 10000 --commands 200 --seed 0
    PYTHONPATH=.:tests python benchmarks/faults/fuzz.py --summary

Each part (a kind of input, a few hundred of them) is drawn by hypothesis from its own seed, so that
it can be repeated alone; what a part came to is one row of ``fuzz.csv``, and a run that was stopped
goes on with the parts that have none. A part fails where an input gives anything but an error of
one line or an answer that is right, takes more than ten seconds of a processor, or more than 500 MB
above its start. Inputs that failed are written to ``--failures``.
"""

import argparse
import csv
import os
import sys
import tempfile
from pathlib import Path

from support.fuzz.commands import run_commands
from support.fuzz.parts import WHOLE, append, done_parts, parts, run_part
from support.fuzz.targets import FuzzTargets
from support.fuzz.watch import Tally

TALLY = Path(__file__).with_name("fuzz.csv")
COMMANDS = "commands"


def main() -> None:
    """Run what has no row yet, and print what it came to; or print what all rows say."""
    read = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    read.add_argument("--inputs", type=int, default=WHOLE)
    read.add_argument("--commands", type=int, default=200)
    read.add_argument("--seed", type=int, default=0)
    read.add_argument("--kinds", nargs="*", help="these kinds alone")
    read.add_argument("--tally", type=Path, default=TALLY)
    read.add_argument("--failures", type=Path, default=Path("runs/fuzz-failures.txt"))
    read.add_argument("--summary", action="store_true", help="print what the tally says, and end")
    options = read.parse_args()
    if options.summary:
        print(summary(options.tally))
        return
    tally_file, failures = options.tally.absolute(), options.failures.absolute()
    failures.parent.mkdir(parents=True, exist_ok=True)
    done, failed = done_parts(tally_file), 0
    with tempfile.TemporaryDirectory(prefix="sabatier-fuzz-") as name:
        os.chdir(name)  # what an input makes a reader write lands here
        os.environ["RES_OPTIONS"] = "timeout:1 attempts:1"  # odd hosts are looked up for a second
        targets = FuzzTargets(Path(name))
        shares = {
            kind: each.share
            for kind, each in targets.kinds.items()
            if not options.kinds or kind in options.kinds
        }
        for kind, part, size in parts(shares, options.inputs):
            if (kind, str(options.seed), str(part), str(size)) not in done:
                tally = run_part(targets, kind, options.seed * 1000 + part, size)
                failed += _report(kind, options.seed, part, tally, tally_file, failures)
        key = (COMMANDS, str(options.seed), "0", str(options.commands))
        wanted = not options.kinds or COMMANDS in options.kinds
        if wanted and options.commands and key not in done:
            found = run_commands(options.commands, options.seed, Path(name), print)
            failed += _report(COMMANDS, options.seed, 0, found, tally_file, failures)
        os.chdir("/")
    sys.exit(1 if failed else 0)


def summary(file: Path) -> str:
    """Return the rows of a tally by kind, as RESULTS shows them."""
    with file.open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    lines = ["kind             inputs  refused  answered  failed  slowest, s  most, MB"]
    kinds = sorted({row["kind"] for row in rows})
    for kind in [*kinds, "all"]:
        own = [row for row in rows if kind in (row["kind"], "all")]
        counts = [
            sum(int(row[name]) for row in own)
            for name in ("inputs", "refused", "answered", "failed")
        ]
        most = (
            max(float(row["slowest_s"]) for row in own),
            max(float(row["most_mb"]) for row in own),
        )
        lines.append("{:16} {:6} {:8} {:9} {:7} {:11.1f} {:9.0f}".format(kind, *counts, *most))
    return "\n".join(lines)


def _report(kind: str, seed: int, part: int, tally: Tally, file: Path, failures: Path) -> int:
    """Print and store the tally of one part; return how many of it failed."""
    print(
        f"{kind} {part}: {tally.inputs} inputs, {tally.refused} refused, "
        f"{tally.answered} answered, {len(tally.failures)} failed, "
        f"slowest {tally.slowest_s:.1f} s, {tally.most_mb:.0f} MB",
        flush=True,
    )
    append(file, kind, seed, part, tally)
    with failures.open("a") as opened:
        for shown, failure in tally.failures:
            opened.write(f"{kind} {failure}\n    {ascii(shown)[:3000]}\n")
    return len(tally.failures)


if __name__ == "__main__":
    main()
