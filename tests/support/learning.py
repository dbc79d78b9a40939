"""A checkpoint small enough to be trained in a test, and labels of a region it has not seen."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from model.checkpoint import QE_CATALYTIC, Checkpoint, seal, write_json
from model.data.domain import domain_of, domain_to_json
from model.data.kept_rows import write_kept_rows
from model.data.rows import Row
from model.data.splits import LABEL_SHARES, TRAIN, assign_part
from model.fine_tuning.fine_tune import fine_tune
from model.network.batches import Reader, adsorbate_counts
from model.network.config import QECatalyticConfig
from model.network.ensemble import Ensemble, save_members
from model.network.language.configuration import LanguageConfig
from model.network.qe_catalytic import QECatalytic
from model.text.text_features import text_features
from model.text.tokenizer import GRAPH, model_text, save_tokenizer, token_ids, train_tokenizer
from model.training.recipes import TuneRecipe
from model.uncertainty.mode_fit import fit_modes, save_mode
from support import synthetic
from support.tiny import ENCODER

_ATOMS = {"O": [8], "H": [1], "CO": [6, 8]}


def _placed(row: Row) -> Row:
    """Return a made-up row whose atoms are those of the adsorbate that its text names."""
    numbers = _ATOMS[row.adsorbate]
    slab = row.tags_N < 2
    top_3 = row.positions_N3[~slab][0]
    above_A3 = top_3 + np.array([[0.0, 0.0, 1.15 * place] for place in range(len(numbers))])
    return replace(
        row,
        numbers_N=np.concatenate([row.numbers_N[slab], numbers]),
        positions_N3=np.concatenate([row.positions_N3[slab], above_A3]),
        tags_N=np.concatenate([row.tags_N[slab], np.full(len(numbers), 2)]),
    )


# 225 labels: three adsorbates on alloys of five metals
BASE = [_placed(row) for row in synthetic.rows("adslab")]
HELD_OUT = 90
SHIFT_EV = 0.8  # what the labels say of the region beside what the base would


def labels(count: int, *, sign: float = 1.0, offset_ev: float = SHIFT_EV) -> list[Row]:
    """Return labels on placements that the base does not hold: a little further from the slab."""
    found = []
    for number, row in enumerate(BASE[i % len(BASE)] for i in range(count)):
        moved_N3 = row.positions_N3 + np.array([[0.0, 0.0, 1.5 + 0.01 * number]]) * (
            row.tags_N[:, None] == 2
        )
        pair = f"label{number}"
        found.append(
            replace(
                row,
                uid=f"{pair}#unrelaxed",
                pair=pair,
                set="labels",
                energy_ev=sign * (row.energy_ev + offset_ev),
                positions_N3=moved_N3,
                part=assign_part(pair, LABEL_SHARES),
            )
        )
    return found


def _split() -> tuple[list[Row], list[Row]]:
    """Return the base's rows to train on and to hold out."""
    order = np.random.default_rng(0).permutation(len(BASE))
    aside = set(order[:HELD_OUT].tolist())
    train = [row for place, row in enumerate(BASE) if place not in aside]
    return train, [row for place, row in enumerate(BASE) if place in aside]


def trained(folder: Path) -> Checkpoint:
    """Return a checkpoint that has learnt the base well."""
    recipe = TuneRecipe(
        method="all", epochs=40, learning_rate=1e-2, text_share=0.1, replay_share=0.0
    )
    start = checkpoint(folder / "start", members=1)
    learnt = [replace(row, part=TRAIN) for row in _split()[0]]
    return fine_tune(start.folder, learnt, folder / "trained", recipe, processes=1)


def checkpoint(folder: Path, *, members: int = 2) -> Checkpoint:
    """Return a sealed checkpoint of networks that know the base's mean and no more."""
    train, aside = _split()
    folder.mkdir(parents=True)
    tokenizer = train_tokenizer(model_text(row.level, row.text) for row in BASE)
    config = QECatalyticConfig(
        encoder=ENCODER,
        levels=("made-up",),
        vocabulary=len(tokenizer),
        adsorbates=("CO", "H", "O"),
        language=LanguageConfig(width=16, layers=1, heads=2, key_value_heads=1, feed_forward=32),
    )
    reader = Reader(config, tokenizer)
    networks = []
    for member in range(members):
        torch.manual_seed(member)
        network = QECatalytic(config, graph_token=token_ids(tokenizer, [GRAPH])[0])
        network.facts.fit(text_features([row.text for row in train]))
        _fit_scale(network, reader, train)
        networks.append(network.eval())
    save_members(networks, folder)
    save_tokenizer(tokenizer, folder / "tokenizer.json")
    modes = fit_modes(Ensemble(networks, reader), train, aside, seed=1, from_text=True)
    settings = {
        "network": config.to_json(),
        "domain": domain_to_json(domain_of(train)),
        "modes": {name: save_mode(mode, name, folder) for name, mode in modes.items()},
    }
    write_json(folder / "qe-catalytic.json", settings)
    write_kept_rows(folder, train, aside)
    return seal(folder, QE_CATALYTIC)


def _fit_scale(network: QECatalytic, reader: Reader, rows: list[Row]) -> None:
    counts_RZ = np.stack([adsorbate_counts(row.configuration()) for row in rows]).astype(float)
    energy_R = np.array([row.energy_ev for row in rows])
    network.scale.fit(0, counts_RZ, [reader.adsorbate(row.text) for row in rows], energy_R)
