"""Bad input of each kind gets an error of one line, or an answer that is right, in bounded time."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fuzz.commands import SHARES, run_commands
from support.fuzz.parts import append, done_parts, parts, run_part
from support.fuzz.targets import FuzzTargets
from support.fuzz.watch import Tally, try_input

from model.errors import ModelError

KINDS = (
    *("campaign", "level", "profile", "deployments", "prices", "recipe"),
    *("cif", "poscar", "extxyz", "rewritten", "text", "miller", "checkpoint"),
    *("url", "sql", "where"),
)


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FuzzTargets]:
    folder = tmp_path_factory.mktemp("fuzz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("RES_OPTIONS", "timeout:1 attempts:1")
        yield FuzzTargets(folder)


def test_every_kind_is_tried(targets: FuzzTargets) -> None:
    assert tuple(targets.kinds) == KINDS
    assert sum(kind.share for kind in targets.kinds.values()) == 10_000
    assert sum(SHARES.values()) == 200


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_no_input_of_a_kind_gets_a_traceback(kind: str, targets: FuzzTargets) -> None:
    size = targets.kinds[kind].share // 20
    tally = run_part(targets, kind, 1, size)
    assert tally.failures == []
    assert tally.inputs >= size


@pytest.mark.full
def test_no_command_ends_with_a_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tally = run_commands(20, 1, tmp_path, print)
    assert tally.failures == []


def test_what_is_no_error_of_ours_is_a_failure() -> None:
    tally = Tally()

    def refuse(text: str) -> None:
        raise ModelError(text)

    try_input(tally, lambda: None, "good")
    try_input(tally, lambda: refuse("one line"), "bad")
    try_input(tally, lambda: refuse("one\nand another"), "two lines")
    try_input(tally, lambda: int("x"), "odd")
    assert (tally.answered, tally.refused) == (1, 1)
    assert [shown for shown, _ in tally.failures] == ["two lines", "odd"]
    assert tally.failures[1][1].startswith("ValueError: invalid literal")


def test_a_run_goes_on_with_the_parts_that_have_no_row(tmp_path: Path) -> None:
    file = tmp_path / "fuzz.csv"
    wanted = list(parts({"cif": 600, "sql": 100}, 10_000))
    assert wanted == [("cif", 0, 250), ("cif", 1, 250), ("cif", 2, 100), ("sql", 0, 100)]
    append(file, "cif", 0, 0, Tally(refused=249, failures=[("x", "KeyError: x")]))
    append(file, "cif", 0, 1, Tally(refused=240, answered=10))
    assert done_parts(file) == {("cif", "0", "1", "250")}
