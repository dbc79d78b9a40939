"""Why a configuration lies outside of what a checkpoint was trained on."""

from dataclasses import replace

import numpy as np
import pytest
from support.tiny import ROWS

from model.contract import Configuration
from model.data.domain import (
    domain_from_json,
    domain_of,
    domain_to_json,
    level_index,
    out_of_domain_reason,
)
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
    assert out_of_domain_reason(DOMAIN, strange) == "element not in the training set at emt: Au"


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
    assert out_of_domain_reason(DOMAIN, strange, distance=9.0, limit=1.0).startswith("element")


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
    row = replace(ROWS[0], numbers_N=NOTHING, text="O</s>Cu3Au (1 1 1)</s>[]")
    assert domain_of([row]).elements == {"emt": frozenset({"O", "Cu", "Au"})}


def test_elements_and_adsorbates_belong_to_a_level() -> None:
    domain = domain_of([ROWS[0], replace(ROWS[1], level="beef-vdw-ch4")])
    assert domain.elements["emt"] == {"O", "Cu"}
    assert domain.adsorbates["beef-vdw-ch4"] == {"H"}


def test_a_domain_survives_json() -> None:
    assert domain_from_json(domain_to_json(DOMAIN)) == DOMAIN


def test_a_level_nobody_trained_on_is_refused() -> None:
    with pytest.raises(ModelError, match="answers at emt; got level of theory 'pbe'"):
        level_index(["emt"], "pbe")
