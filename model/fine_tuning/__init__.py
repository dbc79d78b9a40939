"""Fine-tuning on labels, and the gate that a tuned checkpoint must pass."""
