"""Miller indices are read as people write them, and absurd ones are refused."""

import numpy as np
import pytest
from ase.geometry import cellpar_to_cell

from tasks.enumeration.miller import Miller, checked_miller, is_hexagonal, miller_from_text
from tasks.errors import UserError

HEXAGONAL = np.array(cellpar_to_cell([2.7, 2.7, 4.3, 90, 90, 120]))


@pytest.mark.parametrize(
    ("words", "miller"),
    [
        ("1 1 1", (1, 1, 1)),
        ("(2, 1, -1)", (2, 1, -1)),
        ("[ 2 0 0 ]", (1, 0, 0)),
        ("+1 -1 0", (1, -1, 0)),
        ("1 0 -1 0", (1, 0, 0)),
        ("1 1 -2 3", (1, 1, 3)),
    ],
)
def test_three_or_four_indices_are_read(words: str, miller: Miller) -> None:
    assert miller_from_text(words) == miller


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ("", "three whole numbers"),
        ("1.5 0 0", "three whole numbers"),
        ("111", "three numbers, or four"),
        ("(1 1 1", "three whole numbers"),
        ("1 1", "three numbers, or four"),
        ("0 0 0", "other than 0"),
        ("99999999999999999999 0 1", "from -20 to 20"),
        ("1 1 -1 0", r"i is -\(h \+ k\)"),
    ],
)
def test_other_words_are_refused_with_the_rule(words: str, rule: str) -> None:
    with pytest.raises(UserError, match=rule):
        miller_from_text(words)


def test_four_indices_count_by_a_hexagonal_cell() -> None:
    assert checked_miller((1, 0, -1, 0), hexagonal=is_hexagonal(HEXAGONAL)) == (1, 0, 0)
    for other in (3.61 * np.eye(3), HEXAGONAL[[1, 2, 0]]):
        assert not is_hexagonal(other)
    with pytest.raises(UserError, match="hexagonal cell"):
        checked_miller((1, 0, -1, 0), hexagonal=False)
