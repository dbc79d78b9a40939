"""Engines without electrons: EMT and universal potentials."""
