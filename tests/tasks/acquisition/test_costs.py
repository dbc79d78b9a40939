from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.acquisition import AcquisitionError, CostRule, Prices, PriceTable, price_table
from tasks.acquisition.costs import PRICE_TABLES

MADE = PriceTable(values={"Cu": 10.0, "Ag": 100.0, "Pt": 1000.0})


@pytest.mark.parametrize("name", PRICE_TABLES)
def test_a_shipped_table_says_where_it_is_from(name: str) -> None:
    table = price_table(name)
    assert table.source
    assert table.unit
    assert not table.missing(["CuNi", "Pt3Co", "RhIr", "AgAu", "RuFe", "PdAl", "ZnTi", "MoW"])


def test_noble_metals_are_dearer_than_base_metals() -> None:
    level = price_table("price").level
    assert max(map(level, ("Fe", "Cu", "Ni", "Al"))) < min(map(level, ("Pt", "Pd", "Rh", "Ir")))


def test_platinum_is_dug_in_fewer_countries_than_copper() -> None:
    level = price_table("supply_risk").level
    assert level("Pt") > level("Cu")


def test_a_ratio_counts_on_a_log_scale_and_a_difference_on_a_linear_one() -> None:
    linear = MADE.model_copy(update={"scale": "linear"})
    assert [MADE.level(e) for e in ("Cu", "Ag", "Pt")] == pytest.approx([0, 0.5, 1])
    assert [linear.level(e) for e in ("Cu", "Ag", "Pt")] == pytest.approx([0, 1 / 11, 1])


def test_an_alloy_is_paid_by_mass() -> None:
    by_mass = (63.546 * 10 + 195.084 * 1000) / (63.546 + 195.084)
    known = PriceTable(values={"Cu": 10.0, "Au": by_mass, "Pt": 1000.0})
    assert known.level("CuPt") == pytest.approx(known.level("Au"), abs=1e-4)


@given(st.floats(0.1, 10))
def test_a_penalty_lies_between_0_and_its_weight(weight: float) -> None:
    penalties = Prices(MADE, weight).penalties(["Cu", "CuAg", "Pt", "Ag3Pt"])
    assert penalties.min() >= 0
    assert penalties.max() == pytest.approx(weight)


def test_an_element_without_a_price_is_named() -> None:
    assert MADE.missing(["CuPt", "NiRh"]) == ["Ni", "Rh"]
    with pytest.raises(AcquisitionError, match="it has no Ni; add a line"):
        Prices(MADE).penalties(["Ni"])


def test_what_decides_a_penalty_decides_the_id() -> None:
    other = PriceTable(values=MADE.values | {"Pt": 1001.0})
    named = MADE.model_copy(update={"source": "elsewhere"})
    ids = [Prices(MADE).content_id, Prices(other).content_id, Prices(MADE, 2.0).content_id]
    assert len(set(ids)) == 3
    assert Prices(named).content_id == ids[0]


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("values: {Pt: 1000, Cu: 10}\n")
    assert price_table("mine.yaml", tmp_path).level("Pt") == 1


BAD = {
    "a misspelt key": ("value: {Pt: 1, Cu: 2}", "values: Field required; write values"),
    "a price of nothing": ("values: {Pt: 0, Cu: 2}", "values.Pt: .*greater than 0"),
    "a price in words": ("values: {Pt: dear, Cu: 2}", "values.Pt: .*number"),
    "one element": ("values: {Pt: 1}", "values: .*at least 2 items"),
    "no mapping": ("- Pt", "the file: .*valid dictionary"),
    "no YAML": ("values: [", "mine.yaml is not a table of prices"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_faulty_table_is_refused_by_name(case: str, tmp_path: Path) -> None:
    text, rule = BAD[case]
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(AcquisitionError, match=rule) as caught:
        price_table("mine.yaml", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(AcquisitionError, match=r"price, supply_risk or a file; .*none\.yaml"):
        price_table("none.yaml", tmp_path)


def test_a_cell_of_twice_the_atoms_costs_more_than_twice() -> None:
    small, large = CostRule().cost([50, 100])
    assert small == 1
    assert large > 2


@pytest.mark.parametrize(
    ("rule", "says"), [((-1.0, 50.0), "0 to 4, got -1"), ((2.0, 0.0), "reference_atoms must be ab")]
)
def test_a_cost_that_cannot_be_is_refused(rule: tuple[float, float], says: str) -> None:
    with pytest.raises(AcquisitionError, match=says):
        CostRule(*rule)
