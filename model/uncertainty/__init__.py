"""Calibrated errors: intervals, latent distance, metrics."""
