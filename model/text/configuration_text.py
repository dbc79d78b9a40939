"""Configuration text: the contacts of an adslab, in the format of CatBERTa.

``CO</s>Cu3Pt (1 1 1)</s>[C Cu Pt bridge [Cu Cu Pt C] [Pt Cu Cu C]]``: adsorbate, bulk and Miller
index, then one bracket for each adsorbate atom that touches the slab: the atom, the slab atoms it
touches, the site, and for each of those its element and the elements of its neighbours.
Source: Ock et al. 2023, ACS Catal. 13, 16032 (CatBERTa).
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from model.errors import ModelError, shortened

SEPARATOR = "</s>"  # CatBERTa's, between the parts of a text
EXAMPLE = "H</s>Cu (1 1 1)</s>[H Cu atop [Cu Cu Cu H]]"
SITE_KINDS = ("atop", "bridge", "hollow")

_SYMBOL = re.compile(r"[A-Z][a-z]?\Z")
_HEAD = re.compile(r"(?P<bulk>\S+) \((?P<miller>-?\d{1,9} -?\d{1,9} -?\d{1,9})\)\Z")
_SITE = re.compile(
    r"\[(?P<words>[A-Za-z ]+) (?P<kind>atop|bridge|hollow)(?P<rest>( \[[A-Za-z ]+\])+)\]"
)
_NEIGHBOURS = re.compile(r"\[([A-Za-z ]+)\]")


def site_kind(contacts: int) -> str:
    """Return the site's name for a number of slab contacts, one or more."""
    if contacts < 1:
        raise ModelError(f"a site needs at least one slab contact, got {contacts}")
    return SITE_KINDS[min(contacts, 3) - 1]


@dataclass(frozen=True)
class SiteText:
    """One adsorbate atom that touches the slab.

    ``neighbours`` holds, for each contact, its own symbol and then those of its bonded neighbours.
    """

    atom: str
    contacts: tuple[str, ...]
    kind: str
    neighbours: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        symbols = [self.atom, *self.contacts, *(s for group in self.neighbours for s in group)]
        _check_symbols(symbols)
        if self.kind != site_kind(len(self.contacts)):
            raise ModelError(
                f"{len(self.contacts)} contacts make a {site_kind(len(self.contacts))} site, "
                f"got {self.kind!r}"
            )
        if tuple(group[:1] for group in self.neighbours) != tuple((c,) for c in self.contacts):
            raise ModelError(
                "each contact has one neighbour bracket that starts with its symbol, got contacts "
                f"{' '.join(self.contacts)} and brackets {self.neighbours}"
            )

    def format(self) -> str:
        """Return the bracket of this atom."""
        groups = " ".join(f"[{' '.join(group)}]" for group in self.neighbours)
        return f"[{self.atom} {' '.join(self.contacts)} {self.kind} {groups}]"


@dataclass(frozen=True)
class ConfigurationText:
    """The parts of a configuration text; ``sites`` is empty when nothing touches."""

    adsorbate: str
    bulk: str
    miller: tuple[int, int, int]
    sites: tuple[SiteText, ...]

    def __post_init__(self) -> None:
        for name, value in (("adsorbate", self.adsorbate), ("bulk", self.bulk)):
            if not value or SEPARATOR in value or any(c.isspace() for c in value):
                raise ModelError(
                    f"the {name} of a text is one word, as in {EXAMPLE}, got "
                    f"{shortened(repr(value))}"
                )

    def format(self) -> str:
        """Return the text, character for character as CatBERTa writes it."""
        miller = " ".join(str(index) for index in self.miller)
        body = "".join(site.format() for site in self.sites) or "[]"
        return SEPARATOR.join([self.adsorbate, f"{self.bulk} ({miller})", body])


@lru_cache(maxsize=4096)  # a placement's text is read for its adsorbate, its domain, its numbers
def parse_text(text: str) -> ConfigurationText:
    """Return the parts of ``text``; anything but the exact format is an error."""
    sections = text.split(SEPARATOR)
    if len(sections) != 3:
        raise ModelError(
            f"a configuration text has 3 sections separated by {SEPARATOR}, as in {EXAMPLE}; "
            f"got {len(sections)} in {shortened(repr(text), 200)}"
        )
    head = _HEAD.match(sections[1])
    if head is None:
        raise ModelError(
            f"the second section is a bulk and its Miller index, as in 'Cu (1 1 1)'; "
            f"got {shortened(repr(sections[1]), 200)}"
        )
    h, k, l = (int(index) for index in head["miller"].split())  # noqa: E741
    parsed = ConfigurationText(sections[0], head["bulk"], (h, k, l), _parse_body(sections[2]))
    if parsed.format() != text:
        raise ModelError(
            f"expected single spaces and plain integers, as in {EXAMPLE}; got "
            f"{shortened(repr(text), 200)}"
        )
    return parsed


def _parse_body(body: str) -> tuple[SiteText, ...]:
    if body == "[]":
        return ()
    sites: list[SiteText] = []
    end = 0
    while end < len(body):
        match = _SITE.match(body, end)
        if match is None:
            raise ModelError(
                "expected a site such as [H Cu atop [Cu Cu Cu H]] or [] when nothing touches; "
                f"got {body[end : end + 60]!r}"
            )
        sites.append(_parse_site(match))
        end = match.end()
    if not sites:
        raise ModelError(f"the third section is [] or sites, as in {EXAMPLE}; got an empty one")
    return tuple(sites)


def _parse_site(match: re.Match[str]) -> SiteText:
    atom, *contacts = match["words"].split()
    groups = tuple(tuple(group.split()) for group in _NEIGHBOURS.findall(match["rest"]))
    return SiteText(atom, tuple(contacts), match["kind"], groups)


def _check_symbols(symbols: list[str]) -> None:
    for symbol in symbols:
        if not _SYMBOL.match(symbol):
            raise ModelError(
                f"expected an element symbol such as Cu, got {shortened(repr(symbol))}"
            )
