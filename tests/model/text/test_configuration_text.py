"""Configuration text is read and written without loss."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import ModelError
from model.text.configuration_text import ConfigurationText, SiteText, parse_text, site_kind

# Verbatim from OC20's validation set.
PUBLISHED = [
    "COCH2OH</s>S8Mo6 (1 1 0)</s>[C Mo Mo bridge [Mo Mo Mo Mo Mo Mo S S S S C] "
    "[Mo Mo Mo Mo Mo S S S C]]",
    "N</s>Sc8Se12 (1 1 1)</s>[]",
    "H</s>N8Mo8 (1 1 1)</s>[H Mo Mo N hollow [Mo Mo Mo Mo Mo N N N N N H] "
    "[Mo Mo Mo Mo Mo Mo Mo Mo N N N N N N H] [N Mo Mo Mo Mo Mo H]]",
    "NNH</s>Si40Ir24 (0 1 0)</s>[N Si Si Ir hollow [Si Ir Ir Ir N] [Si Ir Ir Ir N N] "
    "[Ir Si Si Si Si Si Si Si N]][N Si atop [Si Ir Ir Ir N N]]",
    "NONH</s>CoPt (1 1 0)</s>[N Pt atop [Pt Co Co Co Co Pt Pt Pt N]]"
    "[N Pt atop [Pt Co Co Co Co Co Co Pt Pt Pt Pt Pt N]][O Pt atop [Pt Co Co Co Co Pt Pt Pt O]]",
    "C</s>Si12P12 (0 2 1)</s>[C P Si Si hollow [P C] [Si C] [Si C]]",
    "NH</s>As7Rh12 (2 1 1)</s>[N As Rh bridge [As Rh Rh Rh Rh Rh Rh N] [Rh As As As Rh Rh N]]",
    "COH</s>Ti2Ni2 (2 2 1)</s>[C Ti atop [Ti Ti Ti Ti Ni Ni Ni Ni Ni Ni C]]",
    "CHO</s>AlCuPt2 (2 1 0)</s>[C Pt atop [Pt Cu Cu C]]",
    "CH</s>Si6Mo2Pt4 (0 1 1)</s>[C Si Si Mo Mo hollow [Si Mo Mo Mo Mo Pt Pt C] [Si Mo Mo Pt C] "
    "[Mo Si Si Si Si Si Pt C] [Mo Si Si Si Si Si Pt C]]",
    "COCH2OH</s>KCr5Se8 (1 2 -1)</s>[C K atop [K K C]]",
    "NH2</s>Cd2Sn2Sb4 (0 0 1)</s>[]",
]

symbols = st.sampled_from(["H", "C", "N", "O", "Cu", "Pt", "Mo", "S", "Y", "Zr"])
words = st.from_regex(r"[A-Z][A-Za-z0-9()]{0,11}", fullmatch=True)
indices = st.integers(-9, 9)


@st.composite
def sites(draw: st.DrawFn) -> SiteText:
    contacts = tuple(draw(st.lists(symbols, min_size=1, max_size=5)))
    groups = tuple((c, *draw(st.lists(symbols, max_size=6))) for c in contacts)
    return SiteText(draw(symbols), contacts, site_kind(len(contacts)), groups)


texts = st.builds(
    ConfigurationText,
    adsorbate=words,
    bulk=words,
    miller=st.tuples(indices, indices, indices),
    sites=st.lists(sites(), max_size=4).map(tuple),
)


@pytest.mark.parametrize("text", PUBLISHED)
def test_published_texts_survive_reading_and_writing(text: str) -> None:
    assert parse_text(text).format() == text


@given(texts)
def test_what_is_written_reads_back_the_same(parts: ConfigurationText) -> None:
    text = parts.format()
    assert parse_text(text) == parts
    assert parse_text(text).format() == text


def test_parts_are_what_the_text_says() -> None:
    parts = parse_text(PUBLISHED[0])
    assert (parts.adsorbate, parts.bulk, parts.miller) == ("COCH2OH", "S8Mo6", (1, 1, 0))
    (site,) = parts.sites
    assert (site.atom, site.contacts, site.kind) == ("C", ("Mo", "Mo"), "bridge")
    assert site.neighbours[1] == ("Mo", "Mo", "Mo", "Mo", "Mo", "S", "S", "S", "C")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "3 sections"),
        ("CO</s>Cu (1 1 1)", "3 sections"),
        ("CO</s>Cu (1 1 1)</s>", "an empty one"),
        ("CO</s>Cu 111</s>[]", "Miller index"),
        ("CO</s>Cu (1 1)</s>[]", "Miller index"),
        ("C O</s>Cu (1 1 1)</s>[]", "one word"),
        ("</s>Cu (1 1 1)</s>[]", "one word"),
        ("CO</s>Cu (1 1 1)</s>[C Cu top [Cu C]]", "expected a site"),
        ("CO</s>Cu (1 1 1)</s>[C Cu atop [Cu C]", "expected a site"),
        ("CO</s>Cu (1 1 1)</s>[C Cu atop [Cu C]] ", "expected a site"),
        ("CO</s>Cu (1 1 1)</s>[C Cu bridge [Cu C]]", "1 contacts make a atop site"),
        ("CO</s>Cu (1 1 1)</s>[C Cu atop [Pt C]]", "starts with its symbol"),
        ("CO</s>Cu (1 1 1)</s>[C Cu atop [Cu C] [Cu C]]", "starts with its symbol"),
        ("CO</s>Cu (1 1 1)</s>[C Cu atop [Cu cu]]", "element symbol"),
        ("CO</s>Cu (1 1 1)</s>[C  Cu atop [Cu C]]", "single spaces"),
        ("CO</s>Cu (1 01 1)</s>[]", "plain integers"),
        (f"CO</s>Cu ({'9' * 5000} 1 1)</s>[]", r"Miller index.*9\.\.\.$"),
    ],
)
def test_anything_else_is_refused_with_what_was_expected(text: str, expected: str) -> None:
    with pytest.raises(ModelError, match=expected):
        parse_text(text)
