from pathlib import Path
from typing import get_args

import pytest
from support.campaigns import parse_campaign

from flows.config.campaign import Campaign, load_campaign
from flows.config.triage import PolicyName, ScoreName
from flows.errors import CampaignError
from tasks.acquisition import POLICIES, SCORES
from tasks.acquisition.rank import Window
from tasks.enumeration import OwnSlabSpec, RandomAlloySpec, SlabEdits

GOOD = """\
name: good
bulks:
  elements: [Cu]
  alloys:
    - {formula: Cu3Pt, prototype: L1_2}
adsorbates:
  - CO
  - NO
  - {file: mine.xyz, binding: [0], name: mine}
target:
  CO: {window: [-1.3, -0.7]}
  NO: {optimum: -1.0, width: 0.2}
level: emt
triage:
  budget: 5
"""


def parse(text: str) -> Campaign:
    return parse_campaign(text, Path("c.yaml"))


def test_a_campaign_states_its_targets() -> None:
    campaign = parse(GOOD)
    assert campaign.adsorbate_names() == ["CO", "NO", "mine"]
    assert campaign.windows() == {"CO": Window(-1.3, -0.7), "NO": Window(-1.2, -0.8)}
    assert campaign.triage.budget == 5


def test_a_policy_may_be_given_by_its_name_alone() -> None:
    assert parse(GOOD + "  policy: greedy\n").triage.policy.name == "greedy"


def test_every_policy_and_score_may_be_named() -> None:
    assert get_args(PolicyName) == POLICIES
    assert get_args(ScoreName) == tuple(SCORES)


def test_random_alloys_are_bulks_of_their_own() -> None:
    stated = "{composition: {Pt: 0.75, Ni: 0.25}, prototype: fcc, atoms: 32, number: 2}"
    campaign = parse(GOOD.replace("  elements: [Cu]", f"  random_alloys: [{stated}]"))
    specs = [s for s in campaign.bulks.specs(Path()) if isinstance(s, RandomAlloySpec)]
    assert [(s.shares[0], s.cells, s.number) for s in specs] == [
        (("Ni", 0.25), (2, 2, 2), 0),
        (("Ni", 0.25), (2, 2, 2), 1),
    ]


@pytest.mark.parametrize(
    "size",
    ["atoms: 100000000000", "cells: [1000000, 1000000, 1000000]", "cells: [8, 8, 8]"],
)
def test_a_random_alloy_too_large_to_build_is_refused_in_one_line(size: str) -> None:
    stated = f"{{composition: {{Pt: 0.5, Ni: 0.5}}, prototype: fcc, {size}}}"
    with pytest.raises(CampaignError, match="256") as refused:
        parse(GOOD.replace("  elements: [Cu]", f"  random_alloys: [{stated}]"))
    assert "\n" not in str(refused.value)


def test_edits_of_slabs_are_keys_of_surfaces() -> None:
    stated = "{skin: {elements: [Pt], layers: 2}, single_atom: {elements: [Pd]}, strain: [0.02]}"
    edits = parse(GOOD + f"surfaces: {stated}\n").surfaces.edits()
    assert edits == SlabEdits(skin=("Pt",), skin_layers=2, single_atom=("Pd",), strain=(0.02,))


def test_slabs_of_ones_own_need_no_bulks() -> None:
    text = GOOD[: GOOD.index("bulks:")] + GOOD[GOOD.index("adsorbates:") :]
    campaign = parse(text + "slabs: [a.cif, {file: b.cif, miller: [1, 1, 1], side: both}]\n")
    assert campaign.own_slab_specs(Path("here")) == [
        OwnSlabSpec("here/a.cif"),
        OwnSlabSpec("here/b.cif", (1, 1, 1), side="both"),
    ]
    assert campaign.bulk_specs(Path("here")) == []
    with pytest.raises(CampaignError, match="needs bulks or slabs, got neither"):
        parse(text)


