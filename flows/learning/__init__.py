"""Fine-tuning, gate, promotion, re-scoring, and the active-learning loop around them."""
