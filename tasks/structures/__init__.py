"""Structures: reading, standard forms, identity, contacts and formulas."""