# what is replaced, by what, and what the error has to say
BAD = {
    "unknown key": ("budget: 5", "bugdet: 5", "line 15: unknown key 'bugdet' in triage.*'budget'"),
    "unknown key at the top": ("level: emt", "levle: emt", "unknown key 'levle'; .*'level'"),
    "unknown key in an alloy": (
        "formula: Cu3Pt,",
        "formula: Cu3Pt, prototpye: B2,",
        r"line 5: unknown key 'prototpye' in bulks.alloys\[0\]; .*'prototype'",
    ),
    "unknown key in an adsorbate": (
        "binding: [0], name",
        "binding: [0], nam",
        r"line 9: unknown key 'nam' in adsorbates\[2\]; .*'name'",
    ),
    "unknown key in a slab of one's own": (
        "level: emt",
        "level: emt\nslabs: [a.cif, {file: b.cif, mill: [1, 1, 1]}]",
        r"line 14: unknown key 'mill' in slabs\[1\]; the nearest valid key is 'miller'",
    ),
    "unknown key in a target": (
        "{window: [-1.3, -0.7]}",
        "{windows: [-1.3, -0.7]}",
        "unknown key 'windows' in target.CO; .*'window'",
    ),
    "shares of a random alloy": (
        "  elements: [Cu]",
        "  random_alloys: [{composition: {Pt: 0.5, Ni: 0.4}, prototype: fcc, cells: [2, 2, 2]}]",
        r"line 3: bulks.random_alloys\[0\]: .* shares that sum to 1, got",
    ),
    "size of a random alloy": (
        "  elements: [Cu]",
        "  random_alloys: [{composition: {Pt: 0.5, Ni: 0.5}, prototype: fcc}]",
        "size is given by cells or by atoms, got neither; write cells",
    ),
    "an edit with an unknown element": (
        "level: emt",
        "surfaces: {subsurface: {elements: [Xx]}}\nlevel: emt",
        "surfaces: an edit names elements by symbol, got Xx",
    ),
    "strain in percent": (
        "level: emt",
        "surfaces: {strain: [2]}\nlevel: emt",
        "not 0, got 2: 0.02 is 2 %",
    ),
    "window upside down": (
        "[-1.3, -0.7]",
        "[-0.7, -1.3]",
        r"line 11: target.CO: a window needs low below high, got \[-0.7, -1.3\]; swap",
    ),
    "window of one point": ("[-1.3, -0.7]", "[-1, -1]", "low below high"),
    "window with NaN": ("[-1.3, -0.7]", "[.nan, -0.7]", "finite number, got nan"),
    "window of one number": ("[-1.3, -0.7]", "[-1.3]", r"target.CO.window"),
    "optimum without width": (", width: 0.2", "", "a target is either a window or an optimum"),
    "width of zero": ("width: 0.2", "width: 0", "width above 0 eV, got 0.0; write"),
    "target of another adsorbate": ("  CO: {w", "  OH: {w", "got 'OH'; add it to adsorbates"),
    "no target": ("target:\n  CO: {window: [-1.3, -0.7]}\n  NO: {optimum: -1.0, width: 0.2}",
                  "target: {}", "target"),
    "adsorbate twice": ("  - NO", "  - CO", "differ in name"),
    "no bulk": (
        "  elements: [Cu]\n  alloys:\n    - {formula: Cu3Pt, prototype: L1_2}",
        "  elements: []",
        "at least one bulk, got none; give",
    ),
    "prototype unknown": ("L1_2", "L12", r"alloys\[0\].prototype: .*'L1_2'.*got 'L12'"),
    "negative budget": ("budget: 5", "budget: -5", "triage.budget: .*or equal to 0, got -5"),
    "policy unknown": ("budget: 5", "policy: luck", "triage.policy: .*'batch'.*got 'luck'"),
    "unknown key in a policy": (
        "budget: 5",
        "policy: {nam: batch}",
        "line 15: unknown key 'nam' in triage.policy; .*'name'",
    ),
    "kappa without a bound": (
        "budget: 5",
        "policy: {name: greedy, kappa: 1}",
        "triage.policy: kappa belongs to confidence_bound, got it with greedy; leave it out",
    ),
    "a mix of one": (
        "budget: 5",
        "policy: {name: greedy, uncertain_by: doubt}",
        "only policy batch mixes two scores, got uncertain_by with greedy",
    ),
    "a share of one": (
        "budget: 5",
        "promising: 0.5\n  policy: greedy",
        "triage: promising is a share of policy batch, got it with greedy",
    ),
    "diversity below nothing": (
        "budget: 5",
        "policy: {diversity: -1}",
        "triage.policy.diversity: .*or equal to 0, got -1",
    ),
    "unknown key in costs": (
        "budget: 5",
        "costs: {bugdet: 9}",
        "unknown key 'bugdet' in triage.costs; .*'budget'",
    ),
    "a cost of nothing": ("budget: 5", "costs: {budget: 0}", "triage.costs.budget: .*got 0"),
    "a cost that explodes": (
        "budget: 5",
        "costs: {exponent: 9}",
        "triage.costs: a cost grows with a power of the atoms from 0 to 4, got 9",
    ),
    "prices without weight": (
        "budget: 5",
        "prices: {weight: 0}",
        "triage.prices.weight: .*greater than 0, got 0",
    ),
    "level missing": ("level: emt\n", "", "level is required and missing"),
    "name that leaves the folder": ("name: good", "name: ../good", "name: .*got '../good'"),
    "slab without vacuum": ("level: emt", "level: emt\nsurfaces: {vacuum: 1}", "vacuum.*got 1"),
    "key twice": ("level: emt", "level: emt\nlevel: emt", "'level' stands twice"),
    "no key": ("level: emt", "level: emt\n? [a]\n: b", "not valid YAML"),
    "no YAML": ("budget: 5", "budget: [5", "not valid YAML"),
    "tabs": ("  budget: 5", "\tbudget: 5", "line 15: not valid YAML"),
    "address": ("level: emt", "level: emt\ncluster: {address: 'here:1'}", "starts with tls://"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_fault_is_one_line_that_names_the_key(case: str) -> None:
    old, new, message = BAD[case]
    assert old in GOOD
    with pytest.raises(CampaignError, match=message) as caught:
        parse(GOOD.replace(old, new, 1))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("c.yaml")


@pytest.mark.parametrize(
    ("text", "message"), [("", "this one is empty"), ("- a\n", "is a mapping"), ("# x\n", "empty")]
)
def test_a_file_that_is_no_campaign_is_refused(text: str, message: str) -> None:
    with pytest.raises(CampaignError, match=message):
        parse(text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CampaignError, match=r"none\.yaml does not exist; check the path"):
        load_campaign(tmp_path / "none.yaml")


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CampaignError, match="must be a YAML text file"):
        load_campaign(file)
