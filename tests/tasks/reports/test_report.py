import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.reports.report import (
    LabelComparison,
    SlabRefusals,
    agreement,
    funnel_lines,
    slab_refusals,
    stage_totals,
    surface_name,
)


def compared(predicted_ev: float, sigma_ev: float, label_ev: float) -> LabelComparison:
    return LabelComparison("id", "CO", predicted_ev, sigma_ev, label_ev)


@pytest.mark.parametrize(
    ("formula", "miller", "name"),
    [("Cu3Pt", "(1 1 1)", "Cu3Pt(111)"), ("Cu", "(1 -1 0)", "Cu(1 -1 0)")],
)
def test_surfaces_are_named_as_people_write_them(formula: str, miller: str, name: str) -> None:
    assert surface_name(formula, miller) == name


def test_a_termination_follows_its_surface() -> None:
    assert surface_name("Cu3Pt", "(1 1 0)", "0.25 bottom") == "Cu3Pt(110) 0.25 bottom"
    assert surface_name("Ni", "(1 1 1)", edit="skin Pt") == "Ni(111) skin Pt"


def test_agreement_is_mean_error_and_coverage() -> None:
    found = agreement([compared(0.0, 0.1, 0.1), compared(0.0, 0.1, -0.3)])
    assert (found.count, found.mae_ev, found.coverage_90) == (2, pytest.approx(0.2), 0.5)


def test_without_labels_there_is_no_agreement() -> None:
    found = agreement([])
    assert found.count == 0
    assert math.isnan(found.mae_ev)


def test_the_90_percent_interval_is_1_645_sigma() -> None:
    assert compared(0.0, 1.0, 1.644).covered
    assert not compared(0.0, 1.0, 1.646).covered


def test_reasons_come_with_the_commonest_first() -> None:
    (line,) = funnel_lines([("slab", "refused", "thin", 1), ("slab", "refused", "wide", 3)])
    assert line.reasons == (("wide", 3), ("thin", 1))


def test_stages_come_in_the_order_of_the_work() -> None:
    counts = [("placement", "kept", "", 1), ("bulk", "used", "", 1), ("slab", "used", "", 1)]
    assert [line.stage for line in funnel_lines(counts)] == ["bulk", "slab", "placement"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["bulk", "slab", "placement"]),
            st.sampled_from(["used", "refused"]),
            st.sampled_from(["", "thin"]),
            st.integers(1, 99),
        )
    )
)
def test_the_funnel_adds_up(counts: list[tuple[str, str, str, int]]) -> None:
    assert sum(stage_totals(funnel_lines(counts)).values()) == sum(c[3] for c in counts)


def test_refused_slabs_are_counted_by_rule_with_crystals_and_values() -> None:
    one, other = "1" * 12, "2" * 12
    refused = [
        (f"{one} Cu (1, 1, 1)", "too many atoms: 300"),
        (f"{one} Cu (1, 1, 0)", "too many atoms: 400"),
        (f"{other} Au (1, 1, 1)", "too many atoms: 300"),
        ("Cu (1, 1, 1) shift 0.000 top", "no symmetry: of an older release"),
    ]
    assert slab_refusals(refused) == {
        "too many atoms": SlabRefusals(2, ("300", "400")),
        "no symmetry": SlabRefusals(0, ("of an older release",)),
    }
