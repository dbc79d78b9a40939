"""What a text says in numbers reaches the network standardised, gaps and all."""

import numpy as np
import torch

from model.text_facts import TextFacts
from model.text_features import text_features

TEXTS = (
    "CO</s>Cu (1 1 1)</s>[C Cu atop [Cu Cu Cu C]]",
    "OH</s>PtNi3 (1 1 1)</s>[O Pt Ni bridge [Pt Ni Ni O] [Ni Pt Ni O]]",
    "H</s>Ag (1 0 0)</s>[]",
)


def facts() -> TextFacts:
    torch.manual_seed(0)
    made = TextFacts(8)
    made.fit(text_features(TEXTS))
    return made.eval()


def test_what_a_text_lacks_counts_as_the_mean_and_is_told() -> None:
    made = facts()
    text_BF = torch.from_numpy(text_features(TEXTS)).float()
    assert bool(text_BF[2].isnan().any())
    said_BD = made(text_BF)
    assert bool(said_BD.isfinite().all())
    filled_BF = torch.where(text_BF.isnan(), made.mean_F, text_BF)
    assert not torch.allclose(made(filled_BF)[2], said_BD[2])


def test_rows_far_from_all_seen_are_held_within_reach() -> None:
    made = facts()
    far_BF = torch.from_numpy(text_features(TEXTS)).float() * 1e6
    farther_BF = 10 * far_BF
    assert torch.allclose(made(far_BF)[0], made(farther_BF)[0])


def test_a_feature_that_never_varies_divides_by_nothing() -> None:
    made = TextFacts(4)
    made.fit(np.full((5, len(made.mean_F)), 2.0))
    assert bool((made.spread_F == 1.0).all())
    assert bool((made.mean_F == 2.0).all())
