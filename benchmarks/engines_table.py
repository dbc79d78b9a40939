"""t"""
from pathlib import Path
def print_tables(runs: Path) -> None:
    """t"""
