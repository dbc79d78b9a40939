"""The examples in the docstrings of the main entry points run and print what they say."""

import doctest
from importlib import import_module

import pytest

EXAMPLES = {
    "tasks.enumeration.bulks": "resolve_bulks",
    "tasks.enumeration.placements": "enumerate_placements",
    "tasks.enumeration.sites": "surface_sites",
    "tasks.enumeration.slabs": "enumerate_slabs",
    "tasks.levels.references": "ReferenceScheme.reference_ev",
    "tasks.prediction.adslab_file": "adslab_configuration",
    "tasks.prediction.featurise": "configuration_text",
    "tasks.structures.formats": "read_cif",
    "tasks.structures.formulas": "formula_counts",
    "tasks.structures.identity": "bulk_id",
}


@pytest.mark.medium  # torch and LightGBM are imported
@pytest.mark.parametrize(("module", "name"), EXAMPLES.items())
def test_the_example_of_an_entry_point_prints_what_it_says(module: str, name: str) -> None:
    loaded = import_module(module)
    found = {test.name: test for test in doctest.DocTestFinder().find(loaded)}
    test = found[f"{module}.{name}"]
    assert test.examples
    said: list[str] = []
    result = doctest.DocTestRunner().run(test, out=said.append)
    assert result.failed == 0, "".join(said)
