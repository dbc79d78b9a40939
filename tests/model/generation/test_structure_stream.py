from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.streams import MOLECULES, SLABS, adslab, distances

from model.errors import ModelError
from model.generation.stream_grammar import decode_stream
from model.generation.structure_stream import Structure, encode_stream
from model.text.stream_tokens import DISTANCE, FRACTION, SCALES, stream_embeddings, stream_tokens

angles = st.floats(0.0, 360.0)
shares = st.floats(0.0, 0.999)


def sorted_distances(structure: Structure, first_tag: int, second_tag: int) -> np.ndarray:
    chosen = np.ix_(structure.tags_N == first_tag, structure.tags_N == second_tag)
    return np.sort(distances(structure)[chosen].ravel())


def kinds(structure: Structure) -> Counter[tuple[int, int]]:
    return Counter(zip(structure.numbers_N.tolist(), structure.tags_N.tolist(), strict=True))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(SLABS)),
    st.sampled_from(MOLECULES),
    st.floats(1.0, 4.0),
    st.tuples(shares, shares),
    st.tuples(angles, angles, angles),
)
def test_a_structure_reads_back_within_the_stated_bounds(
    slab: str,
    name: str,
    height: float,
    across: tuple[float, float],
    turn: tuple[float, float, float],
) -> None:
    start = adslab(slab, name, height=height, across=across, turn=turn)
    back = decode_stream(encode_stream(start))
    assert back.miller == start.miller
    assert kinds(back) == kinds(start)
    # 0.0075 Å for each primitive vector in a cell vector: these cells hold four at most
    np.testing.assert_allclose(back.cell_33, start.cell_33, atol=4 * 0.0075 + 0.02)
    for first, second in ((1, 1), (0, 1), (2, 2), (1, 2)):
        bound = 0.13 if second == 2 else 0.06
        np.testing.assert_allclose(
            sorted_distances(back, first, second),
            sorted_distances(start, first, second),
            atol=bound,
        )


@pytest.mark.parametrize("slab", SLABS)
def test_what_was_read_is_written_as_the_same_tokens(slab: str) -> None:
    once = encode_stream(adslab(slab, "CO", across=(0.1, 0.2)))
    assert encode_stream(decode_stream(once)) == once


def test_a_slab_is_written_once_for_all_its_repeats() -> None:
    stream = encode_stream(adslab("Cu (1 1 1)", "CO"))
    assert stream.count("Cu") == 4  # one atom for each layer of the 3 x 3 x 4
    assert len(stream) < 60


def test_a_shift_across_the_surface_lattice_changes_no_token() -> None:
    start = adslab(across=(0.11, 0.07), turn=(20.0, 40.0, 10.0))
    moved = start.positions_N3.copy()
    moved[start.tags_N == 2] += start.cell_33[0] / 3
    assert encode_stream(replace(start, positions_N3=moved)) == encode_stream(start)


def test_the_order_of_atoms_changes_no_token() -> None:
    start = adslab(turn=(20.0, 40.0, 10.0))
    order = np.random.default_rng(0).permutation(len(start.numbers_N))
    shuffled = replace(
        start,
        numbers_N=start.numbers_N[order],
        positions_N3=start.positions_N3[order],
        tags_N=start.tags_N[order],
    )
    assert encode_stream(shuffled) == encode_stream(start)


def test_a_molecule_across_the_cell_border_is_written_whole() -> None:
    start = adslab(name="C6H6", turn=(0.0, 90.0, 0.0))
    wrapped = start.positions_N3 @ np.linalg.inv(start.cell_33) % 1.0 @ start.cell_33
    assert encode_stream(replace(start, positions_N3=wrapped)) == encode_stream(start)


def test_a_relaxed_slab_is_written_atom_by_atom() -> None:
    start = adslab()
    noise = np.random.default_rng(0).normal(0.0, 0.05, start.positions_N3.shape)
    noise[start.tags_N == 2] = 0.0
    relaxed = replace(start, positions_N3=start.positions_N3 + noise)
    stream = encode_stream(relaxed)
    assert stream.count("Cu") == 36
    np.testing.assert_allclose(
        sorted_distances(decode_stream(stream), 1, 1), sorted_distances(relaxed, 1, 1), atol=0.09
    )


def test_mirror_images_are_written_differently() -> None:
    start = adslab(name="CH3CHO", turn=(20.0, 40.0, 10.0))
    mirrored = start.positions_N3.copy()
    is_adsorbate = start.tags_N == 2
    mirrored[is_adsorbate, 0] = 2 * mirrored[is_adsorbate, 0].mean() - mirrored[is_adsorbate, 0]
    assert encode_stream(replace(start, positions_N3=mirrored)) != encode_stream(start)


def tilted(structure: Structure) -> Structure:
    cell = structure.cell_33.copy()
    cell[2, 0] = 1.0
    return replace(structure, cell_33=cell)


def broken(structure: Structure) -> Structure:
    positions = structure.positions_N3.copy()
    positions[-1] += 5.0
    return replace(structure, positions_N3=positions)


def bare(structure: Structure) -> Structure:
    return replace(structure, tags_N=np.zeros_like(structure.tags_N))


def afar(structure: Structure) -> Structure:
    positions = structure.positions_N3.copy()
    positions[structure.tags_N == 2] += [0.0, 0.0, 6.0]
    return replace(structure, positions_N3=positions)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (tilted, "c along z; this one is off by 1.000 Å"),
        (broken, "one molecule; 1 of its 6 atoms"),
        (bare, "one is empty"),
        (afar, "d from -2 to 6, got 9.09"),
    ],
)
def test_what_no_stream_can_say_is_refused(change: object, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        encode_stream(change(adslab()))  # type: ignore[operator]


def test_every_bin_has_one_token_and_every_value_its_nearest() -> None:
    tokens = stream_tokens()
    assert len(tokens) == len(set(tokens)) < 1_200
    for scale in SCALES:
        assert [scale.token(value) for value in scale.values] == list(scale.tokens)
    assert DISTANCE.token(1.109) == "<d:1.10>"
    assert DISTANCE.token(1.111) == "<d:1.12>"
    assert FRACTION.token(239.7) == "<f:0>"  # fractions bite their tail
    with pytest.raises(ModelError, match=r"writes d from -2 to 6, got 6.10"):
        DISTANCE.token(6.1)


def test_neighbouring_bins_start_closer_than_distant_ones() -> None:
    table = dict(zip(stream_tokens(), stream_embeddings(64), strict=True))

    def apart(first: str, second: str) -> float:
        return float(np.linalg.norm(table[first] - table[second]))

    assert apart("<d:1.10>", "<d:1.12>") < apart("<d:1.10>", "<d:1.50>")
    assert apart("<p:358>", "<p:0>") < apart("<p:180>", "<p:0>")
    assert len(table) == len(stream_tokens())
    np.testing.assert_allclose(stream_embeddings(64), stream_embeddings(64), rtol=1e-9, atol=1e-12)
