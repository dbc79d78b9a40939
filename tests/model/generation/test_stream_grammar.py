from collections import Counter
from random import Random

import numpy as np
import pytest
from ase.data import chemical_symbols
from pymatgen.core.composition import Composition
from support.streams import adslab

from model.errors import ModelError
from model.generation.skeleton import Skeleton
from model.generation.stream_grammar import StreamConstraints, decode_stream, stream_parser
from model.generation.structure_stream import Structure, encode_stream
from model.text.stream_tokens import ADSORBATE
from model.text.tokenizer import END

GRAPHS = {
    "CO": ("C0 O0 0-1",),
    "H2": ("H1",),
    "C2H6O": ("C3 C2 O1 0-1 1-2", "C3 O0 C3 0-1 1-2"),
    "C6H6": ("C1 C1 C1 C1 C1 C1 0-1 1-2 2-3 3-4 4-5 0-5",),
    "C8H10": ("C0 C0 C1 C1 C1 C1 C3 C3 0-1 1-2 2-3 3-4 4-5 0-5 0-6 1-7",),
    "C10H8": ("C0 C0 C1 C1 C1 C1 C1 C1 C1 C1 0-1 0-2 2-3 3-4 4-5 5-1 1-6 6-7 7-8 8-9 9-0",),
}


def drawn(wanted: StreamConstraints, seed: int) -> tuple[list[str], Structure]:
    """Return a stream whose every token is drawn blindly from those admitted."""
    random, parser = Random(seed), stream_parser(wanted)
    admitted, tokens = next(parser), []
    while True:
        assert admitted, f"nothing may follow {tokens}"
        ends = ADSORBATE in admitted and random.random() < 0.7
        tokens.append(ADSORBATE if ends else random.choice(admitted))
        try:
            admitted = parser.send(tokens[-1])
        except StopIteration as finished:
            return tokens, finished.value


def symbols(structure: Structure, *, adsorbate: bool) -> Counter[str]:
    chosen = (structure.tags_N == 2) == adsorbate
    return Counter(chemical_symbols[number] for number in structure.numbers_N[chosen])


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("bulk", ["Cu", "Cu3Pt", "Ir44Pd"])
def test_blind_choices_end_in_the_composition_asked_for(name: str, bulk: str) -> None:
    graphs = tuple(Skeleton.from_text(text) for text in GRAPHS[name])
    ratio = {e: int(n) for e, n in Composition(bulk).get_el_amt_dict().items()}
    wanted = StreamConstraints(tuple(sorted(ratio)), ratio, graphs, most_slab_atoms=96)
    for seed in range(5):
        tokens, structure = drawn(wanted, seed)
        assert tokens[-1] == END
        assert symbols(structure, adsorbate=True) == Counter(graphs[0].formula)
        slab = symbols(structure, adsorbate=False)
        assert Composition(dict(slab)).reduced_formula == Composition(bulk).reduced_formula
        assert sum(slab.values()) <= 96
        assert np.isfinite(structure.positions_N3).all()
        assert np.linalg.det(structure.cell_33) > 0


def test_every_formula_unit_of_an_alloy_is_written_whole() -> None:
    ratio = {"Cu": 3, "Pt": 1}
    wanted = StreamConstraints(("Cu", "Pt"), ratio, (Skeleton.from_text("O0"),), most_slab_atoms=96)
    for seed in range(20):
        tokens, _ = drawn(wanted, seed)
        slab = [t for t in tokens[: tokens.index(ADSORBATE)] if t in ratio]
        units = [Counter(slab[place : place + 4]) for place in range(0, len(slab), 4)]
        assert all(unit == Counter(ratio) for unit in units)


def test_an_open_bulk_takes_any_of_its_elements() -> None:
    wanted = StreamConstraints(("Ag", "Cu"), None, (Skeleton.from_text("O0"),), most_slab_atoms=40)
    seen = set()
    for seed in range(30):
        slab = symbols(drawn(wanted, seed)[1], adsorbate=False)
        assert set(slab) <= {"Ag", "Cu"}
        assert sum(slab.values()) <= 40
        seen |= set(slab)
    assert seen == {"Ag", "Cu"}


def test_what_the_grammar_writes_it_reads() -> None:
    wanted = StreamConstraints(
        ("Pt",), None, (Skeleton.from_text(GRAPHS["C6H6"][0]),), most_slab_atoms=60
    )
    for seed in range(10):
        tokens, structure = drawn(wanted, seed)
        again = decode_stream(tokens[:-1])
        np.testing.assert_allclose(again.positions_N3, structure.positions_N3, atol=1e-9)


def swapped(tokens: list[str], place: int, token: str) -> list[str]:
    return [*tokens[:place], token, *tokens[place + 1 :]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: swapped(t, 3, "<m:1>"), "token 3 of a stream is one of <A:1>.*got <m:1>"),
        (lambda t: swapped(t, 14, "<m:-8>"), "token 14 .* got <m:-8>"),
        (lambda t: t[:-1], f"got {END}"),
        (lambda t: [*t, "<d:1.00>"], "got <d:1.00>"),
        (lambda t: [], "token 0"),
    ],
    ids=["wrong kind", "left-handed cell", "too short", "too long", "nothing"],
)
def test_a_stream_that_is_not_well_formed_is_refused(change: object, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        decode_stream(change(encode_stream(adslab())))  # type: ignore[operator]
