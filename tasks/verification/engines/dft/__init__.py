"""Engines of density functional theory."""
