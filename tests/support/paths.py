"""Where the repository is, whatever folder a test lies in, and what commands leave for the next."""

import getpass
import os
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

# What a child process needs to import the packages and ``support``.
PYTHONPATH = os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "tests")))

CACHES = Path(tempfile.gettempdir()) / f"sabatier-tests-{getpass.getuser()}" / "caches"
