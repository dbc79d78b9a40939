"""One adslab, predicted on the command line from a file or from its text alone."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from ase.build import add_adsorbate, fcc111

from tasks.cif import cif_text

TEXT = "CO</s>Cu (1 1 1)</s>[C Cu atop [Cu Cu Cu Cu C]]"


def predict(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", "predict", *words], capture_output=True, text=True
    )


def test_a_text_alone_is_predicted_at_every_level_that_saw_its_adsorbate() -> None:
    said = predict("--text", TEXT)
    assert said.returncode == 0, said.stderr
    levels = [line.split()[0] for line in said.stdout.splitlines()[1:]]
    assert {"beef-vdw-ch4", "beef-vdw-co", "emt"} == set(levels)
    energies = [float(line.split()[1]) for line in said.stdout.splitlines()[1:]]
    assert all(-5 < energy < 5 for energy in energies)


def test_a_cif_is_predicted_and_its_text_shown(tmp_path: Path) -> None:
    atoms = fcc111("Cu", (3, 3, 3), vacuum=8.0)
    add_adsorbate(atoms, "C", 1.8, "ontop")
    add_adsorbate(atoms, "O", 2.95, "ontop")
    (tmp_path / "co.cif").write_text(cif_text(atoms))
    file, level = str(tmp_path / "co.cif"), "beef-vdw-ch4"
    said = predict(file, "--adsorbate", "CO", "--miller", "1 1 1", "--level", level)
    assert said.returncode == 0, said.stderr
    lines = said.stdout.splitlines()
    assert lines[0].startswith("CO</s>Cu (1 1 1)</s>[C Cu atop")
    assert re.match(r"beef-vdw-ch4 +[+-]\d\.\d\d +0\.\d\d", lines[2])


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (("--text", "nothing"), "has 3 sections separated by </s>"),
        (("--text", "CO</s>Xx (1 1 1)</s>[]"), "must name elements up to Pu, got Xx"),
        (("--text", TEXT, "--level", "pbe"), "got level of theory 'pbe'"),
        (("--text", TEXT, "--model", "no"), "no checkpoint 'no'"),
        ((), "takes a file or --text"),
        (("no.cif", "--adsorbate", "CO", "--miller", "1 1 1"), "no.cif, which is none"),
        (("no.cif", "--adsorbate", "CO"), "give --miller '1 1 1'"),
    ],
)
def test_what_cannot_be_predicted_is_one_line(words: tuple[str, ...], rule: str) -> None:
    said = predict(*words)
    assert said.returncode == 2
    assert rule in said.stderr
    assert said.stderr.count("\n") == 1
