"""Where the data of a universal potential forbid its use."""

from dataclasses import replace

import pytest
from ase import Atoms

from tasks.errors import UserError
from tasks.levels import LevelOfTheory, level, shipped_levels
from tasks.levels.calculation import Potentials
from tasks.verification.engines.failures import EngineError
from tasks.verification.engines.potentials.diep import DiepEngine
from tasks.verification.engines.potentials.universal import hubbard_fault, stated_model
from tasks.verification.relaxation.admission import admit


def trained_on(data: str) -> LevelOfTheory:
    stated = level("diep-r2scan").require_calculation()
    model = Potentials("a model", checksums={"model": "0" * 16}, trained_on=data)
    return replace(level("diep-r2scan"), name="own", calculation=replace(stated, potentials=model))


@pytest.mark.parametrize("data", ["MPtrj", "sAlex", "OMat24", "OC22", "other"])
@pytest.mark.parametrize("metal", ["Co", "Cr", "Fe", "Mn", "Mo", "Ni", "V", "W"])
@pytest.mark.parametrize("anion", ["O", "F"])
def test_data_with_u_and_unknown_ones_are_refused_by_name(
    data: str, metal: str, anion: str
) -> None:
    fault = hubbard_fault(trained_on(data), [metal, anion, "H"])
    adds = "is not known to be without U: it may add U" if data == "other" else "adds U"
    assert f"was trained on {data}, which {adds} to {metal} as soon as there is {anion}" in fault


@pytest.mark.parametrize("symbols", [["Ni", "H", "C", "N"], ["Cu", "O"], ["Pt", "F"]])
def test_elements_that_get_no_u_are_let_through(symbols: list[str]) -> None:
    assert hubbard_fault(trained_on("OMat24"), symbols) == ""


@pytest.mark.parametrize("data", ["MatPES", "OC20", "OC25"])
def test_data_without_u_know_oxygen_on_every_metal(data: str) -> None:
    assert hubbard_fault(trained_on(data), ["Fe", "O"]) == ""


def test_such_a_structure_is_not_computed() -> None:
    with pytest.raises(EngineError, match="which adds U to Ni as soon as there is O"):
        admit(Atoms("NiO"), trained_on("MPtrj"), _AnyElement())


def test_a_level_says_what_its_model_was_trained_on() -> None:
    with pytest.raises(UserError, match=r"write potentials.trained_on: MatPES, OC20, OC25"):
        _AnyElement().check_level(trained_on(""))


@pytest.mark.parametrize(("engine", "family"), [("diep", "diep_fold1"), ("fairchem", "uma-s-1p1")])
def test_a_level_without_its_model_is_shown_one_of_its_own_engine(engine: str, family: str) -> None:
    stated = replace(level("diep-r2scan").require_calculation(), potentials=None)
    with pytest.raises(UserError, match=rf"potentials: {{family: {family},"):
        stated_model(replace(level("diep-r2scan"), engine=engine, calculation=stated))


def test_levels_without_the_data_of_a_model_have_no_such_fault() -> None:
    faults = {hubbard_fault(each, ["Ni", "O"]) for each in shipped_levels()}
    assert faults == {""}


class _AnyElement(DiepEngine):
    """DIEP without its package."""

    def elements(self, level: LevelOfTheory) -> frozenset[str]:
        del level
        return frozenset(("Ni", "O"))
