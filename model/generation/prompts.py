"""The four instructions of stage 3 as text, and the answers that training rows give to them.

energy     graph, level and configuration text       ->  ``+01.23``
describe   graph and level                           ->  the configuration text
structure  level and configuration text              ->  a structure stream
design     level, adsorbate, bulk and target energy  ->  a structure stream

An instruction ends with the token that says what to answer. A design's bulk may be left open, and
is for a share of the training rows, so that both ways of asking are learnt.
"""

from dataclasses import dataclass
from typing import Literal

from model.contract import ADSORBATE_TAG
from model.data.rows import Row
from model.errors import ModelError
from model.generation.skeleton import Skeleton, bond_graph
from model.generation.stream_grammar import decode_stream
from model.generation.structure_stream import Structure, encode_stream
from model.text.configuration_text import SEPARATOR, parse_text
from model.text.stream_tokens import DESCRIBE, STRUCTURE
from model.text.tokenizer import ANSWER, GRAPH, format_energy

Instruction = Literal["energy", "describe", "structure", "design"]
INSTRUCTIONS: tuple[Instruction, ...] = ("energy", "describe", "structure", "design")
READ_GRAPH: frozenset[Instruction] = frozenset(("energy", "describe"))


@dataclass(frozen=True)
class PromptAnswer:
    """A prompt and its answer, both as text; the end token is not part of them."""

    prompt: str
    answer: str


def energy_prompt(level: str, text: str) -> str:
    """Ask for the energy of the configuration that graph and text describe."""
    return f"{GRAPH}{level}{SEPARATOR}{text}{ANSWER}"


def describe_prompt(level: str) -> str:
    """Ask for the configuration text of a graph."""
    return f"{GRAPH}{level}{SEPARATOR}{DESCRIBE}"


def structure_prompt(level: str, text: str) -> str:
    """Ask for the structure stream of a configuration text."""
    return f"{level}{SEPARATOR}{text}{STRUCTURE}"


def design_prompt(level: str, adsorbate: str, bulk: str | None, target_ev: float) -> str:
    """Ask for the stream of an adslab with a target energy; ``bulk`` None leaves the metal open.

    Raises:
        ModelError: the target is not a number or beyond what energy tokens can say.
    """
    parts = (level, adsorbate, bulk or "", format_energy(target_ev))
    return f"{SEPARATOR.join(parts)}{STRUCTURE}"


def structure_of(row: Row) -> Structure:
    """Return the structure of a row; the Miller index is in its text."""
    miller = parse_text(row.text).miller
    return Structure(row.numbers_N, row.positions_N3, row.cell_33, row.tags_N, miller)


def stream_of(row: Row) -> list[str]:
    """Return the stream of a row's structure.

    Raises:
        ModelError: the structure cannot be written, or reads back with other bonds: stretched
            bonds at the edge of what counts as one would teach the model broken molecules.
    """
    structure = structure_of(row)
    stream = encode_stream(structure)
    if not _skeleton(structure).is_same(_skeleton(decode_stream(stream))):
        raise ModelError(f"the adsorbate of {row.uid} reads back with other bonds")
    return stream


def _skeleton(structure: Structure) -> Skeleton:
    chosen_N = structure.tags_N == ADSORBATE_TAG
    return bond_graph(
        structure.numbers_N[chosen_N], structure.positions_N3[chosen_N], structure.cell_33
    ).skeleton


def prompt_answer(
    row: Row, instruction: Instruction, *, stream: list[str] | None = None, name_bulk: bool = True
) -> PromptAnswer:
    """Return the prompt and the answer that a training row makes under one instruction.

    ``stream`` is ``stream_of(row)``, computed here where it is None; ``name_bulk`` says whether a
    design names its bulk.
    """
    if instruction == "energy":
        return PromptAnswer(energy_prompt(row.level, row.text), format_energy(row.energy_ev))
    if instruction == "describe":
        return PromptAnswer(describe_prompt(row.level), row.text)
    answer = "".join(stream_of(row) if stream is None else stream)
    if instruction == "structure":
        return PromptAnswer(structure_prompt(row.level, row.text), answer)
    bulk = parse_text(row.text).bulk if name_bulk else None
    return PromptAnswer(design_prompt(row.level, row.adsorbate, bulk, row.energy_ev), answer)
