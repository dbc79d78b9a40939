"""Fine-tuning, gate, promotion, sets of labels, and the active-learning loop around them."""
