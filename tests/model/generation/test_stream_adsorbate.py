import numpy as np
import pytest

from model.generation.stream_adsorbate import Molecule, SlabClearance
from model.text.stream_tokens import AZIMUTH, DISTANCE

SQUARE = np.diag([2.6, 2.6])
COPPER = 1.32  # covalent radius in Å


def column(plane_2: tuple[float, float]) -> np.ndarray:
    heights = DISTANCE.values
    return np.column_stack([np.tile(plane_2, (len(heights), 1)), heights])


def heights(tokens: tuple[str, ...]) -> np.ndarray:
    return np.array([DISTANCE.value(token) for token in tokens])


@pytest.mark.parametrize("turns", [(0, 0), (1, 0), (-3, 2)])
def test_above_an_atom_or_its_image_a_step_is_as_long_as_both_need(turns: tuple[int, int]) -> None:
    room = SlabClearance(SQUARE, 0.75)
    room.add("Cu", np.array([0.3, 0.4, 0.0]))
    x, y = np.array([0.3, 0.4]) + np.array(turns) @ SQUARE
    found = heights(room.fitting("Cu", DISTANCE.tokens, column((x, y))))
    assert np.abs(found).min() == pytest.approx(0.75 * 2 * COPPER, abs=0.02)
    assert np.abs(found).min() >= 0.75 * 2 * COPPER


def test_beside_an_atom_there_is_room_at_its_own_height() -> None:
    room = SlabClearance(2 * SQUARE, 0.75)
    room.add("Cu", np.zeros(3))
    assert 0.0 in heights(room.fitting("Cu", DISTANCE.tokens, column((2.6, 2.6))))


def test_where_nothing_fits_everything_is_admitted() -> None:
    room = SlabClearance(np.diag([0.5, 0.5]), 0.75)
    for height in np.arange(-2.0, 7.0, 0.5):
        room.add("Cu", np.array([0.0, 0.0, height]))
    assert room.fitting("Cu", DISTANCE.tokens, column((0.2, 0.2))) == DISTANCE.tokens


def around(length_ang: float) -> np.ndarray:
    turn_P = np.radians(AZIMUTH.values)
    return np.column_stack([length_ang * np.cos(turn_P), length_ang * np.sin(turn_P), 0 * turn_P])


def test_a_hydrogen_keeps_off_the_atoms_that_it_is_not_bonded_to() -> None:
    # C at the origin, O beside it: H on C turned towards O would be bonded to O as well
    molecule = Molecule(("C", "O"), np.array([[0.0, 0.0, 0.0], [1.2, 0.0, 0.0]]), (0,))
    room = SlabClearance(10 * SQUARE, 0.75)
    turns = room.bonding("H", AZIMUTH.tokens, around(1.1), molecule)
    degrees = [AZIMUTH.value(token) for token in turns]
    assert 0.0 not in degrees
    assert 180.0 in degrees


def test_an_atom_that_closes_a_ring_is_in_reach_of_both_ends() -> None:
    ends = np.array([[0.0, 0.0, 0.0], [2.4, 0.0, 0.0]])
    room = SlabClearance(10 * SQUARE, 0.75)
    turns = room.bonding("C", AZIMUTH.tokens, around(1.4), Molecule(("C", "C"), ends, (0, 1)))
    assert turns
    for token in turns:
        turn = np.radians(AZIMUTH.value(token))
        end_3 = np.array([1.4 * np.cos(turn), 1.4 * np.sin(turn), 0.0])
        assert np.linalg.norm(end_3 - ends[1]) < 1.25 * 2 * 0.76


def test_of_the_turns_that_bond_rightly_those_clear_of_the_slab_are_left() -> None:
    room = SlabClearance(10 * SQUARE, 0.75)
    room.add("Cu", np.array([-1.1, 0.0, 0.0]))
    molecule = Molecule(("C", "O"), np.array([[0.0, 0.0, 0.0], [1.2, 0.0, 0.0]]), (0,))
    degrees = {AZIMUTH.value(t) for t in room.bonding("H", AZIMUTH.tokens, around(1.1), molecule)}
    assert degrees
    assert not degrees & {0.0, 180.0}


def test_a_grammar_that_only_reads_admits_everything() -> None:
    room = SlabClearance(SQUARE, 0.0)
    room.add("Cu", np.zeros(3))
    assert room.fitting("Cu", DISTANCE.tokens, column((0.0, 0.0))) == DISTANCE.tokens
