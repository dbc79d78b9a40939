"""The designer of a checkpoint: a language model that writes adslabs on request.

A checkpoint that has one holds, beside its predictor's files:

``designer.safetensors``    the state of the ``Qwen2Model`` that stage 3 trained, by its own names,
                            in half precision
``tokenizer.json``          shared with the predictor; it holds every token of streams
``qe-catalytic.json``       under ``designer`` what ``designer_settings`` returns

Units   energies in eV.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from ase.data import chemical_symbols
from pydantic import Field
from safetensors.torch import load_file
from transformers import Qwen2Config, Qwen2Model

from model.checkpoint import Checkpoint, open_checkpoint, reading
from model.contract import ADSORBATE_TAG
from model.data.rows import UNRELAXED, Row
from model.errors import ModelError
from model.generation.prompts import structure_of
from model.generation.skeleton import Skeleton, bond_graph
from model.generation.stream_sampler import StreamSampler
from model.network.language.configuration import MOST_LAYERS, MOST_TOKENS
from model.stored_values import StoredValues, checked_values
from model.text.stream_tokens import stream_tokens
from model.text.tokenizer import load_tokenizer
from model.weights import load_exactly, require_fitting

DESIGNER_WEIGHTS = "designer.safetensors"
SETTINGS = "qe-catalytic.json"
Size = Annotated[int, Field(ge=1, le=MOST_TOKENS)]
Layers = Annotated[int, Field(ge=1, le=MOST_LAYERS)]


@dataclass(frozen=True)
class _LanguageSizes(StoredValues):
    """The settings of ``Qwen2Config`` that a checkpoint stores."""

    vocab_size: Size
    hidden_size: Size
    intermediate_size: Size
    num_hidden_layers: Layers
    num_attention_heads: Size
    num_key_value_heads: Size
    max_position_embeddings: Size
    rope_parameters: dict[str, float | str]


@dataclass(frozen=True)
class SeenAdsorbate(StoredValues):
    """The structures that training rows of one level have under one adsorbate's name.

    A name that is a formula may stand for several isomers: bond graphs as ``Skeleton.to_text``.
    """

    skeletons: tuple[str, ...]
    rows: int
    lowest_ev: float
    highest_ev: float


@dataclass(frozen=True)
class SeenLevel(StoredValues):
    """The elements and adsorbates of the designer's training rows at one level of theory."""

    lowest_ev: float
    highest_ev: float
    elements: tuple[str, ...]  # of slabs
    adsorbates: dict[str, SeenAdsorbate]


def seen_levels(rows: Sequence[Row]) -> dict[str, SeenLevel]:
    """Return the contents of unrelaxed rows by level; adsorbates in pieces are left out."""
    by_level: dict[str, list[tuple[Row, Skeleton]]] = {}
    for row in rows:
        if row.kind in UNRELAXED:
            try:
                skeleton = _skeleton(row)
            except ModelError:  # no request can name an adsorbate in pieces
                continue
            by_level.setdefault(row.level, []).append((row, skeleton))
    return {level: _seen_level(found) for level, found in sorted(by_level.items())}


def _skeleton(row: Row) -> Skeleton:
    structure = structure_of(row)
    chosen_N = structure.tags_N == ADSORBATE_TAG
    return bond_graph(row.numbers_N[chosen_N], row.positions_N3[chosen_N], row.cell_33).skeleton


def _seen_level(found: Sequence[tuple[Row, Skeleton]]) -> SeenLevel:
    by_name: dict[str, list[tuple[Row, Skeleton]]] = {}
    for row, skeleton in found:
        by_name.setdefault(row.adsorbate, []).append((row, skeleton))
    numbers = {int(z) for row, _ in found for z in row.numbers_N[row.tags_N != ADSORBATE_TAG]}
    energies = [row.energy_ev for row, _ in found]
    return SeenLevel(
        min(energies),
        max(energies),
        tuple(chemical_symbols[number] for number in sorted(numbers)),
        {name: _seen_adsorbate(some) for name, some in sorted(by_name.items())},
    )


def _seen_adsorbate(found: Sequence[tuple[Row, Skeleton]]) -> SeenAdsorbate:
    distinct: list[Skeleton] = []
    for _, skeleton in found:
        if not any(skeleton.is_same(other) for other in distinct):
            distinct.append(skeleton)
    energies = [row.energy_ev for row, _ in found]
    texts = tuple(sorted(skeleton.to_text() for skeleton in distinct))
    return SeenAdsorbate(texts, len(found), min(energies), max(energies))


def designer_settings(language: Qwen2Config, levels: Mapping[str, SeenLevel]) -> dict[str, Any]:
    """Return the section ``designer`` of a checkpoint's settings, as plain JSON values."""
    return {
        "language": {f.name: getattr(language, f.name) for f in fields(_LanguageSizes)},
        "levels": {level: asdict(seen) for level, seen in levels.items()},
    }


@dataclass(frozen=True)
class Designer:
    """Writes structure streams; holds the levels and adsorbates of its training rows."""

    checkpoint_sha256: str
    levels: dict[str, SeenLevel]
    sampler: StreamSampler


def load_designer(name_or_path: str | Path) -> Designer:
    """Return the designer of an embedded checkpoint or of a folder.

    Args:
        name_or_path: Name of an embedded checkpoint, or the folder of one.

    Returns:
        The designer, ready to sample.

    Raises:
        ModelError: there is no such checkpoint, it has no designer, or its files do not fit.
    """
    checkpoint = open_checkpoint(name_or_path)
    with reading(checkpoint):
        return _designer(checkpoint)


def _designer(checkpoint: Checkpoint) -> Designer:
    settings = _settings(checkpoint)
    stated = checked_values(_LanguageSizes, settings["language"], "the designer's language")
    tokenizer = load_tokenizer(checkpoint.folder / "tokenizer.json", stated.vocab_size)
    lacking = [t for t in stream_tokens() if t not in tokenizer.get_vocab()]
    if lacking:
        raise ModelError(
            f"the tokenizer of {checkpoint.folder} lacks {len(lacking)} tokens of streams, such as "
            f"{lacking[0]}: it was trained by another version; train stage 3 again"
        )
    levels = checked_values(dict[str, SeenLevel], settings["levels"], "the designer's levels")

    def build() -> Qwen2Model:
        return Qwen2Model(Qwen2Config(**asdict(stated)))

    file = checkpoint.folder / DESIGNER_WEIGHTS
    require_fitting(build, file)
    language = build()
    load_exactly(language, {n: v.float() for n, v in load_file(file).items()}, file.name)
    return Designer(checkpoint.sha256, levels, StreamSampler(language, tokenizer))


def _settings(checkpoint: Checkpoint) -> dict[str, Any]:
    here = all((checkpoint.folder / name).is_file() for name in (DESIGNER_WEIGHTS, SETTINGS))
    stated = checkpoint.read_json(SETTINGS).get("designer") if here else None
    if stated is None:
        raise ModelError(
            f"checkpoint {checkpoint.folder} has no designer ({DESIGNER_WEIGHTS}): its training "
            "ended before stage 3; name a checkpoint that has one, or train that stage"
        )
    return dict(stated)
