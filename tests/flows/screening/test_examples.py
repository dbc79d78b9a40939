"""Every example campaign is valid, sized as it says, and knows only what the model knows."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.campaigns import parse_campaign
from support.paths import REPOSITORY

from flows.config.campaign import load_campaign
from flows.config.resolve import resolve_campaign
from flows.screening.surfaces import cut_bulks_locally
from model.checkpoint import embedded_names

pytestmark = pytest.mark.medium
EXAMPLES = REPOSITORY / "examples"
CAMPAIGNS = sorted(
    f
    for f in EXAMPLES.glob("*.yaml")
    if {"\nbulks:", "\nslabs:"} & set(re.findall(r"\n\w+:", f.read_text()))
)


def of_texts(name: str, checkpoint: Path) -> str:
    """Return an example for a checkpoint of the tests, which reads texts and so takes no strain."""
    text = (EXAMPLES / f"{name}.yaml").read_text().replace("model: mini", f"model: {checkpoint}")
    return re.sub(r"\n +strain: .*", "", text)


def test_the_examples_are_there() -> None:
    assert {"co-oh-beef.yaml", "laptop-emt.yaml"} <= {file.name for file in CAMPAIGNS}


@pytest.mark.parametrize("file", CAMPAIGNS, ids=lambda file: file.stem)
def test_an_example_is_named_as_its_file(file: Path) -> None:
    assert load_campaign(file).name == file.stem


@pytest.mark.parametrize(
    ("name", "bulks", "adsorbates", "placements"),
    [
        ("co-oh-beef", 24, 6, (3_000, 12_000)),
        ("laptop-emt", 8, 4, (500, 3_000)),
        ("own-slabs-emt", 2, 2, (20, 100)),
        ("skins-emt", 3, 1, (500, 3_000)),
    ],
)
def test_an_example_is_as_large_as_it_should_be(
    name: str, bulks: int, adsorbates: int, placements: tuple[int, int], checkpoint: Path
) -> None:
    campaign = parse_campaign(of_texts(name, checkpoint), Path(name))
    resolved = resolve_campaign(campaign, EXAMPLES, None)
    surfaces = cut_bulks_locally(resolved)
    assert len(surfaces) >= bulks
    assert len(resolved.adsorbates) >= adsorbates
    assert (resolved.refused, [r for cut in surfaces for r in cut.refused]) == ((), [])
    low, high = placements
    assert low <= sum(s.placements for cut in surfaces for s in cut.slabs) <= high


@pytest.mark.skipif("mini" not in embedded_names(), reason="no checkpoint has been trained here")
@pytest.mark.parametrize("file", CAMPAIGNS, ids=lambda file: file.stem)
def test_the_shipped_model_knows_all_that_an_example_names(file: Path) -> None:
    resolved = resolve_campaign(load_campaign(file), EXAMPLES, None)
    elements = {symbol for bulk in resolved.bulks for symbol in bulk.atoms.get_chemical_symbols()}
    assert resolved.refused == ()
    assert elements <= resolved.domain.levels[resolved.level.name].slab_elements


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes", "surfaces"),
    [
        ("own-slabs-emt", (), {"Ni3Pt", "Au"}),
        (
            "skins-emt",
            (
                ("elements: [Cu, Au]", "elements: [Cu]"),
                ("cells: [2, 2, 1]", "cells: [2, 1, 1]"),
            ),
            {"Cu", "Cu3Pd"},
        ),
    ],
)
def test_own_and_edited_slabs_are_screened_to_a_queue_twice_alike(
    name: str,
    changes: tuple[tuple[str, str], ...],
    surfaces: set[str],
    new_workplace: Callable[[], Any],
    checkpoint: Path,
) -> None:
    text = of_texts(name, checkpoint)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    answers = []
    for _ in range(2):
        workplace = new_workplace()
        shutil.copytree(EXAMPLES / "slabs", workplace.folder / "slabs")
        (workplace.folder / "mine.yaml").write_text(text)
        screened = workplace.run("screen", "mine.yaml")
        assert screened.status == 0, screened.err
        again = workplace.run("screen", "mine.yaml")
        assert "was finished before" in again.out
        query = "select candidate_id, bulk, edit, energy_ev, queue_state from ranked_candidates"
        answers.append(workplace.run("sql", f"{query} order by candidate_id").out)
    assert answers[0] == answers[1]
    rows = [line.split(",") for line in answers[0].splitlines()[1:]]
    assert surfaces <= {row[1] for row in rows}
    if name == "own-slabs-emt":
        assert "queued" in {row[4] for row in rows}
    else:
        edits = {row[2] for row in rows}
        assert {"", "skin Pt", "Ni in layer 2", "1 Pd for Cu"} <= edits


@pytest.mark.full
@pytest.mark.slow
def test_the_laptop_example_runs_to_its_end(
    new_workplace: Callable[[], Any], checkpoint: Path
) -> None:
    """Fewer metals and adsorbates, all else as it stands."""
    text = (EXAMPLES / "laptop-emt.yaml").read_text()
    for old, new in (
        ("model: mini", f"model: {checkpoint}"),
        ("elements: [Ag, Al, Au, Cu, Ni, Pd, Pt]", "elements: [Cu]"),
        ("elements: [Cu, Pd, Pt], prototypes", "elements: [Cu, Pt], prototypes"),
        ("[H, O, N, CO]", "[H, CO]"),
        ("max_miller: 1", "millers: [[1, 1, 1]]"),
        ("optimum: -0.45, width: 0.03", "optimum: -0.6, width: 0.2"),
        ("window: [-0.7, -0.5]", "window: [-2.0, -1.0]"),
    ):
        assert old in text
        text = text.replace(old, new)
    workplace = new_workplace()
    (workplace.folder / "laptop.yaml").write_text(text)
    screened = workplace.run("screen", "laptop.yaml")
    assert screened.status == 0, screened.err
    verified = workplace.run("verify", "laptop-emt", "--limit", "50")
    assert verified.status == 0, verified.err
    assert "MAE" in verified.out
    assert "queued" not in workplace.run("queue", "laptop-emt").out
