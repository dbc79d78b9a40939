"""Crystals that tests enumerate, and what pymatgen finds on them."""
