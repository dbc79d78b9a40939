import pytest

from model.generation.design import SeenAdsorbate, SeenLevel
from tasks.design.request import design_request
from tasks.errors import UserError

ETHANOL, ETHER = "C3 C2 O1 0-1 1-2", "C3 O0 C3 0-1 1-2"


def seen(low: float, high: float, rows: int = 10, *graphs: str) -> SeenAdsorbate:
    return SeenAdsorbate(graphs, rows, low, high)


LEVELS = {
    "emt": SeenLevel(
        -2.0, 1.0, ("Cu", "Pt"), {"CO": seen(-1.5, 0.5, 900, "C0 O0 0-1"), "N": seen(0, 1, 5, "N0")}
    ),
    "beef-vdw-ch4": SeenLevel(-1.0, 6.0, ("Ag", "Cu", "Pt"), {"CO": seen(1, 3, 50, "C0 O0 0-1")}),
    "beef-vdw-co": SeenLevel(-4.0, 4.0, ("Cu", "Rh"), {"CO": seen(-2, 0.5, 20, "C0 O0 0-1")}),
    "pbe-d2-molecule": SeenLevel(
        -4.0, 0.8, ("Ag", "Cu"), {"C2H6O": seen(-1, 0, 30, ETHANOL, ETHER)}
    ),
}


def test_an_order_names_its_level_adsorbate_bulk_and_target() -> None:
    order = design_request(LEVELS, "CO", -0.6, bulk="PtCu3", level="emt")
    assert order.prompt == "emt</s>CO</s>Cu3Pt</s>-00.60<structure>"
    assert order.constraints.slab == ("Cu", "Pt")
    assert order.constraints.ratio == {"Cu": 3, "Pt": 1}
    assert order.requirements.bulk == "Cu3Pt"
    assert order.requirements.formula == {"C": 1, "O": 1}


@pytest.mark.parametrize(
    ("target", "bulk", "level"),
    [
        (-0.6, None, "beef-vdw-co"),  # the one whose CO energies enclose the target
        (2.0, None, "beef-vdw-ch4"),
        (-0.6, "Pt", "beef-vdw-ch4"),  # nothing but EMT encloses it on platinum: EMT comes last
        (-0.6, "Cu3Pt", "beef-vdw-ch4"),
    ],
)
def test_without_a_level_the_one_that_fits_best_is_taken(
    target: float, bulk: str | None, level: str
) -> None:
    assert design_request(LEVELS, "CO", target, bulk=bulk).level == level


def test_emt_is_taken_where_nothing_else_knows_the_adsorbate() -> None:
    assert design_request(LEVELS, "N", 0.5).level == "emt"


def test_an_open_bulk_may_be_any_of_the_levels_elements() -> None:
    order = design_request(LEVELS, "CO", -0.6, level="beef-vdw-co")
    assert order.constraints.slab == ("Cu", "Rh")
    assert order.constraints.ratio is None
    assert "</s></s>-00.60" in order.prompt


def test_a_level_that_knows_formulas_is_asked_by_formula_for_the_named_isomer() -> None:
    order = design_request(LEVELS, "CH3CH2OH", -0.5)
    assert (order.level, order.adsorbate) == ("pbe-d2-molecule", "C2H6O")
    assert [s.to_text() for s in order.requirements.skeletons] == [ETHANOL]


def test_a_formula_is_any_isomer_that_was_seen() -> None:
    assert len(design_request(LEVELS, "C2H6O", -0.5).requirements.skeletons) == 2


@pytest.mark.parametrize(
    ("name", "target", "bulk", "level", "says"),
    [
        ("C2H6", -0.5, None, None, "has not seen the adsorbate C2H6 at any level; .* C2H6O"),
        ("N", 0.5, None, "beef-vdw-co", "has not seen the adsorbate N at beef-vdw-co"),
        ("CH3CHO", 0.5, None, None, "has not seen the adsorbate CH3CHO"),
        ("CO", -0.6, "Zr", "emt", "slabs of Cu, Pt at emt, got Zr in Zr"),
        ("CO", -0.6, "Zr", None, "no level of theory has both CO and Zr"),
        ("CO", -0.6, "copper", None, "a bulk is a formula such as Cu3Pt, got 'copper'"),
        ("CO", -0.6, None, "rpbe", "writes at beef-vdw-ch4, .*; got level 'rpbe'"),
        ("CO", -9.0, None, "emt", r"labels, -2.00 to \+1.00 eV; got -9.00 eV"),
        ("CO", float("nan"), None, "emt", r"labels, -2.00 to \+1.00 eV; got \+nan eV"),
        ("CO", -0.6, "Cu100Pt99", "emt", "at most 128 atoms"),
    ],
)
def test_what_the_designer_never_saw_is_refused(
    name: str, target: float, bulk: str | None, level: str | None, says: str
) -> None:
    with pytest.raises(UserError, match=says):
        design_request(LEVELS, name, target, bulk=bulk, level=level)
