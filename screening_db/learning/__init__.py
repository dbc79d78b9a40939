"""Checkpoints, fine-tunings, labels for training, rounds and stale predictions."""
