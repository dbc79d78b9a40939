"""From verified labels to a training set, and when a loop has learnt enough."""
