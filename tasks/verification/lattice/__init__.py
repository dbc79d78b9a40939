"""Bulks at a level's own lattice constants."""
