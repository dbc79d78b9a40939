"""One adslab, predicted from a file or from its text alone."""

import subprocess
import sys
from pathlib import Path

import pytest
from ase.build import add_adsorbate, fcc111

from flows.display.tables import show_predictions
from flows.screening.predict_one import predict_file, predict_text
from model.errors import SabatierError
from tasks.structures.formats import cif_text

TEXT = "CO</s>Cu (1 1 1)</s>[C Cu atop [Cu Cu Cu Cu C]]"


def test_a_text_alone_is_predicted_at_every_level_that_saw_its_adsorbate() -> None:
    said = predict_text(TEXT, "mini", None)
    assert [p.level for p in said] == ["beef-vdw-ch4", "beef-vdw-co", "emt"]
    assert all(-5 < p.energy_ev < 5 for p in said)
    assert all(0 < p.sigma_ev < 2 for p in said)
    # CO is 2.5 eV higher when carbon is counted from CH4 instead of CO.
    assert said[0].energy_ev - said[1].energy_ev == pytest.approx(2.5, abs=0.7)


def test_a_cif_is_predicted_and_its_text_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    atoms = fcc111("Cu", (3, 3, 3), vacuum=8.0)
    add_adsorbate(atoms, "C", 1.8, "ontop")
    add_adsorbate(atoms, "O", 2.95, "ontop")
    file = tmp_path / "co.cif"
    file.write_text(cif_text(atoms))
    answer = predict_file(file, "CO", "1 1 1", "", "mini", "beef-vdw-ch4")
    said = answer.predictions
    assert answer.text.startswith("CO</s>Cu (1 1 1)</s>[C Cu atop")
    alone = predict_text(answer.text, "mini", "beef-vdw-ch4")
    assert said[0].energy_ev == pytest.approx(alone[0].energy_ev, abs=1.0)
    show_predictions([*said, *alone])
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 3
    assert shown[1].startswith("beef-vdw-ch4")


@pytest.mark.parametrize(
    ("text", "level", "model", "rule"),
    [
        ("nothing", None, "mini", "has 3 sections separated by </s>"),
        ("CO</s>Xx (1 1 1)</s>[]", None, "mini", "must name elements up to Pu, got Xx"),
        (TEXT, "pbe", "mini", "got level of theory 'pbe'"),
        (TEXT, None, "no", "no checkpoint 'no'"),
    ],
)
def test_a_text_that_cannot_be_predicted_is_refused(
    text: str, level: str | None, model: str, rule: str
) -> None:
    with pytest.raises(SabatierError, match=rule):
        predict_text(text, model, level)


@pytest.mark.parametrize(
    ("miller", "rule"), [("1 1 1", "no.cif, which is none"), ("111", "three numbers, or four")]
)
def test_a_file_that_cannot_be_predicted_is_refused(miller: str, rule: str) -> None:
    with pytest.raises(SabatierError, match=rule):
        predict_file(Path("no.cif"), "CO", miller, "", "mini", None)


@pytest.mark.medium
def test_a_fault_of_the_command_is_one_line() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "flows.cli.app", "predict", "--text", "nothing"],
        capture_output=True,
        text=True,
    )
    assert said.returncode == 2
    assert said.stderr.startswith("sabatier: a configuration text has 3 sections")
    assert said.stderr.count("\n") == 1


@pytest.mark.medium
def test_another_plane_than_the_slab_shows_is_one_line(tmp_path: Path) -> None:
    atoms = fcc111("Cu", (3, 3, 3), vacuum=8.0, periodic=True)
    add_adsorbate(atoms, "C", 1.8, "ontop")
    add_adsorbate(atoms, "O", 2.95, "ontop")
    atoms.write(tmp_path / "co.extxyz")
    words = ["predict", str(tmp_path / "co.extxyz"), "--adsorbate", "CO", "--miller", "1 0 0"]
    said = subprocess.run(
        [sys.executable, "-m", "flows.cli.app", *words], capture_output=True, text=True
    )
    assert (said.returncode, said.stderr.count("\n")) == (2, 1)
    assert "this slab is (1 1 1)" in said.stderr
