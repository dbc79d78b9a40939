import sys
from dataclasses import replace

import pytest

from flows.display.tables import show_plan, show_selected
from screening_db.database import SelectResult
from tasks.reports.plan import CampaignPlan, RefusedGroup

NONE_LEFT = CampaignPlan(1, 0, 0, 0, (), 54.0, 20.0, 0)


def test_a_plan_without_slabs_estimates_no_time(capsys: pytest.CaptureFixture[str]) -> None:
    show_plan("empty", NONE_LEFT, workers=1)
    assert capsys.readouterr().out == "empty: 1 bulks, 0 slabs, 0 pairs, 0 placements\n"
    show_plan("some", replace(NONE_LEFT, slabs=1), workers=1)
    assert "about 20 s" in capsys.readouterr().out


def test_long_names_of_what_is_refused_are_few(capsys: pytest.CaptureFixture[str]) -> None:
    names = tuple(f"random alloy Ni 0.5 Pt 0.5 fcc 1x1x1 sqs 0.{number}" for number in range(9))
    group = RefusedGroup("bulk", "the same crystal as L1_0 NiPt", 9, names)
    show_plan("draws", replace(NONE_LEFT, refused=(group,)), workers=1)
    assert f"refused 9 bulks ({names[0]}, {names[1]} and 7 more): " in capsys.readouterr().out


STORED = SelectResult(("na\x1b]0;me",), (("a\x1b[31m\x07\x9b[/b][red]",),), more=False)


def test_stored_texts_do_not_steer_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "100")
    show_selected(STORED)
    shown = capsys.readouterr().out
    assert r"a\x1b[31m\x07\x9b[/b][red]" in shown
    assert r"na\x1b]0;me" in shown
    assert not set(shown) & {"\x07", "\x1b", "\x9b"}


def test_a_pipe_gets_stored_texts_unchanged(capsys: pytest.CaptureFixture[str]) -> None:
    show_selected(STORED)
    assert capsys.readouterr().out == "na\x1b]0;me\na\x1b[31m\x07\x9b[/b][red]\n"
