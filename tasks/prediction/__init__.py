"""Adslabs and texts in, predictions out."""
