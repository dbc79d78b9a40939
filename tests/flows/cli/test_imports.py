"""The commands of docs/own_labels.md run on small sources; bad input is one line."""

import shlex
from pathlib import Path

import pytest
from support.labels import own_labels as make
from support.paths import REPOSITORY

from flows.cli import app as command_line

DOCS = (REPOSITORY / "docs" / "own_labels.md").read_text(encoding="utf-8")


def documented() -> list[list[str]]:
    """Return the words of the commands that the page shows."""
    blocks = [part.partition("```")[0] for part in DOCS.split("```sh\n")[1:]]
    found = [shlex.split(line) for block in blocks for line in block.splitlines()]
    return [words for words in found if words[1] != "fit"]  # tests/flows/learning/test_fit.py


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int | str | None:
    monkeypatch.setattr("sys.argv", ["sabatier", *words])
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    return ended.value.code


@pytest.mark.medium
def test_the_commands_of_the_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make.write_extxyz(tmp_path / "frames.extxyz")
    make.write_table(tmp_path / "labels.csv")
    make.write_outputs(tmp_path / "outputs")
    commands = documented()
    assert len(commands) == 4
    for program, *words in commands:
        assert program == "sabatier"
        assert run(monkeypatch, *words) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "labels that are trained on" in said
    assert "frames.extxyz#0: -1.500 eV" in said
    assert (tmp_path / "rows.csv").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.csv", "--level", "emt"], "none.csv does not exist"),
        (["page.csv", "--level", "emt"], "begins as a web page"),
        (["page.csv", "--level", "pbe"], "no level of theory is called 'pbe'"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.csv").write_text("<html></html>")
    assert run(monkeypatch, "import", "labels", *words, "--energies", "total") == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
