"""From calculations to a checked adsorption energy."""
