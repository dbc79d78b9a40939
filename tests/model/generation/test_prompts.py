from dataclasses import replace

import numpy as np
import pytest
from support.streams import adslab
from support.tiny import row

from model.data.rows import Row
from model.errors import ModelError
from model.generation.prompts import (
    READ_GRAPH,
    design_prompt,
    prompt_answer,
    stream_of,
    structure_of,
)
from model.generation.stream_grammar import decode_stream
from model.generation.structure_stream import encode_stream
from model.text.stream_tokens import STRUCTURE, stream_tokens
from model.text.tokenizer import GRAPH, token_ids, train_tokenizer

ROW = row("O", "Cu", -1.234)


def test_every_instruction_asks_for_what_its_answer_is() -> None:
    energy = prompt_answer(ROW, "energy")
    assert energy.prompt == f"<graph>emt</s>{ROW.text}<energy>"
    assert energy.answer == "-01.23"
    describe = prompt_answer(ROW, "describe")
    assert (describe.prompt, describe.answer) == ("<graph>emt</s><describe>", ROW.text)
    structure = prompt_answer(ROW, "structure")
    assert structure.prompt == f"emt</s>{ROW.text}<structure>"
    design = prompt_answer(ROW, "design")
    assert design.prompt == "emt</s>O</s>Cu</s>-01.23<structure>"
    assert design.answer == structure.answer == "".join(stream_of(ROW))
    assert (
        prompt_answer(ROW, "design", name_bulk=False).prompt == "emt</s>O</s></s>-01.23<structure>"
    )


@pytest.mark.parametrize("instruction", ["energy", "describe", "structure", "design"])
def test_only_instructions_that_read_a_graph_begin_with_one(instruction: str) -> None:
    prompt = prompt_answer(ROW, instruction).prompt  # type: ignore[arg-type]
    assert prompt.startswith(GRAPH) == (instruction in READ_GRAPH)


def test_an_answer_rebuilds_the_row() -> None:
    structure = decode_stream(stream_of(ROW))
    assert sorted(structure.numbers_N) == sorted(ROW.numbers_N)
    assert structure.miller == (1, 1, 1)
    assert encode_stream(structure_of(ROW)) == stream_of(ROW)


def test_a_tokenizer_reads_a_stream_token_by_token() -> None:
    tokenizer = train_tokenizer([ROW.text])
    tokenizer.add_tokens(stream_tokens(), special_tokens=True)
    stream = encode_stream(adslab("Rh (2 1 1)", "CH3CHO", turn=(10.0, 50.0, 30.0)))
    pair = prompt_answer(ROW, "structure", stream=stream)
    assert tokenizer(pair.answer)["input_ids"] == token_ids(tokenizer, stream)
    assert tokenizer.tokenize(pair.prompt)[-1] == STRUCTURE


def test_a_target_that_is_no_energy_is_refused() -> None:
    with pytest.raises(ModelError, match="energy must be a number"):
        design_prompt("emt", "O", None, float("nan"))


def stretched(ratio: float) -> Row:
    """Return methanol on copper whose C-O bond is ``ratio`` (r_i + r_j) long."""
    start = adslab(name="CH3OH")
    carbon, oxygen = 36, 37
    bond = start.positions_N3[oxygen] - start.positions_N3[carbon]
    longer = ratio * (0.76 + 0.66) / float(np.linalg.norm(bond)) - 1.0
    positions = start.positions_N3.copy()
    positions[[oxygen, 39]] += longer * bond
    return replace(
        ROW,
        text="CH3OH</s>Cu (1 1 1)</s>[]",
        numbers_N=start.numbers_N,
        positions_N3=positions,
        cell_33=start.cell_33,
        tags_N=start.tags_N,
    )


def test_a_row_that_reads_back_as_another_molecule_teaches_nothing() -> None:
    assert stream_of(stretched(1.0))
    with pytest.raises(ModelError, match=r"hang together|other bonds"):
        stream_of(stretched(1.2499))
