"""Training data: real sets brought to one form, and relaxations of our own."""
