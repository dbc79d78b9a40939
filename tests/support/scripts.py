"""Benchmarks as modules: scripts in folders that are no packages."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from support.paths import REPOSITORY

BENCHMARKS = REPOSITORY / "benchmarks"


def load_script(script: Path, patch: pytest.MonkeyPatch) -> ModuleType:
    """Return a script as a module of its own name, until ``patch`` is undone."""
    spec = importlib.util.spec_from_file_location(script.stem, script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    patch.setitem(sys.modules, script.stem, module)
    spec.loader.exec_module(module)
    return module
