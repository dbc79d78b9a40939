"""Verification: relaxed adsorption energies at a level of theory, and whether they count."""
