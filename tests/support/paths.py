"""Where the repository is, whatever folder a test lies in."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

# What a child process needs to import the packages and ``support``.
PYTHONPATH = os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "tests")))
