"""Why a configuration lies outside of what a checkpoint was trained on."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.tiny import ROWS

from model.checkpoint import Checkpoint, open_checkpoint
from model.contract import Configuration, Domain, LevelDomain
from model.data.domain import (
    domain_from_json,
    domain_of,
    domain_to_json,
    level_index,
    merge_domains,
    out_of_domain_reason,
    read_domain,
    slab_outside_reason,
)
from model.data.kept_rows import HOLD_OUT, write_compact_rows
from model.errors import ModelError

DOMAIN = domain_of(ROWS)
KNOWN = ROWS[0].configuration()
NOTHING = np.zeros((0,), dtype=np.int64)


def text_only(text: str) -> Configuration:
    return replace(
        KNOWN, text=text, numbers_N=NOTHING, tags_N=NOTHING, positions_N3=np.zeros((0, 3))
    )


def test_a_training_row_is_inside() -> None:
    assert out_of_domain_reason(DOMAIN, KNOWN) == ""
    assert out_of_domain_reason(DOMAIN, KNOWN, distance=1.0, limit=2.2) == ""


def test_an_unseen_element_is_named() -> None:
    strange = replace(KNOWN, numbers_N=np.where(KNOWN.numbers_N == 29, 79, KNOWN.numbers_N))
    assert (
        out_of_domain_reason(DOMAIN, strange) == "slab element not in the training set at emt: Au"
    )


def test_an_unseen_adsorbate_is_named() -> None:
    known = text_only("O</s>Cu (1 1 1)</s>[]")
    strange = replace(known, text="ON</s>Cu (1 1 1)</s>[]")
    assert out_of_domain_reason(DOMAIN, known) == ""
    assert out_of_domain_reason(DOMAIN, strange) == "adsorbate not in the training set at emt: ON"


def test_far_in_latent_space_says_how_far() -> None:
    reason = out_of_domain_reason(DOMAIN, KNOWN, distance=3.14, limit=2.2)
    assert reason == "far from the training set in latent space: 3.1 (limit 2.2)"


def test_what_is_unseen_comes_before_what_is_far() -> None:
    strange = text_only("O</s>Au (1 1 1)</s>[]")
    assert out_of_domain_reason(DOMAIN, strange, distance=9.0, limit=1.0).startswith("slab")


@pytest.mark.parametrize(
    "text",
    [
        "O</s>Au (1 1 1)</s>[]",
        "O</s>Cu3Au (1 1 1)</s>[]",
        "O</s>Cu (1 1 1)</s>[O Cu atop [Cu Au Cu O]]",
    ],
)
def test_a_text_alone_names_its_elements(text: str) -> None:
    assert "Au" in out_of_domain_reason(DOMAIN, text_only(text))


def test_rows_without_structure_have_the_elements_of_their_text() -> None:
    row = replace(ROWS[0], numbers_N=NOTHING, tags_N=NOTHING, text="O</s>Cu3Au (1 1 1)</s>[]")
    assert domain_of([row]).levels["emt"].slab_elements == {"Cu", "Au"}


def test_elements_and_adsorbates_belong_to_a_level() -> None:
    domain = domain_of([ROWS[0], replace(ROWS[1], level="beef-vdw-ch4")])
    assert domain.levels["emt"].slab_elements == {"Cu"}
    assert domain.levels["emt"].adsorbate_elements == {"O"}
    assert domain.levels["beef-vdw-ch4"].adsorbates == {"H"}


def test_a_domain_survives_json() -> None:
    assert domain_from_json(json.loads(json.dumps(domain_to_json(DOMAIN)))) == DOMAIN


def test_an_element_of_adsorbates_is_none_of_the_slab() -> None:
    oxide = text_only("O</s>Cu2O (1 1 1)</s>[]")
    reason = out_of_domain_reason(DOMAIN, oxide)
    assert reason == "slab element not in the training set at emt: O"


def test_an_atom_of_the_slab_is_judged_as_the_slab() -> None:
    covered = replace(
        KNOWN, numbers_N=np.append(KNOWN.numbers_N, 1), tags_N=np.append(KNOWN.tags_N, 1)
    )
    assert out_of_domain_reason(DOMAIN, covered) == "slab element not in the training set at emt: H"


def test_an_element_of_the_slab_is_none_of_adsorbates() -> None:
    odd = text_only("CuO</s>Cu (1 1 1)</s>[]")
    assert (
        out_of_domain_reason(DOMAIN, odd) == "adsorbate element not in the training set at emt: Cu"
    )


@pytest.mark.parametrize(
    ("symbols", "facet", "reason"),
    [
        (["Cu"], (1, 1, 1), ""),
        (["Cu"], (2, 1, -2), ""),
        (["Cu", "O"], (1, 1, 1), "slab element not in the training set at emt: O"),
        (["Cu", "Pt"], (1, 1, 1), "kind of material not in the training set at emt: alloy"),
        (
            ["Cu"],
            (1, -3, 0),
            "facet not in the training set at emt: (1 -3 0), with an index above 2 times the "
            "largest there, 1",
        ),
    ],
)
def test_a_slab_alone_is_inside_or_named_by_the_part_that_is_not(
    symbols: list[str], facet: tuple[int, int, int], reason: str
) -> None:
    assert slab_outside_reason(DOMAIN, "emt", symbols, facet) == reason


def test_facets_that_nobody_recorded_refuse_nothing() -> None:
    domain = Domain({"emt": replace(DOMAIN.levels["emt"], facets=frozenset())})
    assert slab_outside_reason(domain, "emt", ["Cu"], (9, 1, 1)) == ""


def test_labels_widen_each_part_of_a_domain() -> None:
    labels = [replace(ROWS[0], numbers_N=NOTHING, tags_N=NOTHING, text="O</s>IrO2 (1 1 0)</s>[]")]
    domain = merge_domains(DOMAIN, domain_of(labels))
    assert slab_outside_reason(domain, "emt", ["Ir", "O"], (1, 1, 0)) == ""
    assert domain.levels["beef-vdw-ch4"] == DOMAIN.levels["beef-vdw-ch4"]


OLD = {
    "elements": {"emt": ["C", "Cu", "F", "O", "Ti"]},
    "adsorbates": {"emt": ["CO", "O"]},
    "levels": ["emt"],
}


def test_a_checkpoint_without_parts_or_rows_knows_what_no_adsorbate_holds(tmp_path: Path) -> None:
    assert read_domain(Checkpoint(tmp_path, "baseline", "0"), OLD).levels["emt"] == LevelDomain(
        frozenset({"Cu", "F", "Ti"}),
        frozenset({"C", "O"}),
        frozenset({"CO", "O"}),
        frozenset({"metal", "alloy", "halide", "other"}),
    )


def test_a_checkpoint_without_parts_knows_the_slabs_of_its_rows(tmp_path: Path) -> None:
    oxide = replace(ROWS[0], text="O</s>TiO2 (1 1 0)</s>[]")
    write_compact_rows(tmp_path / HOLD_OUT, [ROWS[0], oxide])
    found = read_domain(Checkpoint(tmp_path, "qe-catalytic", "1"), OLD).levels["emt"]
    assert found.slab_elements == {"Cu", "F", "O", "Ti"}
    assert found.kinds == {"metal", "oxide"}
    assert found.facets == {(1, 1, 1), (1, 1, 0)}


@pytest.mark.parametrize("name", ["mini", "baseline"])
@pytest.mark.parametrize("level", ["emt", "beef-vdw-ch4"])
def test_the_shipped_checkpoints_learnt_metals_and_alloys(name: str, level: str) -> None:
    checkpoint = open_checkpoint(name)
    settings = checkpoint.read_json(f"{checkpoint.kind}.json")
    parts = read_domain(checkpoint, settings["domain"]).levels[level]
    assert parts.kinds == {"metal", "alloy"}
    assert parts.slab_elements & {"H", "C", "N", "O", "S"} == set()
    assert {"Ag", "Au", "Cu", "Ni", "Pd", "Pt"} <= parts.slab_elements


def test_a_level_nobody_trained_on_is_refused() -> None:
    with pytest.raises(ModelError, match="answers at emt; got level of theory 'pbe'"):
        level_index(["emt"], "pbe")
