"""A text that contradicts itself is refused before a model is loaded."""

import pytest

from model.errors import SabatierError
from tasks.prediction.text_checks import require_consistent_text


def refusal(text: str) -> str:
    """Return why a text is refused; nothing where it is taken."""
    try:
        require_consistent_text(text)
    except SabatierError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "text",
    [
        "CO</s>Cu (1 1 1)</s>[C Cu atop [Cu Cu Cu Cu C]]",
        "N</s>Sc8Se12 (1 1 1)</s>[]",
        "H</s>N8Mo8 (1 1 1)</s>[H Mo Mo N hollow [Mo Mo N H] [Mo Mo N H] [N Mo Mo H]]",
        "COCH2OH</s>KCr5Se8 (1 2 -1)</s>[C K atop [K K C]]",
    ],
)
def test_the_published_format_is_taken(text: str) -> None:
    assert refusal(text) == ""


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("CO</s>Cu (1 1 1)</s>[C Pt atop [Pt Cu C]]", "atoms of the bulk Cu; the site .* has Pt"),
        ("CO</s>Cu (1 1 1)</s>[C Cu atop [Cu Ni C]]", "atoms of the bulk Cu or CO; .* has Ni"),
        ("CO</s>Cu (1 1 1)</s>[N Cu atop [Cu Cu N]]", "CO has 0 N, the text has 1"),
        ("H</s>Cu (1 1 1)</s>[H Cu atop [Cu H]][H Cu atop [Cu H]]", "H has 1 H, the text has 2"),
        ("CO</s>Cu1000000000000 (1 1 1)</s>[]", "got 'Cu1000000000000'"),
        ("CO</s>Cu999999999 (1 1 1)</s>[]", "has 1 to 2,000 atoms"),
        ("CO</s>Cu0 (1 1 1)</s>[]", "has 1 to 2,000 atoms"),
        ("C900O</s>Cu (1 1 1)</s>[]", "has 1 to 100 atoms"),
        ("CO</s>Qq (1 1 1)</s>[]", "must name elements up to Pu, got Qq"),
        ("CO</s>Cu (0 0 0)</s>[]", "a number other than 0"),
        ("CO</s>Cu (1 99999999 1)</s>[]", "numbers from -20 to 20"),
        ("CO</s>Cu (1 1 1)</s>" + "[C Cu atop [Cu C]]" * 5000, "at most 20,000 characters"),
        ("CO</s>Cu (1 1 1)</s>[C Cu bridge [Cu Cu C]]", "1 contacts make a atop site"),
    ],
)
def test_a_text_that_cannot_be_true_is_refused(text: str, rule: str) -> None:
    with pytest.raises(SabatierError, match=rule):
        require_consistent_text(text)
