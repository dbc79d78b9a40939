"""The command line: the commands' groups, global options, and how a fault ends a command.

Commands import what they need when they run: torch, Prefect and Dask take seconds to import, and
``sabatier --help`` or a query should not wait for them.
"""

import atexit
import errno
import logging
import os
import re
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.db import db_app
from flows.cli.imports import import_app
from flows.cli.inspect import inspect_app
from flows.cli.learning import learning_app, model_app
from flows.cli.queue import queue_app
from flows.cli.screening import screening_app
from flows.display.log import log_to_terminal
from model.errors import SabatierError

_LONGEST_FAULT = 2_000  # characters
# What torch and Python raise as RuntimeError where the system gives no memory, or no thread.
_NO_MEMORY = re.compile(r"allocate memory|out of memory|start new thread", re.IGNORECASE)
USER_FAULT_STATUS = 2  # of a process that ends with what its user can mend

app = typer.Typer(
    name="sabatier",
    help="Find the catalysts worth computing.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for part in (screening_app, inspect_app, learning_app):
    app.add_typer(part)  # without a name: its commands stand beside the others
app.add_typer(queue_app, name="queue")
app.add_typer(model_app, name="model")
app.add_typer(db_app, name="db")
app.add_typer(import_app, name="import")


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version  # costs a tenth of the start of a command

        print(f"sabatier {version('sabatier')}")
        raise typer.Exit


@app.callback()
def global_options(
    *,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print each step of a run.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print no warnings and no progress.")
    ] = False,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Find the catalysts worth computing."""
    if verbose and quiet:
        raise typer.BadParameter("--verbose and --quiet exclude each other; leave one out")
    log_to_terminal(logging.INFO if verbose else logging.ERROR if quiet else logging.WARNING)


def main() -> None:
    """Run the command line; a user's fault is one line and exit status 2."""
    _leave_home_alone()
    # Threads of torch that spin at each barrier make a busy machine fifty times slower, not twice.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        app()
    except SabatierError as fault:
        _print_fault(" ".join(str(fault).split()))
    except (MemoryError, RuntimeError) as fault:
        if not (isinstance(fault, MemoryError) or _NO_MEMORY.search(str(fault))):
            raise
        _print_fault(
            "memory ran out; start fewer workers or free some, and run the same command again, it "
            "goes on from there"
        )
    except OSError as fault:
        if fault.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _print_fault(
            f"the disk of {fault.filename or 'the run'} is full; free some space and run the same "
            "command again, it goes on from there"
        )
    except KeyboardInterrupt:  # while commands are looked up: those that run end by themselves
        print("sabatier: stopped before anything was begun", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    sys.exit(USER_FAULT_STATUS)


def _leave_home_alone() -> None:
    """Keep Prefect, which makes ~/.prefect when it is imported, out of a home that has none."""
    if "PREFECT_HOME" in os.environ or (Path.home() / ".prefect").exists():
        return
    folder = tempfile.mkdtemp(prefix="sabatier-prefect-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["PREFECT_HOME"] = folder


def _print_fault(message: str) -> None:
    """Print one line; of what came from outside, nothing moves the terminal's cursor."""
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message[:_LONGEST_FAULT])
    message = plain if len(message) <= _LONGEST_FAULT else f"{plain}..."
    print(f"sabatier: {message}", file=sys.stderr)


if __name__ == "__main__":
    main()
