"""Rows, splits, graphs and the domain that a checkpoint has seen."""
