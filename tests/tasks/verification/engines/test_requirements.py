"""What a level must state, and which version of a program it accepts."""

import pytest

from tasks.errors import UserError
from tasks.levels import shipped_levels
from tasks.verification.engines.requirements import version_within


@pytest.mark.parametrize(
    ("version", "bounds", "within"),
    [
        ("26.7.0", ">=26.7,<27", True),
        ("26.7", ">=26.7,<27", True),
        ("26.10.1", ">=26.7,<27", True),
        ("26.6.9", ">=26.7,<27", False),
        ("27.0", ">=26.7,<27", False),
        ("27.1", ">=26.7,<27", False),
        ("6.7MaX", ">=6.7", True),
        ("7.2", ">=6.7", True),
        ("6.5", ">=6.7", False),
        ("", ">=6.7", False),
        ("7.2", "==7.*", True),
        ("8.0", "==7.*", False),
        ("6.4.2.18Apr17-6-g9f103f2a35", "any", True),
        ("", "any", True),
    ],
)
def test_versions_lie_in_the_bounds_of_a_level(version: str, bounds: str, within: bool) -> None:
    assert version_within(version, bounds) is within


def test_the_bounds_above_are_those_that_ship() -> None:
    shipped = {level.calculation.engine_version for level in shipped_levels() if level.calculation}
    assert shipped == {">=26.7,<27", ">=2.0,<3", ">=6.7", "any"}


@pytest.mark.parametrize("bounds", ["new", "", ">=999,new", "7.2"])
def test_bounds_that_cannot_be_read_are_refused(bounds: str) -> None:
    with pytest.raises(UserError, match=f"bounds such as >=26.7,<27; got '{bounds}'"):
        version_within("7.2", bounds)
