"""Predictors: QE-Catalytic from a checkpoint, and the baselines beside it."""
