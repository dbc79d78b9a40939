"""What relaxations by a potential say of candidates, from ends that are written down."""

from dataclasses import replace

from tasks.prediction.relaxed_ends import RelaxedEnd, relaxation_findings

END = RelaxedEnd("a" * 64, "pair", "potential", -1.0, True, (), "O</s>Pt (1 1 1)</s>[O Pt atop []]")
OTHER = replace(END, candidate_id="b" * 64)


def test_an_energy_is_started_from() -> None:
    found = relaxation_findings([END])[END.candidate_id]
    assert found.energies_ev == {"potential": -1.0}
    assert found.dropped == ""


def test_what_left_the_surface_is_dropped_with_its_reason_and_has_no_energy() -> None:
    gone = replace(END, trainable=False, flags=("desorbed", "reconstructed"), energy_ev=-0.052)
    found = relaxation_findings([gone])[END.candidate_id]
    assert found.dropped == "desorbed, reconstructed at potential: -0.05 eV"
    assert found.dropped_at == "potential"
    assert found.energies_ev == {}


def test_two_that_end_in_one_place_are_one_under_the_name_of_the_lower() -> None:
    found = relaxation_findings([END, replace(OTHER, energy_ev=-1.015)])
    assert found[END.candidate_id].merged_with == OTHER.candidate_id
    assert found[END.candidate_id].energies_ev == {"potential": -1.0}
    assert found[OTHER.candidate_id].merged_with == ""
    assert found[OTHER.candidate_id].energies_ev == {"potential": -1.015}


def test_ends_that_differ_in_energy_site_or_pair_stay_apart() -> None:
    for other in (
        replace(OTHER, energy_ev=-1.03),
        replace(OTHER, text=END.text.replace("atop", "bridge")),
        replace(OTHER, pair_id="another"),
        replace(OTHER, level="another"),
    ):
        found = relaxation_findings([END, other])
        assert [one.merged_with for one in found.values()] == [""] * len(found), other


def test_energies_of_two_potentials_go_together() -> None:
    found = relaxation_findings([END, replace(END, level="second", energy_ev=-0.7)])
    assert found[END.candidate_id].energies_ev == {"potential": -1.0, "second": -0.7}
