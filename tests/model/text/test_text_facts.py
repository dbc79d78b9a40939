"""What a text names reaches the network standardised, gaps and all."""

from dataclasses import replace

import numpy as np
import torch

from model.text.text_facts import TextFacts, TextInputs
from model.text.text_features import element_counts, text_features

TEXTS = (
    "CO</s>Cu (1 1 1)</s>[C Cu atop [Cu Cu Cu C]]",
    "OH</s>PtNi3 (1 1 1)</s>[O Pt Ni bridge [Pt Ni Ni O] [Ni Pt Ni O]]",
    "H</s>Ag (1 0 0)</s>[]",
)
FEATURES_RF = text_features(TEXTS)
NAMED = TextInputs(
    level_B=torch.zeros(3, dtype=torch.long),
    adsorbate_B=torch.tensor([1, 2, 0]),
    features_BF=torch.from_numpy(FEATURES_RF).float(),
    elements_BK=torch.from_numpy(np.stack([element_counts(text) for text in TEXTS])),
)


def facts() -> TextFacts:
    torch.manual_seed(0)
    made = TextFacts(8, levels=2, adsorbates=2)
    made.fit(FEATURES_RF)
    return made.eval()


def test_what_a_text_lacks_counts_as_the_mean_and_is_told() -> None:
    made = facts()
    assert bool(NAMED.features_BF[2].isnan().any())
    said_BD = made(NAMED)
    assert bool(said_BD.isfinite().all())
    filled_BF = torch.where(NAMED.features_BF.isnan(), made.mean_F, NAMED.features_BF)
    assert not torch.allclose(made(replace(NAMED, features_BF=filled_BF))[2], said_BD[2])


def test_rows_far_from_all_seen_are_held_within_reach() -> None:
    made = facts()
    far, farther = (replace(NAMED, features_BF=f * NAMED.features_BF) for f in (1e6, 1e7))
    assert torch.allclose(made(far)[0], made(farther)[0])


def test_a_feature_that_never_varies_divides_by_nothing() -> None:
    made = facts()
    made.fit(np.full((5, len(made.mean_F)), 2.0))
    assert bool((made.spread_F == 1.0).all())
    assert bool((made.mean_F == 2.0).all())


def test_one_text_is_known_differently_at_another_level() -> None:
    made = facts()
    there = replace(NAMED, level_B=NAMED.level_B + 1)
    assert not torch.allclose(made(NAMED), made(there))


def test_elements_are_counted_where_they_stand() -> None:
    bulk_Z, contacts_Z, neighbours_Z = element_counts(TEXTS[1]).reshape(3, -1)
    assert bulk_Z[[28, 78]].tolist() == [0.75, 0.25]
    assert contacts_Z[[28, 78]].tolist() == [1, 1]
    assert neighbours_Z[[28, 78, 8]].tolist() == [3, 1, 2]


def test_an_adsorbate_that_was_not_seen_adds_nothing() -> None:
    made = facts()
    assert made.adsorbate(NAMED.adsorbate_B)[2].abs().sum() == 0
    assert bool((made.adsorbate(NAMED.adsorbate_B)[:2].abs().sum(dim=1) > 0).all())
